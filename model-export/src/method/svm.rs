//! One-class support vector machine with a Gaussian kernel (Schölkopf et al., 2001): a smooth surface that leaves at most
//! a given share of normal sessions outside. Solved over distinct sessions with weights, pair by pair.

use tract_onnx::pb::GraphProto;

use super::features::{Features, Scale};
use super::matrix::{Matrix, distance2, dot};
use super::{Fitted, Lesson, single, singles};

/// Share of normal sessions outside, at most.
const NU: f64 = 0.005;
/// Pairs moved, at most, for each vector.
const STEPS: usize = 400;
/// Distinct feature vectors used, the heaviest first; the kernel between all of them is held in memory.
const VECTORS_MAX: usize = 1_500;
/// Slopes nearer than this are equal.
const TOLERANCE: f64 = 1e-6;

/// The vectors that hold the surface.
pub(crate) struct OneClass {
    features: Features,
    scale: Scale,
    /// Support vectors, scaled.
    vectors: Matrix,
    /// Their weights; they sum to one.
    alphas: Vec<f64>,
    gamma: f64,
    /// Density at the surface.
    rho: f64,
    length: usize,
}

impl OneClass {
    /// Fits to normal sessions.
    #[must_use]
    pub(crate) fn fit(lesson: &Lesson) -> Self {
        let (rows, weights) = distinct(lesson);
        let scale = Scale::new(&rows, &weights, lesson.features.width);
        let scaled: Vec<Vec<f64>> = rows.iter().map(|row| scale.of(row)).collect();
        // One over the number of features that vary, as is usual for scaled ones.
        let varying = scale.factor.iter().filter(|factor| **factor < 9.99).count().max(1);
        let gamma = 1.0 / varying as f64;
        let mut kernel = Matrix::zero(scaled.len(), scaled.len());
        for (row, a) in kernel.values.chunks_exact_mut(scaled.len().max(1)).zip(&scaled) {
            for (value, b) in row.iter_mut().zip(&scaled) {
                *value = (-gamma * distance2(a, b)).exp();
            }
        }
        let all: f64 = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let bounds: Vec<f64> = weights.iter().map(|weight| weight / (NU * all)).collect();
        let (alphas, rho) = solve(&kernel, &bounds);
        let mut vectors = Matrix::zero(0, lesson.features.width);
        let mut kept = Vec::new();
        for (alpha, row) in alphas.iter().zip(&scaled).filter(|(alpha, _)| **alpha > 1e-9) {
            kept.push(*alpha);
            vectors.values.extend(row);
        }
        let features = lesson.features.clone();
        Self { features, scale, vectors, alphas: kept, gamma, rho, length: lesson.length }
    }
}

/// Distinct feature vectors of normal sessions with their weights, heaviest first.
fn distinct(lesson: &Lesson) -> (Vec<Vec<f64>>, Vec<f64>) {
    let (rows, weights) = lesson.normal();
    let mut pairs: Vec<(Vec<f64>, f64)> = rows.into_iter().zip(weights).collect();
    let order = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne());
    pairs.sort_by(|a, b| order(&a.0, &b.0).unwrap_or(std::cmp::Ordering::Equal));
    pairs.dedup_by(|next, first| {
        let same = next.0 == first.0;
        first.1 += if same { next.1 } else { 0.0 };
        same
    });
    pairs.sort_by(|a, b| b.1.total_cmp(&a.1));
    pairs.truncate(VECTORS_MAX);
    pairs.into_iter().unzip()
}

