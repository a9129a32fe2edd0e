//! Adam (Kingma and Ba, 2015) on one flat list of parameters.

const MEAN: f64 = 0.9;
const SQUARE: f64 = 0.999;

/// The running means.
pub(super) struct Adam {
    mean: Vec<f64>,
    square: Vec<f64>,
    mean_left: f64,
    square_left: f64,
}

impl Adam {
    /// For `size` parameters.
    pub(super) fn new(size: usize) -> Self {
        Self { mean: vec![0.0; size], square: vec![0.0; size], mean_left: 1.0, square_left: 1.0 }
    }

    /// One step down the slopes.
    pub(super) fn step(&mut self, values: &mut [f64], slopes: &[f64], rate: f64) {
        self.mean_left *= MEAN;
        self.square_left *= SQUARE;
        let means = self.mean.iter_mut().zip(&mut self.square);
        for ((value, slope), (mean, square)) in values.iter_mut().zip(slopes).zip(means) {
            *mean += (1.0 - MEAN) * (slope - *mean);
            *square += (1.0 - SQUARE) * (slope * slope - *square);
            let size = (*square / (1.0 - self.square_left)).sqrt() + 1e-8;
            *value -= rate * *mean / (1.0 - self.mean_left) / size;
        }
    }
}
