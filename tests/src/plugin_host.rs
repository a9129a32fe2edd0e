//! What the programs read and say that call the plugin's module for many records: `tests/wamr`, which is no part of the
//! workspace and has this by itself, and `benches/plugin`.

use std::io::{self, ErrorKind, Read};

use serde::{Deserialize, Serialize};

/// A record, as a host has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Seconds and nanoseconds since 1970.
    pub time: (u32, u32),
    /// Where it came from.
    pub tag: Vec<u8>,
    /// Its JSON.
    pub bytes: Vec<u8>,
}

/// What such a program measured, in CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Until the module could be called.
    pub load_us: u64,
    /// The first call, which reads the model.
    pub first_call_us: u64,
    /// Mean of the further calls.
    pub mean_ns: u64,
    /// The longest of them; by wall clock where that takes less to ask for.
    pub slowest_us: u64,
    /// Memory of the module in the end.
    pub memory_bytes: u64,
}

impl Record {
    /// Appends it as the programs read it: seconds, nanoseconds, length of the tag, tag, length of the record, record; all
    /// numbers `u32`, little endian.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        for number in [self.time.0, self.time.1, length(&self.tag)] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.tag);
        out.extend_from_slice(&length(&self.bytes).to_le_bytes());
        out.extend_from_slice(&self.bytes);
    }

    /// Reads the next one; `None` at the end.
    pub fn read(input: &mut impl Read) -> io::Result<Option<Self>> {
        let seconds = match number(input) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            outcome => outcome?,
        };
        let time = (seconds, number(input)?);
        let tag = bytes(input)?;
        Ok(Some(Self { time, tag, bytes: bytes(input)? }))
    }
}

fn number(input: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn bytes(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let length = number(input)?;
    let mut bytes = Vec::new();
    let read = input.take(length.into()).read_to_end(&mut bytes)?;
    if u32::try_from(read) == Ok(length) { Ok(bytes) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let record = |bytes: &[u8]| Record { time: (7, 8), tag: b"a.b".to_vec(), bytes: bytes.to_vec() };
        let records = [record(b"{\"log\":\"x\"}"), record(b"")];
        let mut written = Vec::new();
        records.iter().for_each(|record| record.append_to(&mut written));
        let mut input = written.as_slice();
        let read: Vec<Record> = std::iter::from_fn(|| Record::read(&mut input).unwrap()).collect();
        assert_eq!(read, records);
        let cut = written.len() - 5;
        assert!(Record::read(&mut &written[..cut]).unwrap().is_some());
        assert!(Record::read(&mut &written[..9]).is_err());
    }
}
