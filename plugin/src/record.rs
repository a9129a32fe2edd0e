//! A record as a host gives it: one JSON object. What it says of a log line, of the node and of the stream is found in
//! one pass, as it stands there; nothing is unescaped and nothing copied that is not needed.

use blocksift_detector::json::{Members, Quoted, Value};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::fields::{Names, PARTS, Part};

/// Member that is ours: control records have it alone, and what we add to a record is in it.
pub(crate) const OWN: &str = "blocksift";
/// Escaped bytes of a line that are looked at; the detector keeps fewer.
pub(crate) const TEXT_BYTES_MAX: usize = 256 * 1_024;

/// What a record says.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    parts: [Option<(u8, Value<'a>)>; PARTS],
    /// Value of our own member.
    pub(crate) own: Option<Value<'a>>,
    pub(crate) members: usize,
    /// Tells records of different streams apart, given their tag.
    pub(crate) stream: u64,
}

/// Whose time a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// The host says when it was written, in ms since 1970.
    Written(i64),
    /// All that is known is when it came; a time in the record itself is better.
    Came(i64),
}

impl Time {
    /// Ms since 1970.
    #[must_use]
    pub fn ms(self) -> i64 {
        let (Self::Written(ms) | Self::Came(ms)) = self;
        ms
    }
}

impl<'a> Record<'a> {
    /// Reads a record; `None` if it is no JSON object, or a broken one.
    pub(crate) fn read(names: &Names, record: &'a [u8]) -> Option<Self> {
        let mut read = Self { parts: [None; PARTS], own: None, members: 0, stream: 0 };
        let mut members = Members::of(record.trim_ascii());
        for (key, value) in &mut members {
            read.members += 1;
            if key == OWN.as_bytes() {
                read.own = Some(value);
            } else {
                read.take(names, key, value);
            }
        }
        members.closed().then_some(read)
    }

    fn take(&mut self, names: &Names, key: &[u8], value: Value<'a>) {
        for name in names.of(key) {
            match (&name.inner, value) {
                (None, value) => self.keep(name.part, name.rank, value),
                (Some(inner), Value::Object(object)) => {
                    for (_, value) in Members::of(object).filter(|(key, _)| **inner == **key) {
                        self.keep(name.part, name.rank, value);
                    }
                }
                (Some(_), _) => {}
            }
        }
    }

    /// The best name counts, of members with the same name the last.
    fn keep(&mut self, part: Part, rank: u8, value: Value<'a>) {
        if part == Part::Stream {
            if let Value::Text(text) = value {
                self.stream = xxh3_64_with_seed(text.raw, self.stream.wrapping_add(rank.into()));
            }
            return;
        }
        if let Some(slot) = self.parts.get_mut(part as usize)
            && value != Value::Word(b"null")
            && slot.is_none_or(|(its, _)| rank <= its)
        {
            *slot = Some((rank, value));
        }
    }

    fn part(&self, part: Part) -> Option<Value<'a>> {
        self.parts.get(part as usize).copied().flatten().map(|(_, value)| value)
    }

    fn text(&self, part: Part) -> Option<Quoted<'a>> {
        match self.part(part) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Name of the node; `None` where it says none that is one.
    pub(crate) fn node(&self) -> Option<&'a str> {
        let text = self.text(Part::Node).filter(|text| !text.escaped && text.raw.len() <= 255)?;
        std::str::from_utf8(text.raw)
            .ok()
            .filter(|name| !name.is_empty() && !name.chars().any(char::is_control))
    }

    /// Writes the line or lines of the log that the record stands for, without the last line end; `false` if it stands
    /// for none. One that was taken apart becomes a JSON line.
    pub(crate) fn append_line(&self, time: Time, line: &mut Vec<u8>) -> bool {
        let text = match (self.text(Part::Line), self.text(Part::Message), self.part(Part::Level)) {
            (Some(text), _, _) | (None, Some(text), None) => text,
            (None, Some(message), Some(level)) => {
                self.append_parsed(message, level, time, line);
                return true;
            }
            (None, None, _) => return false,
        };
        let raw = text.raw.get(..TEXT_BYTES_MAX).unwrap_or(text.raw);
        Quoted { raw, ..text }.append_to(line);
        while line.last().is_some_and(|&byte| byte == b'\n' || byte == b'\r') {
            line.pop();
        }
        true
    }

    fn append_parsed(&self, message: Quoted<'a>, level: Value<'a>, time: Time, line: &mut Vec<u8>) {
        let own = self.part(Part::Time).filter(|_| matches!(time, Time::Came(_)));
        let told = time.ms().to_string();
        line.extend_from_slice(b"{\"time\":");
        append(own.unwrap_or(Value::Word(told.as_bytes())), line);
        let parts = [
            ("level", Some(level)),
            ("loggerName", self.part(Part::Logger)),
            ("thread", self.part(Part::Thread)),
            ("message", Some(Value::Text(message))),
            ("thrown", self.part(Part::Trace)),
        ];
        for (name, value) in parts {
            let Some(value) = value else { continue };
            line.extend_from_slice(b",\"");
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(b"\":");
            append(value, line);
        }
        line.push(b'}');
    }
}

/// Appends a value as it stands in the record.
fn append(value: Value<'_>, line: &mut Vec<u8>) {
    match value {
        Value::Text(text) => {
            line.push(b'"');
            line.extend_from_slice(text.raw.get(..TEXT_BYTES_MAX).unwrap_or(text.raw));
            line.push(b'"');
        }
        Value::Word(raw) | Value::Object(raw) | Value::Array(raw) => {
            line.extend_from_slice(raw.get(..TEXT_BYTES_MAX).unwrap_or(raw));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Fields;

    fn line(record: &str) -> Option<String> {
        let names = Names::new(&Fields::default());
        let read = Record::read(&names, record.as_bytes())?;
        let mut line = Vec::new();
        read.append_line(Time::Written(7), &mut line).then(|| String::from_utf8(line).unwrap())
    }

    #[test]
    fn lines_are_taken_from_any_form() {
        assert_eq!(line(r#"{"log":"a\tb\n"}"#).unwrap(), "a\tb");
        assert_eq!(line(r#"{"message":"2024-05-06 INFO x","n":1}"#).unwrap(), "2024-05-06 INFO x");
        let parsed = line(r#"{"level":"WARN","logger":"a.B","message":"m \"q\"","x":[{"log":"no"}]}"#);
        assert_eq!(parsed.unwrap(), r#"{"time":7,"level":"WARN","loggerName":"a.B","message":"m \"q\""}"#);
        let kubernetes = r#"{"log":"l\r\n","kubernetes":{"host":"dn7","labels":{"a":"}"}}}"#;
        assert_eq!(line(kubernetes).unwrap(), "l");
        let names = Names::new(&Fields::default());
        assert_eq!(Record::read(&names, kubernetes.as_bytes()).unwrap().node(), Some("dn7"));
    }

    #[test]
    fn what_is_no_object_is_not_read() {
        for record in
            ["", "[]", "\"log\"", "{", r#"{"log":"a"#, r#"{"log":"a"}}"#, r#"{"log":"a",}"#, "{\"log\"}"]
        {
            assert_eq!(line(record), None, "{record}");
        }
        assert_eq!(line(r#"{"log":5,"other":"text"}"#), None);
    }

    #[test]
    fn the_last_of_several_members_counts() {
        assert_eq!(line(r#"{"log":"a","log":"b"}"#).unwrap(), "b");
        assert_eq!(line(r#"{"log":"a","log":null}"#).unwrap(), "a");
    }
}
