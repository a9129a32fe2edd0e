//! Raw bytes as the choices of a check: what comes first decides, what is left is the log.

use std::num::NonZeroU32;

use blocksift_detector::Settings;
use blocksift_detector::head::Layout;

/// Bytes that are not used up yet. When they run out, every choice is the first one.
#[derive(Clone, Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of `data`.
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// The next two bytes as a number.
    pub(crate) fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// One of `choices`, by the next byte.
    pub(crate) fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// The next `count` bytes, as far as they are there.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Settings with limits that are reached soon, or never.
    pub(crate) fn settings(&mut self) -> Settings {
        Settings {
            node: "dn1".to_owned(),
            layout: self.choose(&LAYOUTS).map(|layout| layout.parse::<Layout>().unwrap()),
            idle_timeout_ms: 1_000,
            forget_after_ms: self.choose(&[60_000, 2_000]),
            sessions_max: self.choose(&[100_000, 1, 2, 7, 5_000]),
            sessions_bytes_max: self.choose(&[64 << 20, 0, 2_000]),
            events_max: self.choose(&[1_024, 1, 4, 9]),
            reorder_ms: self.choose(&[600_000, 0, 1_500]),
            line_bytes_max: self.choose(&[64 * 1_024, 1, 70, 300]),
            record_lines_max: self.choose(&[500, 1, 3]),
            record_bytes_max: self.choose(&[256 * 1_024, 1, 400]),
            keys_max: self.choose(&[1_000, 1, 2]),
            cache_max: self.choose(&[4_096, 1]),
            unknown_max: self.choose(&[1_000, 0, 2]),
            track_changes: self.choose(&[true, false]),
            score_gaps: self.choose(&[false, true]),
            ..Settings::default()
        }
    }

    /// Length of the windows of lines without a key; mostly there are none.
    pub(crate) fn node_window_ms(&mut self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.choose(&[0, 0, 60_000, 1]))
    }
}

const LAYOUTS: [Option<&str>; 8] = [
    None,
    None,
    None,
    Some("json"),
    Some("hdfs_v1"),
    Some("log4j"),
    Some("console"),
    Some("%d{ISO8601} %p %c: %m%n"),
];
