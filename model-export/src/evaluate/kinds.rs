//! What is found of each kind of abnormal block, and how many healthy ones are flagged, where the sessions tell kinds.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::view::View;
use crate::sheet::table;

/// Blocks by kind, and how many of them each method flags.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Kinds {
    methods: Vec<&'static str>,
    /// By name; the healthy ones have none.
    rows: BTreeMap<String, (usize, Vec<usize>)>,
}

impl Kinds {
    /// Empty where the view does not tell kinds.
    #[must_use]
    pub(crate) fn new(view: &View) -> Self {
        if view.kinds.iter().all(String::is_empty) {
            return Self::default();
        }
        let mut rows: BTreeMap<String, (usize, Vec<usize>)> = BTreeMap::new();
        for (at, kind) in view.kinds.iter().enumerate() {
            let (blocks, flagged) = rows.entry(kind.clone()).or_default();
            *blocks += 1;
            flagged.resize(view.columns.len(), 0);
            for (flagged, column) in flagged.iter_mut().zip(&view.columns) {
                *flagged += usize::from(column.verdicts.get(at).is_some_and(|(_, flagged)| *flagged));
            }
        }
        Self { methods: view.columns.iter().map(|column| column.name).collect(), rows }
    }

    /// A table, empty if there are no kinds.
    #[must_use]
    pub(crate) fn text(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let titles = ["flagged of", "blocks"].into_iter().chain(self.methods.iter().copied());
        let mut lines: Vec<Vec<String>> = vec![titles.map(str::to_owned).collect()];
        for (kind, (blocks, flagged)) in &self.rows {
            let name = if kind.is_empty() { "healthy" } else { kind };
            let cells = [name.to_owned(), blocks.to_string()].into_iter();
            lines.push(cells.chain(flagged.iter().map(usize::to_string)).collect());
        }
        table::text(&lines) + "\n"
    }

    /// The same with stable names.
    #[must_use]
    pub(crate) fn json(&self) -> Value {
        let row = |(kind, (blocks, flagged)): (&String, &(usize, Vec<usize>))| {
            let name = if kind.is_empty() { "healthy" } else { kind };
            let mut row = Map::from_iter([("blocks".to_owned(), json!(blocks))]);
            row.extend(
                self.methods.iter().zip(flagged).map(|(method, count)| ((*method).to_owned(), json!(count))),
            );
            (name.to_owned(), Value::Object(row))
        };
        self.rows.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sheet::Column;

    #[test]
    fn flagged_blocks_are_counted_by_kind_and_method() {
        let columns = vec![
            Column { name: "int8", verdicts: vec![(0.9, true), (0.1, false), (0.8, true)] },
            Column { name: "other", verdicts: vec![(0.0, false); 3] },
        ];
        let kinds = ["a", "", "a"].map(str::to_owned).to_vec();
        let view = View { name: "joined", groups: Vec::new(), columns, unseen: None, per_block: 1.0, kinds };
        let found = Kinds::new(&view).json();
        assert_eq!(found["a"], json!({"blocks": 2, "int8": 2, "other": 0}));
        assert_eq!(found["healthy"], json!({"blocks": 1, "int8": 0, "other": 0}));
    }
}
