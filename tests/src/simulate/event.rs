//! One event of a node. How it reads in the log is the [dialect](super::Dialect)'s.

use super::cluster::NodeId;

/// What is logged. The number behind a name is its key: up to 33 in HDFS_v1's event table (`templates.csv`), from 101
/// on what only Hadoop 3 logs.
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
    /// 101, the replica to be deleted on five further lines
    DeleteScheduled,
    /// 102
    SlowWrite,
    /// A write ended by an exception, no block.
    XceiverFailed,
    /// The NameNode's end of a file, no block.
    FileClosed,
    /// A pause of the node's JVM, no block.
    Paused,
    /// A line about the node that names no block.
    Housekeeping,
    /// A warning about the node with a stack trace, no block.
    LostContact,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 31] = [
        Self::Verified,
        Self::Served,
        Self::ServingFailed,
        Self::ServingFailedTrace,
        Self::Receiving,
        Self::ReceivedTransfer,
        Self::WriteFailed,
        Self::Received,
        Self::ResponderFailed,
        Self::ResponderEnds,
        Self::EmptyPacket,
        Self::ReceiveFailed,
        Self::Transmitted,
        Self::TransferFailed,
        Self::TransferStarts,
        Self::DeleteFailed,
        Self::Deleting,
        Self::Allocate,
        Self::Invalidate,
        Self::AskReplicate,
        Self::Stored,
        Self::StoredRedundant,
        Self::StoredUnowned,
        Self::ReplicationTimedOut,
        Self::DeleteScheduled,
        Self::SlowWrite,
        Self::XceiverFailed,
        Self::FileClosed,
        Self::Paused,
        Self::Housekeeping,
        Self::LostContact,
    ];

    /// Key of the event; `None` if it names no block.
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
            Self::DeleteScheduled => 101,
            Self::SlowWrite => 102,
            Self::XceiverFailed
            | Self::FileClosed
            | Self::Paused
            | Self::Housekeeping
            | Self::LostContact => return None,
        })
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

impl Event {
    /// Bytes of the event's block: most are full, `full_bytes` long.
    pub(super) fn block_bytes(&self, full_bytes: u64) -> u64 {
        if self.block.rem_euclid(5) == 0 { self.block.unsigned_abs() % full_bytes + 1 } else { full_bytes }
    }
}
