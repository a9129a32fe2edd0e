//! Scores: the model's judgement of token windows, and the cache in front of it.

mod cache;
#[cfg(feature = "tract")]
pub mod onnx;
mod proto;
pub mod table;

pub(crate) use cache::{Cache, Known};

use crate::token::Window;

/// The models that ship.
#[cfg(test)]
const SHIPPED: [&[u8]; 2] =
    [include_bytes!("../../models/hdfs-v1.onnx"), include_bytes!("../../models/hadoop3.onnx")];

/// Why a window cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// The window does not have the model's length.
    #[error("window has {found} tokens, the model takes {expected}")]
    Length {
        /// Tokens of the window.
        found: usize,
        /// Tokens the model takes.
        expected: usize,
    },
    /// A token that the model's embedding has no row for.
    #[error("token {token} is beyond the model's vocabulary of {rows}")]
    Token {
        /// The token.
        token: u16,
        /// Rows of the embedding.
        rows: usize,
    },
    /// The runtime failed.
    #[error("model cannot be run: {0}")]
    Runtime(String),
}

/// Checks that a window has `length` tokens, all of which the embedding of `rows` rows knows.
fn check_window(window: &Window, length: usize, rows: usize) -> Result<(), ScoreError> {
    let found = window.0.len();
    if found != length {
        return Err(ScoreError::Length { found, expected: length });
    }
    match window.0.iter().find(|token| usize::from(token.0) >= rows) {
        Some(token) => Err(ScoreError::Token { token: token.0, rows }),
        None => Ok(()),
    }
}

/// Anything that scores windows. A score depends on its own window alone, not on those beside it.
pub trait Score: Send {
    /// One score for each window, in order, `0.0..=1.0`, higher is worse.
    ///
    /// # Errors
    /// [`ScoreError`] for the first window that cannot be scored.
    fn score(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError>;

    /// Another one that gives equal scores, for another thread.
    fn fork(&self) -> Box<dyn Score>;

    /// As [`score`](Self::score), but faster where that can be had, and equal to it only within the rounding of
    /// float32. For comparing windows with each other, and for seeing that one is far from the threshold.
    ///
    /// # Errors
    /// As [`score`](Self::score)'s.
    fn estimate(&mut self, windows: &[Window]) -> Result<Vec<f32>, ScoreError> {
        self.score(windows)
    }

    /// Whether [`estimate`](Self::estimate) is cheaper than [`score`](Self::score).
    fn has_estimates(&self) -> bool {
        false
    }
}
