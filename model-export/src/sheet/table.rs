//! The sheet as text for a terminal and for the model card.

use std::fmt;

use super::Sheet;

const TITLES: [&str; 15] = [
    "method",
    "sessions",
    "precision",
    "recall",
    "F1",
    "95 % by block",
    "95 % by sequence",
    "specificity",
    "ROC-AUC",
    "PR-AUC abn.",
    "PR-AUC norm.",
    "tp",
    "fp",
    "fn",
    "best F1 at",
];

impl Sheet {
    /// What the figures are of, in a line.
    #[must_use]
    pub(crate) fn title(&self) -> String {
        format!(
            "view {}: {} sessions, {} abnormal, weighted to {:.2} % abnormal (rows `natural` and `distinct`: unweighted), threshold {:.4}",
            self.view,
            self.sessions,
            self.abnormal,
            self.abnormal_share * 100.0,
            self.threshold
        )
    }

    /// The table's cells, the titles first.
    #[must_use]
    pub(crate) fn cells(&self) -> Vec<Vec<String>> {
        let mut lines: Vec<Vec<String>> = vec![TITLES.map(str::to_owned).to_vec()];
        for row in &self.rows {
            lines.push(vec![
                row.method.to_owned(),
                row.subset.to_owned(),
                figure(row.weighted.precision()),
                figure(row.weighted.recall()),
                figure(row.weighted.f1()),
                range(row.by_block),
                range(row.by_sequence),
                figure(row.weighted.specificity()),
                figure(row.roc_auc),
                figure(row.pr_auc_abnormal),
                figure(row.pr_auc_normal),
                format!("{:.0}", row.counted.tp),
                format!("{:.0}", row.counted.fp),
                format!("{:.0}", row.counted.missed),
                format!("{} {:.3}", figure(row.best.1), row.best.0),
            ]);
        }
        lines
    }
}

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.title())?;
        f.write_str(&text(&self.cells()))
    }
}

/// Cells as a Markdown table, the titles first.
#[must_use]
pub(crate) fn text(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width =
        |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (cell, &width) in line.iter().zip(&widths) {
            text.push_str(&format!("| {cell:<width$} "));
        }
        text.push_str("|\n");
        if number == 0 {
            for &width in &widths {
                text.push_str(&format!("|{}", "-".repeat(width + 2)));
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Four digits, or a dash for what does not exist.
pub(crate) fn figure(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "-".to_owned() }
}

fn range([low, high]: [f64; 2]) -> String {
    format!("{} .. {}", figure(low), figure(high))
}
