//! Principal components (Xu et al., SOSP 2009): what of a session lies outside of the directions in which normal ones
//! vary, squared.

use tract_onnx::pb::GraphProto;

use super::features::{Features, Scale, finish};
use super::matrix::{Matrix, dot};
use super::{Fitted, Lesson, half, single, singles};

/// Share of the variance that the kept directions explain.
const EXPLAINED: f64 = 0.95;

/// The directions that normal sessions do not take.
pub(crate) struct Pca {
    features: Features,
    scale: Scale,
    /// A row for each direction that is not kept.
    rest: Matrix,
    half: f64,
    length: usize,
}

impl Pca {
    /// Fits to normal sessions.
    #[must_use]
    pub(crate) fn fit(lesson: &Lesson) -> Self {
        let width = lesson.features.width;
        let (rows, weights) = lesson.normal();
        let scale = Scale::new(&rows, &weights, width);
        let all: f64 = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mut covariance = Matrix::zero(width, width);
        for (row, weight) in rows.iter().zip(&weights) {
            covariance.add_outer(&scale.of(row), weight / all);
        }
        let found = covariance.eigen();
        let variance: f64 = found.iter().map(|(value, _)| value.max(0.0)).sum();
        let mut explained = 0.0;
        let mut rest = Matrix::zero(0, width);
        for (value, vector) in found {
            if explained >= EXPLAINED * variance {
                rest.values.extend(vector);
            }
            explained += value.max(0.0);
        }
        let mut pca =
            Self { features: lesson.features.clone(), scale, rest, half: 1.0, length: lesson.length };
        let raw: Vec<f64> = rows.iter().map(|row| pca.raw(row)).collect();
        pca.half = half(&raw, &weights);
        pca
    }

    fn raw(&self, row: &[f64]) -> f64 {
        let outside = self.rest.times(&self.scale.of(row));
        dot(&outside, &outside)
    }
}

impl Fitted for Pca {
    fn score(&self, tokens: &[u16]) -> f32 {
        let raw = self.raw(&self.features.of(tokens));
        single(raw / (raw + self.half))
    }

    fn parameters(&self) -> usize {
        self.rest.values.len() + 2 * self.scale.mean.len() + 1
    }

    fn graph(&self) -> GraphProto {
        let mut graph = self.features.builder();
        self.scale.node(&mut graph);
        let directions = self.rest.values.len() / self.rest.columns.max(1);
        graph.floats("rest", &[directions, self.rest.columns], &singles(&self.rest.values));
        graph.node("Gemm", &["scaled", "rest"], "outside", &[("transB", 1)]);
        graph.node("Mul", &["outside", "outside"], "squares", &[]);
        graph.node("ReduceSum", &["squares", "over_events"], "raw", &[("keepdims", 1)]);
        finish(graph, "raw", self.half, self.length)
    }
}
