//! The detector with the embedded model, scored by its table, as a test drives it: natively through this type, and in
//! the module through `abi.rs`. Bytes in, all reports out as one JSON document, so that two answers can be compared as
//! bytes: every number is written in the shortest form that reads back as the same bits.

use blocksift_detector::{Detector, FileId, Model, ModelError, Report, Settings, Summary};
use serde::Serialize;

/// The model that the module carries.
pub const MODEL: &[u8] = include_bytes!("../../models/hdfs-v1.onnx");
/// Room for bytes of one push, at most.
const ROOM_MAX: u32 = 1 << 24;

/// A detector, the bytes that come next, and the answer.
#[derive(Debug)]
pub struct Check {
    detector: Detector,
    room: Vec<u8>,
    reports: Vec<Report>,
    answer: Vec<u8>,
}

/// The reports, with what their own JSON leaves out, and the ledger.
#[derive(Serialize)]
struct Answer<'a> {
    reports: &'a [Report],
    /// For each report, file and length of each event.
    places: Vec<Vec<(u32, u32)>>,
    summary: Summary,
}

impl Check {
    /// A detector with default settings.
    ///
    /// # Errors
    /// If the embedded model is damaged.
    pub fn new() -> Result<Self, ModelError> {
        Ok(Self::with_model(Model::from_onnx_table(MODEL)?))
    }

    /// As [`new`](Self::new) with a model that the caller has loaded.
    #[must_use]
    pub fn with_model(model: Model) -> Self {
        let detector = Detector::new(model, Settings::default());
        Self { detector, room: Vec::new(), reports: Vec::new(), answer: Vec::new() }
    }

    /// Room for `len` bytes of the next push; empty beyond 16 MiB.
    pub fn room(&mut self, len: u32) -> &mut [u8] {
        self.room.clear();
        if let (true, Ok(len)) = (len <= ROOM_MAX, usize::try_from(len)) {
            self.room.resize(len, 0);
        }
        &mut self.room
    }

    /// Takes what was written into the room as the bytes of `file` at `offset`.
    pub fn push(&mut self, file: u32, offset: u64) {
        self.reports.extend(self.detector.push(FileId(file), offset, &self.room));
    }

    /// Tells the time.
    pub fn tick(&mut self, now_ms: i64) {
        self.reports.extend(self.detector.tick(now_ms));
    }

    /// Ends a file.
    pub fn end_of_file(&mut self, file: u32) {
        self.detector.end_of_file(FileId(file));
    }

    /// Scores what is left and writes the answer; returns its length.
    ///
    /// # Errors
    /// If a report cannot be written as JSON.
    pub fn finish(&mut self) -> Result<usize, serde_json::Error> {
        self.reports.extend(self.detector.finish());
        let places =
            |report: &Report| report.events.iter().map(|event| (event.file_id.0, event.bytes)).collect();
        let answer = Answer {
            reports: &self.reports,
            places: self.reports.iter().map(places).collect(),
            summary: self.detector.summary(),
        };
        self.answer = serde_json::to_vec(&answer)?;
        Ok(self.answer.len())
    }

    /// What [`finish`](Self::finish) wrote.
    #[must_use]
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_reports_and_ledger() {
        let mut check = Check::new().unwrap();
        let line = b"081109 203518 143 WARN dfs.X: strange thing about blk_7\n";
        check.room(u32::try_from(line.len()).unwrap()).copy_from_slice(line);
        check.push(3, 0);
        check.tick(0);
        check.end_of_file(3);
        assert_eq!(check.finish().unwrap(), check.answer().len());
        let answer: serde_json::Value = serde_json::from_slice(check.answer()).unwrap();
        assert_eq!(answer["reports"][0]["block"], "blk_7");
        assert_eq!(answer["places"][0][0][0], 3);
        assert_eq!(answer["summary"]["lines_read"], 1);
        assert!(check.room(ROOM_MAX + 1).is_empty());
    }
}
