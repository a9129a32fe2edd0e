//! Tokens: what the model reads of a session. The tokenizer of training and of the agent is this one code.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::template::TemplateId;

/// One symbol of the model's input: `0` padding, `1` unknown template, `2..` the vocabulary in its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token(pub u16);

impl Token {
    /// Fills a window up to its length.
    pub const PAD: Self = Self(0);
    /// An event whose template the vocabulary lacks.
    pub const UNKNOWN: Self = Self(1);
    /// Token of the vocabulary's first template.
    pub const FIRST: u16 = 2;
}

/// Tokens of one session, oldest first, right-padded with [`Token::PAD`] to the model's length.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Window(pub Box<[Token]>);

/// Turns templates into tokens and tokens into windows.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    length: usize,
    vocabulary: HashMap<TemplateId, Token>,
}

impl Tokenizer {
    /// A tokenizer for windows of `length` tokens; `vocabulary` in token order. Ids beyond 65,533 have no token.
    #[must_use]
    pub fn new(length: usize, vocabulary: &[TemplateId]) -> Self {
        let vocabulary =
            vocabulary.iter().zip(Token::FIRST..).map(|(&id, token)| (id, Token(token))).collect();
        Self { length, vocabulary }
    }

    /// Tokens in a window.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Rows that the model's embedding needs: the vocabulary, padding and unknown.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.vocabulary.len() + usize::from(Token::FIRST)
    }

    /// The token of a template, [`Token::UNKNOWN`] if the vocabulary lacks it.
    #[must_use]
    pub fn token(&self, template: TemplateId) -> Token {
        self.vocabulary.get(&template).copied().unwrap_or(Token::UNKNOWN)
    }

    /// The window of a session's tokens. A longer session keeps its head and its tail, the head one token longer
    /// where the length is odd.
    #[must_use]
    pub fn window(&self, tokens: &[Token]) -> Window {
        let mut window = Vec::with_capacity(self.length);
        if tokens.len() <= self.length {
            window.extend_from_slice(tokens);
        } else {
            let tail = self.length / 2;
            window.extend(tokens.iter().take(self.length - tail));
            window.extend(tokens.iter().skip(tokens.len() - tail));
        }
        window.resize(self.length, Token::PAD);
        Window(window.into_boxed_slice())
    }
}

/// Hash of a whole token sequence, by which the sequences of the training data are known (xxh3, low 32 bits).
#[must_use]
pub fn sequence_hash(tokens: &[Token]) -> u32 {
    let mut hasher = Xxh3::new();
    for token in tokens {
        hasher.update(&token.0.to_le_bytes());
    }
    u32::try_from(hasher.digest() & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// Hash of how often each token occurs, whatever the order: the session's count vector (xxh3, 64 bits).
/// `counts` holds one entry per token that occurs, in rising order of the token.
#[must_use]
pub fn counts_hash(counts: impl IntoIterator<Item = (Token, u32)>) -> u64 {
    let mut bytes = Vec::with_capacity(64);
    for (token, count) in counts {
        bytes.extend_from_slice(&token.0.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
    }
    xxh3_64(&bytes)
}

/// How often each token occurs, in rising order of the token: the input of [`counts_hash`].
#[must_use]
pub fn counts(tokens: &[Token]) -> Vec<(Token, u32)> {
    let mut sorted = tokens.to_vec();
    sorted.sort_unstable();
    sorted
        .chunk_by(|a, b| a == b)
        .filter_map(|run| Some((*run.first()?, u32::try_from(run.len()).unwrap_or(u32::MAX))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(ids: &[u16]) -> Vec<Token> {
        ids.iter().copied().map(Token).collect()
    }

    #[test]
    fn short_sessions_are_padded_on_the_right() {
        let tokenizer = Tokenizer::new(4, &[]);
        assert_eq!(tokenizer.window(&tokens(&[5, 6])).0.as_ref(), tokens(&[5, 6, 0, 0]));
    }

    #[test]
    fn long_sessions_keep_head_and_tail() {
        let tokenizer = Tokenizer::new(5, &[]);
        let window = tokenizer.window(&tokens(&[2, 3, 4, 5, 6, 7, 8, 9]));
        assert_eq!(window.0.as_ref(), tokens(&[2, 3, 4, 8, 9]));
    }

    #[test]
    fn unknown_templates_share_a_token() {
        let tokenizer = Tokenizer::new(4, &[TemplateId(7), TemplateId(9)]);
        assert_eq!(tokenizer.token(TemplateId(9)), Token(3));
        assert_eq!(tokenizer.token(TemplateId(8)), Token::UNKNOWN);
        assert_eq!(tokenizer.rows(), 4);
    }

    #[test]
    fn count_hash_ignores_order_and_sequence_hash_does_not() {
        let (a, b) = (tokens(&[2, 3, 2]), tokens(&[2, 2, 3]));
        assert_eq!(counts_hash(counts(&a)), counts_hash(counts(&b)));
        assert_ne!(sequence_hash(&a), sequence_hash(&b));
        assert_ne!(counts_hash(counts(&a)), counts_hash(counts(&tokens(&[2, 3]))));
    }
}
