//! Events as lines of a log, counted.

use std::io::{self, Write};

use super::dialect::Dialect;
use super::event::Event;

/// Writes events as lines and counts them.
#[derive(Clone, Debug, Default)]
pub struct LineWriter {
    /// Lines written, continuation lines included.
    pub lines: u64,
    /// Those of them whose record names a block.
    pub lines_in_sessions: u64,
    /// Bytes written.
    pub bytes: u64,
    dialect: Dialect,
    /// Text of a second, kept because many lines share it.
    second: i64,
    time: String,
    record: Vec<u8>,
}

impl LineWriter {
    /// Writes lines as `dialect` has them.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, ..Self::default() }
    }

    /// Writes the lines of `event`, times in UTC.
    pub fn write(&mut self, event: &Event, out: &mut impl Write) -> io::Result<()> {
        let second = event.at_ms.div_euclid(1_000);
        if self.time.is_empty() || second != self.second {
            self.time = self.dialect.second(second)?;
            self.second = second;
        }
        self.record.clear();
        self.dialect.record(event, &self.time, &mut self.record)?;
        out.write_all(&self.record)?;
        let newlines = self.record.iter().filter(|&&byte| byte == b'\n').count();
        let lines = u64::try_from(newlines).unwrap_or(u64::MAX);
        self.lines += lines;
        self.bytes += u64::try_from(self.record.len()).unwrap_or(u64::MAX);
        if event.kind.key().is_some() {
            self.lines_in_sessions += lines;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Cluster, Kind, NodeId};

    fn event(kind: Kind, block: i64) -> Event {
        Event {
            at_ms: 1_226_262_935_007,
            node: NodeId(1),
            peer: NodeId(2),
            thread: 147,
            number: 2,
            kind,
            block,
        }
    }

    fn text(dialect: Dialect, events: &[Event]) -> String {
        let (mut writer, mut text) = (LineWriter::new(dialect), Vec::new());
        for event in events {
            writer.write(event, &mut text).unwrap();
        }
        assert_eq!(writer.lines, text.iter().filter(|&&byte| byte == b'\n').count() as u64);
        assert_eq!(writer.bytes, text.len() as u64);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_have_the_form_of_hdfs_v1() {
        let stored = Event { node: Cluster::NAME_NODE, ..event(Kind::Stored, -42) };
        assert_eq!(
            text(Dialect::HdfsV1, &[event(Kind::ResponderEnds, -42), stored]),
            "081109 203535 147 INFO dfs.DataNode$PacketResponder: PacketResponder 2 for block blk_-42 terminating\n\
             081109 203535 147 INFO dfs.FSNamesystem: BLOCK* NameSystem.addStoredBlock: blockMap updated: \
             10.40.0.12:50010 is added to blk_-42 size 67108864\n"
        );
    }

    #[test]
    fn lines_have_the_form_of_hadoop_3() {
        let ends = Event { number: 0, ..event(Kind::ResponderEnds, Dialect::FIRST_BLOCK + 1) };
        assert_eq!(
            text(Dialect::Hadoop3, &[event(Kind::Receiving, Dialect::FIRST_BLOCK), ends]),
            "2008-11-09 20:35:35,007 INFO org.apache.hadoop.hdfs.server.datanode.DataNode: Receiving \
             BP-1182980097-10.40.0.10-1769000000000:blk_1073741825_1001 src: /10.40.0.12:2 dest: /10.40.0.11:9866\n\
             2008-11-09 20:35:35,007 INFO org.apache.hadoop.hdfs.server.datanode.DataNode: PacketResponder: \
             BP-1182980097-10.40.0.10-1769000000000:blk_1073741826_1002, type=LAST_IN_PIPELINE terminating\n"
        );
    }

    #[test]
    fn continuation_lines_are_counted_with_their_record() {
        for (dialect, lines) in [(Dialect::HdfsV1, 5 + 1), (Dialect::Hadoop3, 6 + 1)] {
            let mut writer = LineWriter::new(dialect);
            for kind in [Kind::ServingFailedTrace, Kind::LostContact, Kind::Served] {
                writer.write(&event(kind, Dialect::FIRST_BLOCK), &mut io::sink()).unwrap();
            }
            assert_eq!(writer.lines_in_sessions, lines, "{dialect:?}");
        }
    }

    #[test]
    fn a_block_is_named_by_the_records_that_have_a_key() {
        for dialect in Dialect::ALL {
            for kind in Kind::ALL.into_iter().filter(|&kind| dialect.logs(kind)) {
                let node = if matches!(kind.key(), Some(22..=29)) { Cluster::NAME_NODE } else { NodeId(1) };
                let text = text(dialect, &[Event { node, ..event(kind, Dialect::FIRST_BLOCK) }]);
                let named = text.contains("blk_1073741825") || text.contains("blockId=1073741825");
                assert_eq!(named, kind.key().is_some(), "{dialect:?} {kind:?}: {text}");
            }
        }
    }
}
