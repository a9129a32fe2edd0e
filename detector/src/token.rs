//! Tokens: what the model reads of a session. The tokenizer of training and of the agent is this one code.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::template::{Capture, TemplateId};

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

/// Tells events of one template apart by how large a parameter is and by how long the session was silent before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refinement {
    /// Template of the vocabulary.
    pub template: TemplateId,
    /// Which of its wildcards holds the parameter, from 0 on; it must be a number.
    #[serde(default)]
    pub parameter: usize,
    /// Values at which the next range of the parameter begins, rising; none tells nothing apart.
    #[serde(default)]
    pub bounds: Vec<i64>,
    /// Milliseconds of silence at which the next range begins, rising; none tells nothing apart.
    #[serde(default)]
    pub gaps_ms: Vec<i64>,
}

impl Refinement {
    /// Tokens it adds: one for each pair of ranges but the lowest ones, whose token is the template's own.
    #[must_use]
    pub fn tokens(&self) -> usize {
        (self.bounds.len() + 1) * (self.gaps_ms.len() + 1) - 1
    }
}

/// Turns templates into tokens and tokens into windows.
///
/// Tokens are numbered: padding, unknown, the vocabulary in its order, then for each refinement in its order its pairs
/// of ranges, the ranges of the gap running faster, without the lowest pair.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    length: usize,
    rows: usize,
    vocabulary: HashMap<TemplateId, Token>,
    /// Refinements with their first token, by template.
    refined: HashMap<TemplateId, (Refinement, u16)>,
    /// Ranges of the gap before an event, by the token of the lowest one: bounds, and the token of the next range.
    gaps: HashMap<Token, (Vec<i64>, u16)>,
}

impl Tokenizer {
    /// A tokenizer for windows of `length` tokens; `vocabulary` in token order. Ids beyond 65,533 have no token.
    #[must_use]
    pub fn new(length: usize, vocabulary: &[TemplateId]) -> Self {
        Self::refined(length, vocabulary, &[])
    }

    /// As [`new`](Self::new), with refinements of templates of the vocabulary.
    #[must_use]
    pub fn refined(length: usize, vocabulary: &[TemplateId], refinements: &[Refinement]) -> Self {
        let tokens: HashMap<TemplateId, Token> =
            vocabulary.iter().zip(Token::FIRST..).map(|(&id, token)| (id, Token(token))).collect();
        let mut rows = vocabulary.len() + usize::from(Token::FIRST);
        let (mut refined, mut gaps) = (HashMap::new(), HashMap::new());
        for refinement in refinements {
            let (Some(&base), Ok(first)) = (tokens.get(&refinement.template), u16::try_from(rows)) else {
                continue;
            };
            rows += refinement.tokens();
            let per_bucket = u16::try_from(refinement.gaps_ms.len() + 1).unwrap_or(u16::MAX);
            for bucket in (0..=refinement.bounds.len()).filter_map(|bucket| u16::try_from(bucket).ok()) {
                let lowest = if bucket == 0 { base } else { Token(first + bucket * per_bucket - 1) };
                if !refinement.gaps_ms.is_empty() {
                    gaps.insert(lowest, (refinement.gaps_ms.clone(), first + bucket * per_bucket));
                }
            }
            refined.insert(refinement.template, (refinement.clone(), first));
        }
        Self { length, rows, vocabulary: tokens, refined, gaps }
    }

    /// Tokens in a window.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Rows that the model's embedding needs: padding, unknown, the vocabulary, and what refinements add.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Which range a template's parameter is in: `0` for the lowest, and where the template is not refined.
    #[must_use]
    #[inline]
    pub fn bucket(&self, template: TemplateId, captures: &[Capture]) -> u16 {
        if self.refined.is_empty() {
            return 0;
        }
        let value = |refinement: &Refinement| captures.get(refinement.parameter).map(|capture| capture.value);
        let bucket = self.refined.get(&template).and_then(|(refinement, _)| {
            let value = value(refinement)?;
            Some(refinement.bounds.partition_point(|&bound| bound <= value))
        });
        bucket.and_then(|bucket| u16::try_from(bucket).ok()).unwrap_or(0)
    }

    /// The token of a template, its parameter in the lowest range and without a gap before; [`Token::UNKNOWN`] if the
    /// vocabulary lacks it.
    #[must_use]
    pub fn token(&self, template: TemplateId) -> Token {
        self.token_in(template, 0)
    }

