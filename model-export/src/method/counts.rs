//! The count-vector rule as a model: the distance to the nearest counts that a normal session had. Zero is the rule's
//! "seen"; one event more or less is a score of a half.

use tract_onnx::pb::{GraphProto, tensor_proto::DataType};

use super::features::{Features, finish};
use super::matrix::{distance2, dot};
use super::{Fitted, Lesson, single, singles};

/// The counts of normal sessions.
pub(crate) struct CountVector {
    features: Features,
    /// Distinct, in rising order; at most 255 of an event are told apart.
    known: Vec<Vec<u8>>,
    length: usize,
}

impl CountVector {
    /// Learns the counts of normal sessions; always counts, whatever the lesson reads.
    #[must_use]
    pub(crate) fn fit(lesson: &Lesson) -> Self {
        let features = Features::counts(lesson.rows);
        let normal = lesson.samples.iter().filter(|sample| sample.normal > 0.0);
        let mut known: Vec<Vec<u8>> = normal
            .map(|sample| {
                let mut counts = vec![0u8; features.width];
                for token in &sample.tokens {
                    let place = usize::from(*token).checked_sub(1).and_then(|at| counts.get_mut(at));
                    place.into_iter().for_each(|count| *count = count.saturating_add(1));
                }
                counts
            })
            .collect();
        known.sort_unstable();
        known.dedup();
        Self { features, known, length: lesson.length }
    }

    fn vectors(&self) -> impl Iterator<Item = Vec<f64>> {
        self.known.iter().map(|counts| counts.iter().copied().map(f64::from).collect())
    }
}

impl Fitted for CountVector {
    fn score(&self, tokens: &[u16]) -> f32 {
        let counts = self.features.of(tokens);
        let nearest = self.vectors().map(|known| distance2(&counts, &known)).fold(f64::INFINITY, f64::min);
        // Nothing known: everything is far away.
        if nearest.is_finite() { single(nearest / (nearest + 1.0)) } else { 1.0 }
    }

    fn parameters(&self) -> usize {
        self.known.len() * self.features.width
    }

    fn graph(&self) -> GraphProto {
        // |x - k|^2 = |x|^2 - 2 x.k + |k|^2, exact for counts.
        let mut graph = self.features.builder();
        let squares: Vec<f64> = self.vectors().map(|known| dot(&known, &known)).collect();
        let bytes = self.known.iter().flatten().copied().collect();
        graph.tensor("known_counts", DataType::Uint8, &[self.known.len(), self.features.width], bytes);
        graph.floats("known_squares", &[self.known.len()], &singles(&squares));
        graph.floats("minus_two", &[1], &[-2.0]);
        graph.node("Cast", &["known_counts"], "known", &[("to", i64::from(DataType::Float as i32))]);
        graph.node("Mul", &["features", "minus_two"], "doubled", &[]);
        graph.node("Gemm", &["doubled", "known", "known_squares"], "from_known", &[("transB", 1)]);
        graph.node("Neg", &["from_known"], "near", &[]);
        graph.list("ReduceMax", &["near"], "nearest", ("axes", &[1]));
        graph.node("Mul", &["features", "features"], "own_squares", &[]);
        graph.node("ReduceSum", &["own_squares", "over_events"], "own_square", &[("keepdims", 1)]);
        graph.node("Sub", &["own_square", "nearest"], "raw", &[]);
        finish(graph, "raw", 1.0, self.length)
    }
}
