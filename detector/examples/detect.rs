//! Prints the abnormal blocks of a log: `detect MODEL.onnx [LOG]`, the log from standard input where none is named.
//!
//! The whole use of the library: load a model, push bytes, take reports, look at the ledger. A program that follows a
//! growing file would also call `tick` with the time, and keep `snapshot` over restarts.

use std::error::Error;
use std::io::{self, Read, Write};

use blocksift_detector::{Detector, FileId, Model, Report, Settings};

/// The one file of this program.
const LOG: FileId = FileId(0);
/// Bytes that are read at once; they may end anywhere, also within a line.
const CHUNK_BYTES: usize = 1 << 20;

#[expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this is the caller, who reads the files"
)]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let model = arguments.next().ok_or("give the path of a model, and of a log")?;
    let model = Model::from_onnx(&std::fs::read(model)?)?;
    let log: Box<dyn Read> = match arguments.next() {
        Some(path) => Box::new(std::fs::File::open(path)?),
        None => Box::new(io::stdin()),
    };
    detect(model, log, io::stdout().lock())
}

fn detect(model: Model, mut log: impl Read, mut out: impl Write) -> Result<(), Box<dyn Error>> {
    let mut detector = Detector::new(model, Settings::default());
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    loop {
        let read = log.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        // A session is reported here only if it had to make room for others.
        for report in detector.push(LOG, offset, bytes) {
            print(&report, &mut out)?;
        }
        offset += bytes.len() as u64;
    }
    let ledger = detector.end_of_file(LOG);
    for report in detector.finish() {
        print(&report, &mut out)?;
    }
    writeln!(out, "{} lines, {} of them in sessions", ledger.lines_read, ledger.lines_in_sessions)?;
    Ok(())
}

fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{} score {:.3}, because of {}", report.block, report.score, report.reasons.join(", "))?;
    for event in &report.events {
        writeln!(out, "  {} {:5} {:+.3} {}", event.time, event.level, event.contribution, event.text)?;
    }
    Ok(())
}