    /// As [`token`](Self::token), with its parameter in range `bucket`.
    #[must_use]
    pub fn token_in(&self, template: TemplateId, bucket: u16) -> Token {
        let Some(&token) = self.vocabulary.get(&template) else { return Token::UNKNOWN };
        match self.refined.get(&template) {
            Some((refinement, first)) if bucket > 0 => {
                let per_bucket = u16::try_from(refinement.gaps_ms.len() + 1).unwrap_or(u16::MAX);
                Token(first + bucket * per_bucket - 1)
            }
            _ => token,
        }
    }

    /// Every token of a template, with the range of its parameter and that of the gap before; none if the vocabulary
    /// lacks it.
    #[must_use]
    pub fn ranges(&self, template: TemplateId) -> Vec<(u16, u16, Token)> {
        let Some(&token) = self.vocabulary.get(&template) else { return Vec::new() };
        let Some((refinement, _)) = self.refined.get(&template) else { return vec![(0, 0, token)] };
        let mut found = Vec::with_capacity(refinement.tokens() + 1);
        for (bucket, _) in (0u16..).zip(0..=refinement.bounds.len()) {
            let lowest = self.token_in(template, bucket);
            found.push((bucket, 0, lowest));
            for (gap, &gap_ms) in (1u16..).zip(&refinement.gaps_ms) {
                found.push((bucket, gap, self.after_gap(lowest, gap_ms)));
            }
        }
        found
    }

    /// Whether any template tells gaps apart.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// The token of an event that came `gap_ms` after the one before; `token` is the one without a gap.
    #[must_use]
    pub fn after_gap(&self, token: Token, gap_ms: i64) -> Token {
        let Some((gaps_ms, next)) = self.gaps.get(&token) else { return token };
        let range = gaps_ms.partition_point(|&gap| gap <= gap_ms);
        match u16::try_from(range) {
            Ok(range) if range > 0 => Token(next + range - 1),
            _ => token,
        }
    }

    /// The tokens of a window without its padding: those given, or where they are more than its length, head and tail
    /// of them, written to `scratch`.
    pub(crate) fn content<'t>(&self, tokens: &'t [Token], scratch: &'t mut Vec<Token>) -> &'t [Token] {
        if tokens.len() <= self.length {
            return tokens;
        }
        let tail = self.length / 2;
        scratch.clear();
        scratch.extend(tokens.iter().take(self.length - tail));
        scratch.extend(tokens.iter().skip(tokens.len() - tail));
        scratch
    }

    /// The window of a session's tokens. A longer session keeps its head and its tail, the head one token longer
    /// where the length is odd.
    #[must_use]
    pub fn window(&self, tokens: &[Token]) -> Window {
        let mut scratch = Vec::new();
        let mut window = self.content(tokens, &mut scratch).to_vec();
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
    use crate::template::Wildcard;

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
    fn refinements_tell_ranges_of_parameter_and_gap_apart() {
        let refinement =
            Refinement { template: TemplateId(7), parameter: 1, bounds: vec![100, 1_000], gaps_ms: vec![50] };
        let tokenizer = Tokenizer::refined(4, &[TemplateId(7), TemplateId(9)], &[refinement]);
        assert_eq!(tokenizer.rows(), 2 + 2 + 5);
        let capture = |value| Capture { kind: Wildcard::Number, start: 0, end: 0, value };
        let bucket = |value| tokenizer.bucket(TemplateId(7), &[capture(0), capture(value)]);
        assert_eq!([bucket(-5), bucket(99), bucket(100), bucket(5_000)], [0, 0, 1, 2]);
        let token = |bucket, gap| tokenizer.after_gap(tokenizer.token_in(TemplateId(7), bucket), gap).0;
        assert_eq!(
            [token(0, 49), token(0, 50), token(1, 0), token(1, 99), token(2, 0), token(2, 50)],
            [2, 4, 5, 6, 7, 8]
        );
        assert_eq!(tokenizer.after_gap(tokenizer.token(TemplateId(9)), 99), Token(3), "not refined");
        let ranges: Vec<u16> =
            tokenizer.ranges(TemplateId(7)).into_iter().map(|(_, _, token)| token.0).collect();
        assert_eq!(ranges, [2, 4, 5, 6, 7, 8]);
        assert_eq!(tokenizer.ranges(TemplateId(9)), [(0, 0, Token(3))]);
    }

    #[test]
    fn count_hash_ignores_order_and_sequence_hash_does_not() {
        let (a, b) = (tokens(&[2, 3, 2]), tokens(&[2, 2, 3]));
        assert_eq!(counts_hash(counts(&a)), counts_hash(counts(&b)));
        assert_ne!(sequence_hash(&a), sequence_hash(&b));
        assert_ne!(counts_hash(counts(&a)), counts_hash(counts(&tokens(&[2, 3]))));
    }
}
