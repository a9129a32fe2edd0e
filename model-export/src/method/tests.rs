//! Tests of all methods: the graph says what the method says, and each finds what is plainly odd.

use blocksift_detector::model::{Decision, Golden, Metadata, TokenizerSpec, Training};
use blocksift_detector::score::{Score, onnx};
use blocksift_detector::token::Window;
use clap::ValueEnum;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const LENGTH: usize = 16;

fn templates() -> Vec<Template> {
    (0..6).map(|at| Template { text: format!("event number {}", "x".repeat(at + 2)), ..blank() }).collect()
}

fn blank() -> Template {
    Template { text: String::new(), logger: String::new(), level: String::new(), key: None }
}

fn metadata() -> Metadata {
    let catalogue = templates();
    let vocabulary = catalogue.iter().map(Template::id).collect();
    Metadata {
        name: "test".to_owned(),
        licence: "none".to_owned(),
        catalogue,
        tokenizer: TokenizerSpec::plain(LENGTH, vocabulary),
        decision: Decision {
            threshold: 0.5,
            novel_counts: false,
            unknown_warn: false,
            quantiles: Vec::new(),
        },
        novelty: std::collections::HashSet::new(),
        training: Training { data: String::new(), seed: 1, sessions: 1, sequences: String::new() },
        scores: serde_json::Value::Null,
        golden: vec![Golden { tokens: vec![Token::PAD; LENGTH], score: 0.0 }],
    }
}

/// Normal sessions open, work and close; abnormal ones hold event 7 or never close.
fn lesson(reading: Reading) -> Lesson {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut groups = Vec::new();
    for at in 0..300u64 {
        let mut tokens = vec![Token(2)];
        for _ in 0..rng.random_range(1..4) {
            tokens.extend([Token(3), Token(4)]);
        }
        let abnormal = at % 4 == 0;
        if abnormal {
            let place = rng.random_range(1..tokens.len());
            tokens.insert(place, Token(7));
            tokens.insert(place, Token(7));
        } else {
            tokens.push(Token(5));
        }
        let (normal, abnormal) = if abnormal { (0, 1) } else { (1 + at % 7, 0) };
        groups.push(Group { tokens, normal, abnormal, ..Group::default() });
    }
    let metadata = metadata();
    let tokenizer = Tokenizer::new(LENGTH, &metadata.tokenizer.vocabulary);
    Lesson::new(&groups, &tokenizer, &metadata.catalogue, reading, 1.0, 7)
}

fn check(fitted: &dyn Fitted, name: &str) {
    let bytes = crate::graph::write(fitted.graph(), &metadata()).unwrap();
    let (_, mut scorer) = onnx::load(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for events in (0..=LENGTH).chain(0..=LENGTH) {
        let mut tokens: Vec<u16> = (0..events).map(|_| rng.random_range(1..8)).collect();
        let own = fitted.score(&tokens);
        tokens.resize(LENGTH, 0);
        let window = Window(tokens.iter().copied().map(Token).collect());
        let found = scorer.score(&[window]).unwrap_or_else(|error| panic!("{name}: {error}"))[0];
        assert!((found - own).abs() < 2e-4, "{name}, {tokens:?}: {found} in the file, {own} here");
    }
}

#[test]
fn the_file_of_each_method_says_what_the_method_says() {
    for method in Method::BASELINES {
        check(fit(method, &lesson(Reading::Counts)).as_ref(), method.name());
    }
    for method in [Method::Pca, Method::OneClassSvm, Method::IsolationForest, Method::Autoencoder] {
        check(fit(method, &lesson(Reading::Words)).as_ref(), method.name());
    }
    let ranked = Lesson { surprise: Surprise::Rank, ..lesson(Reading::Counts) };
    check(fit(Method::NextEvent, &ranked).as_ref(), "rank");
}

#[test]
fn each_method_finds_what_is_plainly_odd() {
    for method in Method::BASELINES {
        let fitted = fit(method, &lesson(Reading::Counts));
        let (healthy, odd) = (fitted.score(&[2, 3, 4, 3, 4, 5]), fitted.score(&[2, 3, 7, 7, 4]));
        assert!(healthy < odd && odd > 0.4, "{}: {healthy} {odd}", method.name());
        assert!(fitted.parameters() > 0);
    }
}

#[test]
fn equal_seeds_give_equal_graphs() {
    for method in Method::BASELINES {
        let graph = || fit(method, &lesson(Reading::Counts)).graph();
        assert_eq!(graph(), graph(), "{}", method.name());
    }
}

#[test]
fn each_method_has_one_name_and_the_command_line_knows_it() {
    for method in Method::value_variants() {
        let given = method.to_possible_value().unwrap().get_name().replace('-', "_");
        assert_eq!(given, method.name());
    }
}

#[test]
fn quantiles_go_by_weight() {
    assert_eq!(quantile(&[3.0, 1.0, 2.0], &[1.0, 98.0, 1.0], 0.98), 1.0);
    assert_eq!(quantile(&[3.0, 1.0, 2.0], &[1.0, 98.0, 1.0], 0.99), 2.0);
    assert_eq!(quantile(&[], &[], 0.5), 0.0);
}
