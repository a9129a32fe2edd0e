//! What the collector knows: the summaries of its nodes and the sessions that are flagged now.

use std::fmt;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use blocksift_tests::http;
use serde_json::Value;

/// Sessions asked for at once.
const PAGE: usize = 200;

/// Sums of one node, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) lines_read: u64,
    pub(super) bytes_read: u64,
    pub(super) sessions_scored: u64,
    pub(super) sessions_flagged: u64,
    pub(super) bytes_shipped: u64,
}

impl fmt::Display for Sums {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} lines read, {} sessions scored, {} flagged",
            self.lines_read, self.sessions_scored, self.sessions_flagged
        )
    }
}

/// A session that is flagged now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Flag {
    pub(super) node: String,
    pub(super) block: String,
    pub(super) score: f64,
    pub(super) reasons: Vec<String>,
}

/// All figures at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    /// Nodes by name.
    pub(super) nodes: Vec<(String, Sums)>,
    pub(super) flags: Vec<Flag>,
}

impl Figures {
    /// Asks the collector.
    pub(super) fn fetch(address: SocketAddr) -> Result<Self> {
        let asked = || "the collector does not answer";
        let nodes = http::get_json(address, "/api/nodes").with_context(asked)?;
        let nodes = items(&nodes, "nodes").map(node).collect();
        let mut flags = Vec::new();
        let mut path = format!("/api/sessions?flagged=true&limit={PAGE}");
        loop {
            let page = http::get_json(address, &path).with_context(asked)?;
            flags.extend(items(&page, "sessions").map(flag));
            match page.get("next").and_then(Value::as_i64) {
                Some(next) => path = format!("/api/sessions?flagged=true&limit={PAGE}&before={next}"),
                None => return Ok(Self { nodes, flags }),
            }
        }
    }

    /// Sums over all nodes. Flagged sessions are those the collector shows, taken back ones excluded.
    pub(super) fn total(&self) -> Sums {
        let mut total = Sums::default();
        for (_, sums) in &self.nodes {
            total.lines_read += sums.lines_read;
            total.bytes_read += sums.bytes_read;
            total.sessions_scored += sums.sessions_scored;
            total.sessions_flagged += sums.sessions_flagged;
            total.bytes_shipped += sums.bytes_shipped;
        }
        total
    }

    /// Flagged sessions of a block, on whatever node.
    pub(super) fn flags_of(&self, block: i64) -> impl Iterator<Item = &Flag> {
        let name = format!("blk_{block}");
        self.flags.iter().filter(move |flag| flag.block == name)
    }
}

fn items<'a>(document: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    document.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn node(node: &Value) -> (String, Sums) {
    let metric = |name: &str| node.pointer(&format!("/metrics/{name}")).and_then(Value::as_u64).unwrap_or(0);
    let sums = Sums {
        lines_read: metric("lines_read"),
        bytes_read: metric("bytes_read"),
        sessions_scored: metric("sessions_scored"),
        sessions_flagged: node.get("sessions_flagged").and_then(Value::as_u64).unwrap_or(0),
        bytes_shipped: metric("bytes_shipped"),
    };
    (text(node, "node"), sums)
}

fn flag(session: &Value) -> Flag {
    let reasons = items(session, "reasons").filter_map(Value::as_str).map(str::to_owned).collect();
    let score = session.get("score").and_then(Value::as_f64).unwrap_or(f64::NAN);
    Flag { node: text(session, "node"), block: text(session, "block"), score, reasons }
}

fn text(object: &Value, name: &str) -> String {
    object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_api() {
        let document = serde_json::json!({ "node": "dn1", "sessions_flagged": 2, "metrics": { "lines_read": 7, "bytes_shipped": 3 } });
        let (name, sums) = node(&document);
        assert_eq!(name, "dn1");
        assert_eq!((sums.lines_read, sums.sessions_flagged, sums.bytes_shipped), (7, 2, 3));
        let session =
            serde_json::json!({ "node": "dn1", "block": "blk_-4", "score": 0.5, "reasons": ["score"] });
        let figures = Figures { nodes: Vec::new(), flags: vec![flag(&session)] };
        assert_eq!(figures.flags_of(-4).count(), 1);
        assert_eq!(figures.flags_of(4).count(), 0);
    }
}
