//! Fields of a Protocol Buffers message as they stand there, and how one is written.

use super::Refused;

/// Kinds of fields on the wire.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const MESSAGE: u64 = 2;
const FIXED_32: u64 = 5;

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    /// From its key on.
    pub(super) whole: &'a [u8],
    /// What is in it, if it has a length: a message, a text or bytes.
    pub(super) message: Option<&'a [u8]>,
}

/// The fields of a message, in their order; nothing more behind an error.
pub(super) fn fields(mut rest: &[u8]) -> impl Iterator<Item = Result<Field<'_>, Refused>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = field(rest);
        rest = field.as_ref().ok().and_then(|field| rest.get(field.whole.len()..)).unwrap_or_default();
        Some(field)
    })
}

fn field(bytes: &[u8]) -> Result<Field<'_>, Refused> {
    let mut rest = bytes;
    let key = varint(&mut rest)?;
    let number = u32::try_from(key >> 3).map_err(|_| Refused::Malformed)?;
    let mut message = None;
    match key & 7 {
        VARINT => {
            varint(&mut rest)?;
        }
        FIXED_64 => {
            take(&mut rest, 8)?;
        }
        MESSAGE => {
            let len = varint(&mut rest)?;
            message = Some(take(&mut rest, len)?);
        }
        FIXED_32 => {
            take(&mut rest, 4)?;
        }
        _ => return Err(Refused::Malformed),
    }
    let whole = bytes.get(..bytes.len() - rest.len()).unwrap_or(bytes);
    Ok(Field { number, whole, message })
}

fn varint(rest: &mut &[u8]) -> Result<u64, Refused> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first().ok_or(Refused::Malformed)?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Refused::Malformed)
}

fn take<'a>(rest: &mut &'a [u8], len: u64) -> Result<&'a [u8], Refused> {
    let (taken, behind) = rest
        .split_at_checked(usize::try_from(len).map_err(|_| Refused::Malformed)?)
        .ok_or(Refused::Malformed)?;
    *rest = behind;
    Ok(taken)
}

/// Writes a message as a field of another.
pub(super) fn append_message(number: u32, message: &[u8], out: &mut Vec<u8>) {
    append_varint(u64::from(number) << 3 | MESSAGE, out);
    append_varint(message.len() as u64, out);
    out.extend_from_slice(message);
}

/// Likewise a message that is written then and there, or none of it where `write` says `false`.
pub(super) fn append_written(
    number: u32,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<bool, Refused>,
) -> Result<bool, Refused> {
    let start = out.len();
    append_varint(u64::from(number) << 3 | MESSAGE, out);
    let begin = out.len();
    let is_written = write(out)?;
    if is_written {
        let mut len = Vec::new();
        append_varint((out.len() - begin) as u64, &mut len);
        out.splice(begin..begin, len).for_each(drop);
    } else {
        out.truncate(start);
    }
    Ok(is_written)
}

fn append_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(low_bits(value) | 0x80);
        value >>= 7;
    }
    out.push(low_bits(value));
}

fn low_bits(value: u64) -> u8 {
    u8::try_from(value & 0x7f).unwrap_or(0)
}
