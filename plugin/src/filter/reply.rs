//! Our member, alone in a record or added to one.

use crate::record::OWN;

/// Writes `{"blocksift":{"<name>":<json>}}`; a list of one where it is one of several as a rule.
pub(super) fn own(name: &str, json: &[u8], is_list: bool, out: &mut Vec<u8>) {
    let (name, open, close) =
        if is_list { (format!("{name}s"), "[", "]") } else { (name.to_owned(), "", "") };
    out.extend_from_slice(format!("{{\"{OWN}\":{{\"{name}\":{open}").as_bytes());
    out.extend_from_slice(json);
    out.extend_from_slice(close.as_bytes());
    out.extend_from_slice(b"}}");
}

/// Writes the record with our member, which holds `added`, behind its other ones.
pub(super) fn append_own(record: &[u8], members: usize, added: &[u8], out: &mut Vec<u8>) {
    let record = record.trim_ascii_end();
    let open = record.strip_suffix(b"}").unwrap_or(record);
    out.extend_from_slice(open);
    out.extend_from_slice(if members > 0 { b",\"" } else { b"\"" });
    out.extend_from_slice(OWN.as_bytes());
    out.extend_from_slice(b"\":{");
    out.extend_from_slice(added);
    out.extend_from_slice(b"}}");
}
