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

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "view {}: {} sessions, {} abnormal, weighted to {:.2} % abnormal (rows `natural`: unweighted), threshold {:.4}\n",
            self.view,
            self.sessions,
            self.abnormal,
            self.abnormal_share * 100.0,
            self.threshold
        )?;
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
        let columns = TITLES.len();
        let width =
            |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
        for (number, line) in lines.iter().enumerate() {
            for (cell, &width) in line.iter().zip(&widths) {
                write!(f, "| {cell:<width$} ")?;
            }
            writeln!(f, "|")?;
            if number == 0 {
                for &width in &widths {
                    write!(f, "|{}", "-".repeat(width + 2))?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

fn figure(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "-".to_owned() }
}

fn range([low, high]: [f64; 2]) -> String {
    format!("{} .. {}", figure(low), figure(high))
}
