//! Requests as agents send them, written by hand: a protobuf message is a few varints, and xtask stays small.

/// Events of a report; a flagged session of a block has about as many on one node.
const EVENTS: u64 = 12;

/// Events of a report that only fills the database.
const EVENTS_FEW: u64 = 1;
/// Totals of a summary, and templates that it counts.
const TOTALS: u64 = 30;
const TEMPLATES: u64 = 60;

/// An export request of a node's `count` reports, numbered from `first` on.
pub(crate) fn request(node: &str, first: u64, count: u64) -> Vec<u8> {
    export(node, (first..first + count).map(|number| record(number, EVENTS)))
}

/// As [`request`], of reports that take little room.
pub(super) fn small_request(node: &str, first: u64, count: u64) -> Vec<u8> {
    export(node, (first..first + count).map(|number| record(number, EVENTS_FEW)))
}

/// A node's summary after so many minutes: totals, scores, events by template.
pub(super) fn summary(node: &str, minutes: u64) -> Vec<u8> {
    let start = 1_700_000_000_000_000_000_u64;
    let now = start + (minutes + 1) * 60_000_000_000;
    let times = [fixed64(2, start), fixed64(3, now)].concat();
    let count = |number: u64| [times.clone(), fixed64(6, number)].concat();
    let sum = |points: &[u8]| [points, &field_varint(2, 2), &field_varint(3, 1)].concat();
    let metric = |name: &str, tag: u64, data: &[u8]| [field(1, name.as_bytes()), field(tag, data)].concat();
    let mut metrics = vec![metric("blocksift.sessions_scored", 7, &sum(&field(1, &count(minutes * 500))))];
    for number in 0..TOTALS {
        metrics.push(metric(
            &format!("blocksift.total_{number}"),
            7,
            &sum(&field(1, &count(minutes * 1_000 + number))),
        ));
    }
    let bounds: Vec<u8> = (1..10_u64).flat_map(|bound| (bound as f64 / 10.0).to_le_bytes()).collect();
    let counts: Vec<u8> = (0..10).flat_map(|_| (minutes * 50).to_le_bytes()).collect();
    let histogram = [times.clone(), fixed64(4, minutes * 500), field(6, &counts), field(7, &bounds)].concat();
    metrics.push(metric("blocksift.scores", 9, &[field(1, &histogram), field_varint(2, 2)].concat()));
    let points: Vec<u8> = (0..TEMPLATES)
        .flat_map(|number| {
            let names = [
                field(7, &key_value("template", &text(&format!("{:016x}", 0xdead_beef + number)))),
                field(7, &key_value("text", &text("Receiving <blk> src: <addr> dest: <addr>"))),
            ];
            field(1, &[names.concat(), count(minutes * 100 + number)].concat())
        })
        .collect();
    metrics.push(metric("blocksift.template_events", 7, &sum(&points)));
    export(node, metrics.into_iter())
}

/// A request of one resource and its records or metrics, which lie alike.
fn export(node: &str, items: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let items: Vec<u8> = items.flat_map(|item| field(2, &item)).collect();
    let resource =
        [attribute("host.name", &text(node)), attribute("service.name", &text("blocksift-agent"))].concat();
    field(1, &[field(1, &field(1, &resource)), field(2, &items)].concat())
}

fn record(number: u64, events: u64) -> Vec<u8> {
    let node = format!("dn{}", number % 200);
    // Ids are hashes: they come in no order.
    let id = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    // Two nodes in three report on a block that another one reports on, too.
    let block = format!("blk_{}", 1_073_741_825 + number / 3);
    let second = 1_700_000_000 + number / 20;
    let time = rfc3339(second);
    let attributes = [
        ("blocksift.id", text(&id)),
        ("blocksift.revision", int(events)),
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
    let events: Vec<Vec<u8>> =
        (0..events).map(|at| event(number, at + 1 == events, at, &node, &block, &time)).collect();
    [field(5, &list(&events)), attributes, field(12, b"blocksift.session")].concat()
}

fn event(number: u64, last: bool, at: u64, node: &str, block: &str, time: &str) -> Vec<u8> {
    let (one, other) = (number % 200, (number * 7 + 3) % 200);
    let (level, exception, line) = if last {
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
        ("contribution", double(if last { 0.4 } else { 0.001 })),
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

fn fixed64(tag: u64, number: u64) -> Vec<u8> {
    let mut bytes = varint(tag << 3 | 1);
    bytes.extend(number.to_le_bytes());
    bytes
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
