//! One event of a node and the lines that it logs.

use std::io::{self, Write};

use jiff::{Timestamp, tz::TimeZone};

use super::cluster::NodeId;

/// What is logged. The number behind a name is its key in HDFS_v1's event table (`templates.csv`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// 2
    Verified,
    /// 3
    Served,
    /// 4
    ServingFailed,
    /// 4, with the exception's stack trace as continuation lines
    ServingFailedTrace,
    /// 5
    Receiving,
    /// 6
    ReceivedTransfer,
    /// 7
    WriteFailed,
    /// 9
    Received,
    /// 10
    ResponderFailed,
    /// 11
    ResponderEnds,
    /// 13
    EmptyPacket,
    /// 14
    ReceiveFailed,
    /// 16
    Transmitted,
    /// 17
    TransferFailed,
    /// 18
    TransferStarts,
    /// 20
    DeleteFailed,
    /// 21
    Deleting,
    /// 22
    Allocate,
    /// 23
    Invalidate,
    /// 25
    AskReplicate,
    /// 26
    Stored,
    /// 27
    StoredRedundant,
    /// 28
    StoredUnowned,
    /// 29
    ReplicationTimedOut,
    /// A line about the node that names no block.
    Housekeeping,
    /// A warning about the node with a stack trace, no block.
    LostContact,
}

impl Kind {
    /// Key in the data set's event table; `None` if the event names no block.
    #[must_use]
    pub fn key(self) -> Option<u32> {
        Some(match self {
            Self::Verified => 2,
            Self::Served => 3,
            Self::ServingFailed | Self::ServingFailedTrace => 4,
            Self::Receiving => 5,
            Self::ReceivedTransfer => 6,
            Self::WriteFailed => 7,
            Self::Received => 9,
            Self::ResponderFailed => 10,
            Self::ResponderEnds => 11,
            Self::EmptyPacket => 13,
            Self::ReceiveFailed => 14,
            Self::Transmitted => 16,
            Self::TransferFailed => 17,
            Self::TransferStarts => 18,
            Self::DeleteFailed => 20,
            Self::Deleting => 21,
            Self::Allocate => 22,
            Self::Invalidate => 23,
            Self::AskReplicate => 25,
            Self::Stored => 26,
            Self::StoredRedundant => 27,
            Self::StoredUnowned => 28,
            Self::ReplicationTimedOut => 29,
            Self::Housekeeping | Self::LostContact => return None,
        })
    }

    /// Level and logger.
    fn head(self) -> &'static str {
        match self {
            Self::Verified => "INFO dfs.DataBlockScanner",
            Self::Served | Self::Receiving | Self::ReceivedTransfer | Self::WriteFailed => {
                "INFO dfs.DataNode$DataXceiver"
            }
            Self::ServingFailed | Self::ServingFailedTrace => "WARN dfs.DataNode$DataXceiver",
            Self::Received | Self::ResponderFailed | Self::ResponderEnds => {
                "INFO dfs.DataNode$PacketResponder"
            }
            Self::EmptyPacket | Self::ReceiveFailed => "INFO dfs.DataNode$BlockReceiver",
            Self::Transmitted => "INFO dfs.DataNode$DataTransfer",
            Self::TransferFailed => "WARN dfs.DataNode$DataTransfer",
            Self::TransferStarts | Self::Housekeeping => "INFO dfs.DataNode",
            Self::LostContact => "WARN dfs.DataNode",
            Self::DeleteFailed => "WARN dfs.FSDataset",
            Self::Deleting => "INFO dfs.FSDataset",
            Self::StoredRedundant => "WARN dfs.FSNamesystem",
            Self::ReplicationTimedOut => "WARN dfs.PendingReplicationBlocks",
            Self::Allocate | Self::Invalidate | Self::AskReplicate | Self::Stored | Self::StoredUnowned => {
                "INFO dfs.FSNamesystem"
            }
        }
    }
}

/// One record of a node's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// When it is logged, Unix milliseconds.
    pub at_ms: i64,
    /// Who logs it.
    pub node: NodeId,
    /// The other node of the line: sender, receiver, or the DataNode that the NameNode speaks of.
    pub peer: NodeId,
    /// Thread of the node.
    pub thread: u16,
    /// A number of the line: port, place in the pipeline.
    pub number: u16,
    /// What is logged.
    pub kind: Kind,
    /// Id of the block; without meaning for events that name none.
    pub block: i64,
}

