//! Up to when everything that was written is in sessions: a record whose last lines may still come is not.

use std::collections::HashMap;

use blocksift_detector::FileId;

/// Files whose last record is not complete.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    records: HashMap<FileId, Record>,
}

/// A record that is not complete.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// Where it begins.
    offset: u64,
    /// It was not written before.
    since_ms: i64,
}

impl Unfinished {
    /// Notes that `file` was read up to `end`, of which everything below `checkpoint` is in sessions. All that was
    /// written before `before_ms` had been read already.
    pub(super) fn read(&mut self, file: FileId, checkpoint: u64, end: u64, before_ms: i64) {
        if checkpoint >= end {
            self.records.remove(&file);
            return;
        }
        let record = self.records.entry(file).or_insert(Record { offset: checkpoint, since_ms: before_ms });
        if record.offset != checkpoint {
            *record = Record { offset: checkpoint, since_ms: before_ms };
        }
    }

    /// Notes that nothing more is waited for in `file`.
    pub(super) fn close(&mut self, file: FileId) {
        self.records.remove(&file);
    }

    /// The moment before which everything that was written is in sessions, if all that a look at `look_ms` showed was
    /// read.
    pub(super) fn complete_until(&self, look_ms: i64) -> i64 {
        self.records.values().map(|record| record.since_ms).fold(look_ms, i64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_open_record_holds_the_time_back_until_it_is_complete() {
        let (a, b) = (FileId(1), FileId(2));
        let mut unfinished = Unfinished::default();
        unfinished.read(a, 100, 120, 10);
        unfinished.read(b, 0, 5, 20);
        assert_eq!(unfinished.complete_until(30), 10);
        // More lines of the same record, then the next record.
        unfinished.read(a, 100, 150, 30);
        assert_eq!(unfinished.complete_until(40), 10);
        unfinished.read(a, 150, 170, 40);
        assert_eq!(unfinished.complete_until(50), 20);
        unfinished.read(b, 5, 5, 50);
        assert_eq!(unfinished.complete_until(60), 40);
        unfinished.close(a);
        assert_eq!(unfinished.complete_until(60), 60);
    }
}
