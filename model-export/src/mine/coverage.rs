//! How much of logs a catalogue knows, and what it does not.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use blocksift_detector::miner::mask::Masks;
use blocksift_detector::template::Catalogue;

use super::{lines, table};
use crate::progress;

/// Kinds of unknown messages that are told apart; those that come up later are counted together.
const UNKNOWN_MAX: usize = 4_096;
/// Kinds that are printed.
const PRINTED_MAX: usize = 40;

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    messages: u64,
    known: u64,
    /// Masked, with the logger in front.
    unknown: BTreeMap<String, u64>,
}

/// Looks for each message of the logs in the catalogue.
///
/// # Errors
/// If a log cannot be read.
pub(super) fn of(catalogue: &Catalogue, logs: &[PathBuf]) -> Result<Coverage> {
    let mut coverage = Coverage::default();
    let masks = Masks::new(&super::text::masks(), super::MESSAGE_BYTES_MAX)?;
    let mut masked = String::new();
    for log in logs {
        let bar = progress(lines::bytes(log), &format!("looking up {} {{elapsed}}", log.display()));
        lines::read(log, &bar, |head| {
            coverage.messages += 1;
            if catalogue.find(head.message).is_some() {
                coverage.known += 1;
                return;
            }
            masks.mask_into(head.message, &mut masked);
            let kind = format!("{} {masked}", String::from_utf8_lossy(head.logger));
            if let Some(count) = coverage.unknown.get_mut(&kind) {
                *count += 1;
            } else if coverage.unknown.len() < UNKNOWN_MAX {
                coverage.unknown.insert(kind, 1);
            }
        })?;
    }
    Ok(coverage)
}

impl Coverage {
    /// For a terminal.
    pub(super) fn render(&self) -> String {
        let Self { messages, known, unknown } = self;
        let percent = 100.0 * *known as f64 / (*messages).max(1) as f64;
        let mut text = format!("{known} of {messages} messages ({percent:.2} %) match the catalogue");
        let mut kinds: Vec<(&String, &u64)> = unknown.iter().collect();
        kinds.sort_by_key(|(kind, count)| (Reverse(**count), *kind));
        for (kind, count) in kinds.iter().take(PRINTED_MAX) {
            text += &format!("\n{count:>8}  {}", table::printable(kind));
        }
        if kinds.len() > PRINTED_MAX {
            text += &format!("\n          and {} kinds more", kinds.len() - PRINTED_MAX);
        }
        text
    }
}