/// Writes events as lines and counts them.
#[derive(Clone, Debug, Default)]
pub struct LineWriter {
    /// Lines written, continuation lines included.
    pub lines: u64,
    /// Those of them whose record names a block.
    pub lines_in_sessions: u64,
    /// Bytes written.
    pub bytes: u64,
    /// `yyMMdd HHmmss` of a second, kept because many lines share it.
    second: i64,
    time: String,
    line: Vec<u8>,
}

impl LineWriter {
    /// Writes the lines of `event`, times in UTC.
    pub fn write(&mut self, event: &Event, out: &mut impl Write) -> io::Result<()> {
        let second = event.at_ms.div_euclid(1_000);
        if self.time.is_empty() || second != self.second {
            let time = Timestamp::from_second(second).map_err(io::Error::other)?.to_zoned(TimeZone::UTC);
            self.time = time.strftime("%y%m%d %H%M%S").to_string();
            self.second = second;
        }
        self.line.clear();
        write!(self.line, "{} {} {}: ", self.time, event.thread, event.kind.head())?;
        message(event, &mut self.line)?;
        self.line.push(b'\n');
        let traced = matches!(event.kind, Kind::ServingFailedTrace | Kind::LostContact);
        if traced {
            self.line.extend_from_slice(TRACE);
        }
        let lines = if traced { 1 + TRACE_LINES } else { 1 };
        out.write_all(&self.line)?;
        self.lines += lines;
        self.bytes += u64::try_from(self.line.len()).unwrap_or(u64::MAX);
        if event.kind.key().is_some() {
            self.lines_in_sessions += lines;
        }
        Ok(())
    }
}

/// Continuation lines of an exception.
const TRACE: &[u8] =
    b"java.net.SocketTimeoutException: 480000 millis timeout while waiting for channel to be ready for write
\tat org.apache.hadoop.net.SocketIOWithTimeout.waitForIO(SocketIOWithTimeout.java:185)
\tat org.apache.hadoop.net.SocketOutputStream.write(SocketOutputStream.java:198)
\tat java.lang.Thread.run(Thread.java:619)
";
const TRACE_LINES: u64 = 4;

/// Bytes of a block: most are full.
fn block_bytes(block: i64) -> u64 {
    if block.rem_euclid(5) == 0 { block.unsigned_abs() % 67_108_864 + 1 } else { 67_108_864 }
}

fn message(event: &Event, out: &mut Vec<u8>) -> io::Result<()> {
    let Event { block, number, .. } = *event;
    let (node, peer) = (event.node.ip(), event.peer.ip());
    let size = block_bytes(block);
    match event.kind {
        Kind::Verified => write!(out, "Verification succeeded for blk_{block}"),
        Kind::Served => write!(out, "{node}:50010 Served block blk_{block} to /{peer}"),
        Kind::ServingFailed | Kind::ServingFailedTrace => {
            write!(out, "{node}:50010:Got exception while serving blk_{block} to /{peer}:")
        }
        Kind::Receiving => {
            write!(out, "Receiving block blk_{block} src: /{peer}:{number} dest: /{peer}:50010")
        }
        Kind::ReceivedTransfer => {
            write!(out, "Received block blk_{block} src: /{peer}:{number} dest: /{peer}:50010 of size {size}")
        }
        Kind::WriteFailed => {
            write!(
                out,
                "writeBlock blk_{block} received exception java.io.IOException: Could not read from stream"
            )
        }
        Kind::Received => write!(out, "Received block blk_{block} of size {size} from /{peer}"),
        Kind::ResponderFailed => {
            write!(out, "PacketResponder blk_{block} {number} Exception java.io.EOFException")
        }
        Kind::ResponderEnds => write!(out, "PacketResponder {number} for block blk_{block} terminating"),
        Kind::EmptyPacket => write!(out, "Receiving empty packet for block blk_{block}"),
        Kind::ReceiveFailed => {
            write!(
                out,
                "Exception in receiveBlock for block blk_{block} java.io.IOException: Connection reset by peer"
            )
        }
        Kind::Transmitted => write!(out, "{node}:50010:Transmitted block blk_{block} to /{peer}:50010"),
        Kind::TransferFailed => write!(
            out,
            "{node}:50010:Failed to transfer blk_{block} to {peer}:50010 got java.net.SocketException: Broken pipe"
        ),
        Kind::TransferStarts => {
            write!(out, "{node}:50010 Starting thread to transfer block blk_{block} to {peer}:50010")
        }
        Kind::DeleteFailed => write!(
            out,
            "Unexpected error trying to delete block blk_{block}. BlockInfo not found in volumeMap."
        ),
        Kind::Deleting => write!(
            out,
            "Deleting block blk_{block} file /data/dfs/current/subdir{}/blk_{block}",
            block.rem_euclid(64)
        ),
        Kind::Housekeeping => {
            write!(
                out,
                "BlockReport of {} blocks got processed in {} msecs",
                1_000 + number % 997,
                number % 89
            )
        }
        Kind::LostContact => write!(out, "Call to {peer}:9000 failed on local exception:"),
        _ => name_node_message(event, peer, size, out),
    }
}

