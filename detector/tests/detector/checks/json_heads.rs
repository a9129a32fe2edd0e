//! JSON lines: any bytes can be read, and what a JSON writer wrote is read as it was meant.

use blocksift_detector::Detector;
use blocksift_detector::head::{Heads, Layout, Parsed};
use blocksift_detector::time::Zone;
use jiff::tz::TimeZone;
use serde_json::json;

use super::input::Input;
use super::model::{Reported, model};
use super::run::{A, lines_of};

/// Bytes of a line that are looked at.
const LINE_BYTES_MAX: usize = 64 * 1_024;

/// Any bytes as JSON lines, and any text as the message of such a line, bare and in Docker's wrapper.
pub(crate) fn json_heads(data: &[u8]) {
    any_bytes(data);
    let text = String::from_utf8_lossy(data);
    let (logger, message) = text.split_at(text.floor_char_boundary(text.len() / 4));
    a_written_line_is_read(logger, message);
    a_wrapped_line_is_read(message);
}

fn any_bytes(data: &[u8]) {
    let mut zone = Zone::new(TimeZone::UTC);
    for layout in [Some(Layout::Json), None] {
        let mut heads = Heads::new(layout.clone(), LINE_BYTES_MAX);
        for line in data.split(|&byte| byte == b'\n') {
            if let Parsed::Head(head) = heads.parse(line, &mut zone) {
                assert_eq!(head.message, head.message.trim_ascii_end());
            }
        }
        let mut input = Input::new(data);
        let settings = blocksift_detector::Settings { layout, ..input.settings() };
        let mut detector = Detector::new(model(Reported::All, None), settings);
        detector.push(A, 0, data);
        let ledger = detector.end_of_file(A);
        assert!(ledger.adds_up());
        assert_eq!(ledger.lines_read, lines_of(data));
        detector.finish().for_each(drop);
    }
}

fn a_written_line_is_read(logger: &str, message: &str) {
    let line = json!({
        "timeMillis": 1_700_000_000_123_i64,
        "level": "WARN",
        "loggerName": logger,
        "message": message,
        "thread": { "not": ["a", "text", logger] },
        "further": [message, null, 1.5e3, true],
    });
    let (line, mut zone) = (line.to_string(), Zone::new(TimeZone::UTC));
    let mut heads = Heads::new(None, LINE_BYTES_MAX);
    let Parsed::Head(head) = heads.parse(line.as_bytes(), &mut zone) else {
        panic!("no head: {line}");
    };
    assert_eq!(head.time_ms, 1_700_000_000_123);
    assert_eq!(head.logger, logger.as_bytes());
    assert_eq!(head.message, message.as_bytes().trim_ascii_end());
}

fn a_wrapped_line_is_read(message: &str) {
    let message: String = message.chars().filter(|char| !char.is_control()).collect();
    let line = format!("2024-05-06 07:08:09,123 INFO a.B: {message}");
    let wrapped = json!({ "log": format!("{line}\n"), "stream": "stdout", "time": "2024-05-06T07:08:10.5Z" });
    let (wrapped, mut zone) = (wrapped.to_string(), Zone::new(TimeZone::UTC));
    let (mut bare, mut docker) = (Heads::new(None, LINE_BYTES_MAX), Heads::new(None, LINE_BYTES_MAX));
    let expected = bare.parse(line.as_bytes(), &mut zone);
    assert!(matches!(expected, Parsed::Head(_)), "no head: {line}");
    assert_eq!(docker.parse(wrapped.as_bytes(), &mut zone), expected);
}
