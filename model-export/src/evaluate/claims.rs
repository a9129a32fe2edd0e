//! What others have published on this data, each figure with its source and protocol. It is printed apart from what was
//! measured here, and never compared with it by a number: the protocols differ.

use serde_json::{Value, json};

/// A published figure.
struct Claim {
    method: &'static str,
    precision: &'static str,
    recall: &'static str,
    f1: &'static str,
    source: &'static str,
    protocol: &'static str,
}

const LOGLIZER: &str = "logpai/loglizer README, benchmark on the full set";
const LOGLIZER_SUPERVISED: &str =
    "half of the blocks of each class to train on, half to test; equal sequences in both halves";
const LOGLIZER_UNSUPERVISED: &str = "the same halves, without the labels; equal sequences in both";
const LOGDEEP: &str = "d0ng1ee/logdeep README";
const NORMAL_ONLY: &str =
    "trained on 4,855 normal blocks; equal sequences among the normal blocks of the test";

#[rustfmt::skip]
const CLAIMS: [Claim; 15] = [
    Claim { method: "decision tree", precision: ".998", recall: ".998", f1: ".998", source: LOGLIZER, protocol: LOGLIZER_SUPERVISED },
    Claim { method: "SVM", precision: ".959", recall: ".970", f1: ".965", source: LOGLIZER, protocol: LOGLIZER_SUPERVISED },
    Claim { method: "logistic regression", precision: ".955", recall: ".911", f1: ".933", source: LOGLIZER, protocol: LOGLIZER_SUPERVISED },
    Claim { method: "invariants mining", precision: ".888", recall: ".945", f1: ".915", source: LOGLIZER, protocol: LOGLIZER_UNSUPERVISED },
    Claim { method: "clustering", precision: "1.000", recall: ".720", f1: ".837", source: LOGLIZER, protocol: LOGLIZER_UNSUPERVISED },
    Claim { method: "isolation forest", precision: ".830", recall: ".776", f1: ".802", source: LOGLIZER, protocol: LOGLIZER_UNSUPERVISED },
    Claim { method: "PCA", precision: ".975", recall: ".635", f1: ".769", source: LOGLIZER, protocol: LOGLIZER_UNSUPERVISED },
    Claim { method: "local outlier factor", precision: ".967", recall: ".561", f1: ".710", source: LOGLIZER, protocol: LOGLIZER_UNSUPERVISED },
    Claim { method: "one-class SVM", precision: ".995", recall: ".222", f1: ".363", source: LOGLIZER, protocol: LOGLIZER_UNSUPERVISED },
    Claim { method: "DeepLog", precision: ".95", recall: ".96", f1: ".96", source: "Du et al., CCS 2017", protocol: NORMAL_ONLY },
    Claim { method: "DeepLog, rebuilt", precision: ".958", recall: ".933", f1: ".945", source: LOGDEEP, protocol: NORMAL_ONLY },
    Claim { method: "LogAnomaly, rebuilt", precision: ".969", recall: ".983", f1: ".976", source: LOGDEEP, protocol: NORMAL_ONLY },
    Claim { method: "LogRobust, rebuilt", precision: ".922", recall: ".959", f1: ".940", source: LOGDEEP, protocol: "supervised; split not stated there" },
    Claim { method: "attention Bi-LSTM", precision: ".969", recall: ".998", f1: ".983", source: "liuxb-tofu/Log-based-Anomaly-Detection-System README", protocol: "6,000 blocks of each class to train on, all others to test; equal sequences in both" },
    Claim { method: "CNN (PyTorch)", precision: "-", recall: "-", f1: "-", source: "a public notebook", protocol: "specificity .455, ROC-AUC .699, PR-AUC (abnormal) .294 are what it reports; split not stated" },
];

/// The table as text.
#[must_use]
pub(crate) fn text() -> String {
    format!(
        "Published by others on HDFS_v1, as they state it. Not measured here, and not comparable with the figures above: each has\n\
         its own split, and most test on sequences that were trained on.\n\n{}",
        crate::sheet::table::text(&cells())
    )
}

/// The table's cells, the titles first.
#[must_use]
pub(crate) fn cells() -> Vec<Vec<String>> {
    let titles = ["method", "precision", "recall", "F1", "source", "protocol"];
    let mut lines = vec![titles.map(str::to_owned).to_vec()];
    for claim in &CLAIMS {
        let Claim { method, precision, recall, f1, source, protocol } = claim;
        lines.push([*method, *precision, *recall, *f1, *source, *protocol].map(str::to_owned).to_vec());
    }
    lines
}

/// With stable names.
#[must_use]
pub(crate) fn json() -> Value {
    let claim = |claim: &Claim| {
        json!({
            "method": claim.method,
            "precision": claim.precision,
            "recall": claim.recall,
            "f1": claim.f1,
            "source": claim.source,
            "protocol": claim.protocol,
        })
    };
    Value::Array(CLAIMS.iter().map(claim).collect())
}