fn name_node_message(event: &Event, peer: &str, size: u64, out: &mut Vec<u8>) -> io::Result<()> {
    let block = event.block;
    match event.kind {
        Kind::Allocate => {
            let part = block.rem_euclid(100_000);
            write!(
                out,
                "BLOCK* NameSystem.allocateBlock: /user/demo/job_{}/part-{part:05}. blk_{block}",
                event.number
            )
        }
        Kind::Invalidate => {
            write!(out, "BLOCK* NameSystem.delete: blk_{block} is added to invalidSet of {peer}:50010")
        }
        Kind::AskReplicate => {
            let source = super::Cluster::REPLICAS[0].ip();
            write!(out, "BLOCK* ask {source}:50010 to replicate blk_{block} to datanode(s) {peer}:50010")
        }
        Kind::StoredRedundant => write!(
            out,
            "BLOCK* NameSystem.addStoredBlock: Redundant addStoredBlock request received for blk_{block} on {peer}:50010 size {size}"
        ),
        Kind::StoredUnowned => write!(
            out,
            "BLOCK* NameSystem.addStoredBlock: addStoredBlock request received for blk_{block} on {peer}:50010 size {size} But it does not belong to any file."
        ),
        Kind::ReplicationTimedOut => write!(out, "PendingReplicationMonitor timed out block blk_{block}"),
        _ => write!(
            out,
            "BLOCK* NameSystem.addStoredBlock: blockMap updated: {peer}:50010 is added to blk_{block} size {size}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Cluster;

    fn event(kind: Kind) -> Event {
        Event {
            at_ms: 1_226_262_935_000,
            node: NodeId(1),
            peer: NodeId(2),
            thread: 147,
            number: 2,
            kind,
            block: -42,
        }
    }

    #[test]
    fn lines_have_the_form_of_hdfs_v1() {
        let (mut writer, mut text) = (LineWriter::default(), Vec::new());
        writer.write(&event(Kind::ResponderEnds), &mut text).unwrap();
        let stored = Event { node: Cluster::NAME_NODE, ..event(Kind::Stored) };
        writer.write(&stored, &mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "081109 203535 147 INFO dfs.DataNode$PacketResponder: PacketResponder 2 for block blk_-42 terminating\n\
             081109 203535 147 INFO dfs.FSNamesystem: BLOCK* NameSystem.addStoredBlock: blockMap updated: \
             10.40.0.12:50010 is added to blk_-42 size 67108864\n"
        );
    }

    #[test]
    fn continuation_lines_are_counted_with_their_record() {
        let (mut writer, mut text) = (LineWriter::default(), Vec::new());
        for kind in [Kind::ServingFailedTrace, Kind::LostContact, Kind::Served] {
            writer.write(&event(kind), &mut text).unwrap();
        }
        assert_eq!(writer.lines, text.iter().filter(|&&byte| byte == b'\n').count() as u64);
        assert_eq!(writer.lines_in_sessions, 1 + TRACE_LINES + 1);
        assert_eq!(writer.bytes, text.len() as u64);
    }
}
