//! The signature within a model file: its last field, an entry of `metadata_props`, so that model and signature are one
//! file for whoever copies it, and other ONNX runtimes read past it. What is signed are the bytes before that field.
//! What a signature is worth is told by whoever has a key; here it is only found and put there.

/// Name of the entry that holds the signature, in the format of minisign.
pub const PROPERTY: &str = "blocksift.minisig";

/// `metadata_props` of a `ModelProto`: field 14, length-delimited.
const METADATA_PROPS: u8 = 14 << 3 | 2;
/// `key` of an entry: field 1, length-delimited.
const KEY: u8 = 1 << 3 | 2;
/// `value` of an entry: field 2, length-delimited.
const VALUE: u8 = 2 << 3 | 2;

/// The signed part of a model file, and its signature where there is one.
#[must_use]
pub fn split(file: &[u8]) -> (&[u8], Option<&str>) {
    let Some((content, field)) = last_field(file) else { return (file, None) };
    match signature(field) {
        Some(signature) => (content, Some(signature)),
        None => (file, None),
    }
}

/// The file that [`split`] takes apart. A signature that was there before is replaced.
#[must_use]
pub fn join(file: &[u8], signature: &str) -> Vec<u8> {
    let (content, _) = split(file);
    let mut entry = Vec::new();
    put(&mut entry, KEY, PROPERTY.as_bytes());
    put(&mut entry, VALUE, signature.as_bytes());
    let mut signed = content.to_vec();
    put(&mut signed, METADATA_PROPS, &entry);
    signed
}

/// What is in front of the last field, and that field; `None` if these are not whole fields.
fn last_field(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut rest, mut last) = (file, None);
    while !rest.is_empty() {
        last = Some(rest);
        rest = skip_field(rest)?;
    }
    let field = last?;
    let content = file.get(..file.len().checked_sub(field.len())?)?;
    Some((content, field))
}

/// What is behind a field.
fn skip_field(bytes: &[u8]) -> Option<&[u8]> {
    let (tag, rest) = varint(bytes)?;
    match tag & 7 {
        0 => Some(varint(rest)?.1),
        1 => rest.get(8..),
        2 => {
            let (length, rest) = varint(rest)?;
            rest.get(usize::try_from(length).ok()?..)
        }
        5 => rest.get(4..),
        _ => None,
    }
}

fn signature(field: &[u8]) -> Option<&str> {
    let (entry, rest) = take(field, METADATA_PROPS)?;
    let (key, value) = take(entry, KEY)?;
    let (value, end) = take(value, VALUE)?;
    let is_it = key == PROPERTY.as_bytes() && rest.is_empty() && end.is_empty();
    std::str::from_utf8(value).ok().filter(|_| is_it)
}

/// The content of the field with this tag that comes first, and what is behind it.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(bytes.strip_prefix(&[tag])?)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let mut length = content.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or_default());
    out.extend_from_slice(content);
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (place, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(u32::try_from(place).ok()? * 7)?;
        if byte < 0x80 {
            return Some((value, bytes.get(place + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHIPPED: &[u8] = include_bytes!("../../models/hadoop3.onnx");

    #[test]
    fn what_was_joined_is_split() {
        assert_eq!(split(SHIPPED), (SHIPPED, None));
        let signed = join(SHIPPED, &"ab\n".repeat(100));
        assert_eq!(split(&signed), (SHIPPED, Some("ab\n".repeat(100).as_str())));
        assert_eq!(join(&signed, "other"), join(SHIPPED, "other"), "it is replaced, not added");
    }

    #[test]
    fn only_the_very_last_field_is_a_signature() {
        let signed = join(SHIPPED, "ab");
        let mut more = signed.clone();
        put(&mut more, METADATA_PROPS, b"");
        assert_eq!(split(&more), (more.as_slice(), None));
        for end in 1..60 {
            let cut = &signed[..signed.len() - end];
            assert!(split(cut).1.is_none(), "{end} bytes are missing");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(file in proptest::collection::vec(any::<u8>(), 0..64), signature in "[a-z]{0,200}") {
            let (content, _) = split(&file);
            prop_assert!(file.starts_with(content));
            let whole = last_field(&file).is_some() || file.is_empty();
            if whole {
                let signed = join(&file, &signature);
                prop_assert_eq!(split(&signed), (content, Some(signature.as_str())));
            }
        }
    }
}