/// Smallest `a^T K a` with `0 <= a <= bounds` and sum 1; the weights, and the density where they are free.
fn solve(kernel: &Matrix, bounds: &[f64]) -> (Vec<f64>, f64) {
    let size = bounds.len();
    let mut alphas = vec![0.0; size];
    let mut left = 1.0f64;
    for (alpha, bound) in alphas.iter_mut().zip(bounds) {
        *alpha = bound.min(left);
        left -= *alpha;
    }
    let mut slopes = kernel.times(&alphas);
    for _ in 0..STEPS * size {
        // From the steepest that can be lowered to the flattest that can be raised.
        let mut down: Option<(usize, f64)> = None;
        let mut up: Option<(usize, f64)> = None;
        for (at, ((slope, alpha), bound)) in slopes.iter().zip(&alphas).zip(bounds).enumerate() {
            if *alpha > 0.0 && down.is_none_or(|(_, steepest)| *slope > steepest) {
                down = Some((at, *slope));
            }
            if alpha < bound && up.is_none_or(|(_, flattest)| *slope < flattest) {
                up = Some((at, *slope));
            }
        }
        let (Some((i, steep)), Some((j, flat))) = (down, up) else { break };
        if steep - flat < TOLERANCE {
            break;
        }
        let curve = (kernel.at(i, i) + kernel.at(j, j) - 2.0 * kernel.at(i, j)).max(1e-12);
        let room = bounds.get(j).copied().unwrap_or(0.0) - alphas.get(j).copied().unwrap_or(0.0);
        let step = ((steep - flat) / curve).min(alphas.get(i).copied().unwrap_or(0.0)).min(room);
        alphas.iter_mut().skip(i).take(1).for_each(|alpha| *alpha -= step);
        alphas.iter_mut().skip(j).take(1).for_each(|alpha| *alpha += step);
        let (row_i, row_j) = (kernel.rows().nth(i), kernel.rows().nth(j));
        for (slope, (a, b)) in
            slopes.iter_mut().zip(row_i.into_iter().flatten().zip(row_j.into_iter().flatten()))
        {
            *slope += step * (b - a);
        }
    }
    let free = slopes.iter().zip(alphas.iter().zip(bounds)).filter(|(_, (alpha, _))| **alpha > 1e-9);
    // All that hold weight lie on the surface or outside of it: the densest of them is on it.
    let rho = free.map(|(slope, _)| *slope).fold(0.0, f64::max);
    (alphas, rho)
}

impl Fitted for OneClass {
    fn score(&self, tokens: &[u16]) -> f32 {
        let row = self.scale.of(&self.features.of(tokens));
        let near = |vector: &[f64]| (-self.gamma * distance2(vector, &row)).exp();
        let density: f64 =
            self.vectors.rows().zip(&self.alphas).map(|(vector, alpha)| alpha * near(vector)).sum();
        single(self.rho / (self.rho + density))
    }

    fn parameters(&self) -> usize {
        self.vectors.values.len() + self.alphas.len() + 2 * self.scale.mean.len() + 2
    }

    fn graph(&self) -> GraphProto {
        let mut graph = self.features.builder();
        self.scale.node(&mut graph);
        let count = self.alphas.len();
        // -gamma |x - v|^2 = 2 gamma x.v - gamma |v|^2 - gamma |x|^2
        let double: Vec<f64> = self.vectors.values.iter().map(|value| 2.0 * self.gamma * value).collect();
        let squares: Vec<f64> = self.vectors.rows().map(|row| -self.gamma * dot(row, row)).collect();
        graph.floats("vectors", &[count, self.vectors.columns], &singles(&double));
        graph.floats("vector_squares", &[count], &singles(&squares));
        graph.floats("gamma", &[1], &singles(&[self.gamma]));
        graph.floats("alphas", &[1, count], &singles(&self.alphas));
        graph.floats("rho", &[1], &singles(&[self.rho]));
        graph.node("Mul", &["scaled", "scaled"], "own_squares", &[]);
        graph.node("ReduceSum", &["own_squares", "over_events"], "own_square", &[("keepdims", 1)]);
        graph.node("Mul", &["own_square", "gamma"], "own", &[]);
        graph.node("Gemm", &["scaled", "vectors", "vector_squares"], "crossed", &[("transB", 1)]);
        graph.node("Sub", &["crossed", "own"], "exponents", &[]);
        graph.node("Exp", &["exponents"], "near", &[]);
        graph.node("Gemm", &["near", "alphas"], "density", &[("transB", 1)]);
        graph.node("Add", &["density", "rho"], "both", &[]);
        graph.node("Div", &["rho", "both"], "score", &[]);
        graph.finish(self.length)
    }
}
