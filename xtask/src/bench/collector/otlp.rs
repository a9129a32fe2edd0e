//! Requests as agents send them, written by hand: a protobuf message is a few varints, and xtask stays small.

/// Events of a report; a flagged session of a block has about as many on one node.
const EVENTS: u64 = 12;

/// An export request of `count` reports, numbered from `first` on.
pub(super) fn request(first: u64, count: u64) -> Vec<u8> {
    let records: Vec<u8> = (first..first + count).flat_map(|number| field(2, &record(number))).collect();
    let resource = field(
        1,
        &[attribute("host.name", &text("dn1")), attribute("service.name", &text("blocksift-agent"))].concat(),
    );
    field(1, &[field(1, &resource), field(2, &records)].concat())
}

fn record(number: u64) -> Vec<u8> {
    let node = format!("dn{}", number % 200);
    // Ids are hashes: they come in no order.
    let id = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    // Two nodes in three report on a block that another one reports on, too.
    let block = format!("blk_{}", 1_073_741_825 + number / 3);
    let second = 1_700_000_000 + number / 20;
    let time = rfc3339(second);
    let attributes = [
        ("blocksift.id", text(&id)),
        ("blocksift.revision", int(EVENTS)),
        ("blocksift.node", text(&node)),
        ("blocksift.block", text(&block)),
        ("blocksift.pool", text("BP-1052190219-10.0.0.1-1700000000000")),
        ("blocksift.flagged", field_varint(2, 1)),
        ("blocksift.score", double(0.5 + (number % 499) as f64 / 1_000.0)),
        ("blocksift.threshold", double(0.5)),
        ("blocksift.model", text("hdfs-v1-0123456789ab")),
        ("blocksift.reasons", list(&[text("score")])),
        ("blocksift.start", text(&time)),
        ("blocksift.end", text(&time)),
        ("blocksift.events_dropped", int(0)),
    ];
    let attributes: Vec<u8> =
        attributes.iter().flat_map(|(name, value)| field(6, &key_value(name, value))).collect();
    let events: Vec<Vec<u8>> = (0..EVENTS).map(|at| event(number, at, &node, &block, &time)).collect();
    [field(5, &list(&events)), attributes, field(12, b"blocksift.session")].concat()
}

fn event(number: u64, at: u64, node: &str, block: &str, time: &str) -> Vec<u8> {
    let (one, other) = (number % 200, (number * 7 + 3) % 200);
    let (level, exception, line) = if at == EVENTS - 1 {
        let line = format!(
            "{time} WARN org.apache.hadoop.hdfs.server.datanode.DataNode: {node}:9866:Got exception while serving \
             BP-1052190219-10.0.0.1-1700000000000:{block}_{number} to /10.0.1.{other}:{}",
            40_000 + number % 20_000
        );
        ("WARN", "java.io.IOException", line)
    } else {
        let line = format!(
            "{time} INFO org.apache.hadoop.hdfs.server.datanode.DataNode: Receiving BP-1052190219-10.0.0.1-1700000000000:\
             {block}_{number} src: /10.0.0.{one}:{} dest: /10.0.0.{other}:9866",
            40_000 + (number + at) % 20_000
        );
        ("INFO", "", line)
    };
    let fields = [
        ("time", text(time)),
        ("template", text(&format!("{:016x}", 0xdead_beef + at))),
        ("text", text("Receiving <blk> src: <addr> dest: <addr>")),
        ("level", text(level)),
        ("logger", text("org.apache.hadoop.hdfs.server.datanode.DataNode")),
        ("exception", text(exception)),
        ("frame", text("")),
        ("contribution", double(if at == EVENTS - 1 { 0.4 } else { 0.001 })),
        ("file", text("/var/log/hadoop-hdfs/hadoop-hdfs-datanode.log")),
        ("offset", int(number * 1_000 + at * 200)),
        ("line", text(&line)),
    ];
    let pairs: Vec<u8> = fields.iter().flat_map(|(name, value)| field(1, &key_value(name, value))).collect();
    field(6, &pairs)
}

/// RFC 3339 of a second, without a library: days since 1970 by civil calendar (H. Hinnant's algorithm).
fn rfc3339(second: u64) -> String {
    let (days, rest) = (second / 86_400 + 719_468, second % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

fn attribute(name: &str, value: &[u8]) -> Vec<u8> {
    field(1, &key_value(name, value))
}

/// A `KeyValue` whose value is an `AnyValue`.
fn key_value(name: &str, value: &[u8]) -> Vec<u8> {
    [field(1, name.as_bytes()), field(2, value)].concat()
}

fn text(text: &str) -> Vec<u8> {
    field(1, text.as_bytes())
}

fn int(number: u64) -> Vec<u8> {
    field_varint(3, number)
}

fn double(number: f64) -> Vec<u8> {
    let mut bytes = varint(4 << 3 | 1);
    bytes.extend(number.to_le_bytes());
    bytes
}

fn list(values: &[Vec<u8>]) -> Vec<u8> {
    field(5, &values.iter().flat_map(|value| field(1, value)).collect::<Vec<_>>())
}

/// A length-delimited field.
fn field(tag: u64, bytes: &[u8]) -> Vec<u8> {
    let mut whole = varint(tag << 3 | 2);
    whole.extend(varint(bytes.len() as u64));
    whole.extend(bytes);
    whole
}

fn field_varint(tag: u64, number: u64) -> Vec<u8> {
    [varint(tag << 3), varint(number)].concat()
}

fn varint(number: u64) -> Vec<u8> {
    let groups = (64 - number.leading_zeros()).div_ceil(7).max(1);
    let group = |at: u32| (number >> (7 * at) & 0x7f).to_le_bytes()[0];
    (0..groups).map(|at| if at + 1 < groups { group(at) | 0x80 } else { group(at) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_of_the_calendar() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(1_709_210_096), "2024-02-29T12:34:56Z");
    }

    #[test]
    fn numbers_are_varints() {
        assert_eq!((varint(0), varint(300)), (vec![0], vec![0xac, 0x02]));
        assert_eq!(varint(u64::MAX).len(), 10);
        assert_eq!(field(1, b"ab"), [0x0a, 2, b'a', b'b']);
    }
}
