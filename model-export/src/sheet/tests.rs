//! Tests of the sheet as a whole.

use blocksift_detector::token::Token;

use super::*;

fn group(token: u16, normal: u64, abnormal: u64, natural_normal: u64) -> Group {
    Group { tokens: vec![Token(token)], normal, abnormal, natural_normal, natural_abnormal: abnormal.min(1) }
}

fn sheet(trained: &[u16]) -> Sheet {
    let groups = [group(2, 90, 0, 9), group(3, 0, 40, 0), group(4, 10, 0, 1)];
    let trained = trained.iter().map(|&token| sequence_hash(&[Token(token)])).collect();
    let unseen = unseen(&groups, &trained);
    let column = Column { name: "int8", verdicts: vec![(0.1, false), (0.9, true), (0.6, true)] };
    Sheet::new("merged", &groups, &[column], Some(&unseen), 0.5, 0.2)
}

#[test]
fn figures_are_weighted_to_the_share_that_is_asked_for() {
    let sheet = sheet(&[]);
    // A tenth of the normals, 8 % of all, is flagged beside the 20 % that are abnormal.
    assert!((sheet.rows[0].weighted.precision() - 20.0 / 28.0).abs() < 1e-12);
    let json = Value::Object(sheet.json());
    assert_eq!(json["int8"]["all"]["fp"], 10.0);
    assert_eq!(json["int8"]["natural"]["fp"], 1.0);
    // Without duplicates: two normal sequences, one of them flagged.
    assert_eq!(
        (&json["int8"]["distinct"]["fp"], &json["int8"]["distinct"]["tn"]),
        (&1.0.into(), &1.0.into())
    );
    assert!((json["f1"].as_f64().unwrap() - 2.0 * 20.0 / 48.0).abs() < 1e-12);
}

#[test]
fn unseen_sequences_stand_apart_and_absent_classes_are_null() {
    let sheet = sheet(&[2, 3]);
    let json = Value::Object(sheet.json());
    assert_eq!(json["int8"]["unseen"]["tn"], 0.0);
    assert_eq!(json["int8"]["unseen"]["fp"], 10.0);
    assert!(json["int8"]["unseen"]["recall"].is_null());
    assert!(sheet.to_string().contains("| int8   | unseen "));
}

#[test]
fn the_count_vector_rule_flags_what_no_normal_session_had() {
    let groups = [group(2, 1, 0, 0), group(3, 0, 1, 0)];
    let novelty = HashSet::from([counts_hash(counts(&groups[0].tokens))]);
    assert_eq!(count_vector(&groups, &novelty).verdicts, [(0.0, false), (1.0, true)]);
}
