//! What a host holds of us that has records one by one: a filter for each mode that it calls, made at the first call. The
//! calls come down to [`Host::take_at`]; what is around it is in [`abi`](crate::abi).

use blocksift_detector::Model;

use crate::filter::{Answer, Filter, Mode};
use crate::record::Time;
use crate::settings::Settings;

/// The filters of one instance.
#[derive(Debug)]
pub struct Host {
    model: &'static [u8],
    /// One for each mode; `Err` if the model cannot be used: everything passes then.
    filters: [Option<Result<Box<Filter>, ()>>; 3],
    /// Of a record that is answered by another, with a NUL behind it.
    text: Vec<u8>,
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The record as it is.
    Unchanged,
    /// No record.
    Dropped,
    /// This record, with a NUL behind it and nowhere else.
    Text(&'a [u8]),
}

impl Host {
    /// A host with no filters, whose filters score with a model file.
    #[must_use]
    pub const fn new(model: &'static [u8]) -> Self {
        Self { model, filters: [const { None }; 3], text: Vec::new() }
    }

    /// Takes a record, of the time `seconds` and `nanoseconds` since 1970.
    pub fn take(
        &mut self,
        mode: Mode,
        tag: &[u8],
        (seconds, nanoseconds): (u32, u32),
        record: &[u8],
    ) -> Reply<'_> {
        let time_ms = i64::from(seconds) * 1_000 + i64::from(nanoseconds / 1_000_000);
        self.take_at(mode, tag, Time::Written(time_ms), record)
    }

    /// Takes a record with its time.
    pub fn take_at(&mut self, mode: Mode, tag: &[u8], time: Time, record: &[u8]) -> Reply<'_> {
        let Some(filter) = filter(self.model, &mut self.filters, mode) else { return Reply::Unchanged };
        reply(filter.take(tag, time, record), &mut self.text)
    }

    /// Notes that a record of so many bytes did not get here.
    pub fn lost(&mut self, mode: Mode, bytes: u32) -> Reply<'_> {
        let Some(filter) = filter(self.model, &mut self.filters, mode) else { return Reply::Dropped };
        reply(filter.lost(bytes), &mut self.text)
    }
}

fn filter<'a>(
    model: &[u8],
    filters: &'a mut [Option<Result<Box<Filter>, ()>>; 3],
    mode: Mode,
) -> Option<&'a mut Filter> {
    let slot = filters.get_mut(mode as usize)?;
    let made = slot.get_or_insert_with(|| {
        let model = Model::from_onnx_table(model).map_err(drop)?;
        Filter::new(mode, model, Settings::default()).map(Box::new).map_err(drop)
    });
    made.as_deref_mut().ok()
}

/// Eight bytes at a time: this is most of what an interpreter does for a record that something is added to.
fn has_nul(text: &[u8]) -> bool {
    const LOW: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, rest) = text.as_chunks::<8>();
    let some_zero = |word: u64| word.wrapping_sub(LOW) & !word & HIGH != 0;
    words.iter().any(|word| some_zero(u64::from_ne_bytes(*word))) || rest.contains(&0)
}

fn reply<'a>(answer: Answer<'_>, text: &'a mut Vec<u8>) -> Reply<'a> {
    match answer {
        Answer::Unchanged => Reply::Unchanged,
        Answer::Dropped => Reply::Dropped,
        Answer::Record(record) => {
            text.clear();
            if text.try_reserve(record.len() + 1).is_err() {
                return Reply::Unchanged;
            }
            text.extend_from_slice(record);
            // A NUL within would end the record there; JSON has none but in a broken text.
            if has_nul(record) {
                text.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
            }
            text.push(0);
            Reply::Text(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_found_wherever_it_is() {
        for len in 0..40 {
            let mut text = vec![0x80; len];
            assert!(!has_nul(&text), "{len}");
            text.iter_mut().step_by(2).for_each(|byte| *byte = 1);
            assert!(!has_nul(&text), "{len}");
            for at in 0..len {
                let mut text = text.clone();
                text[at] = 0;
                assert!(has_nul(&text), "{at} of {len}");
            }
        }
    }
}
