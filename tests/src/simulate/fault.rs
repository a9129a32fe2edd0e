//! Faults and their ground truth. Each kind but one follows a frequent abnormal session of HDFS_v1.

use std::fmt;

use super::cluster::NodeId;
use super::dialect::Dialect;

/// What goes wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// The client dies after the allocation; the first DataNode waits for ever.
    WriteStops,
    /// The second DataNode's stream breaks while it receives the block.
    PipelineException,
    /// A packet responder fails, and two DataNodes give up the write.
    ResponderException,
    /// All DataNodes get an empty packet. Hadoop 3 no longer logs it.
    EmptyPacket,
    /// A DataNode is slow to pass the packets on. Hadoop of 2008 did not log it.
    SlowPipeline,
    /// A DataNode reports a block that the NameNode already knows there.
    RedundantReport,
    /// A DataNode is told to delete a block that it does not have.
    DeleteUnknown,
    /// A DataNode reports a block whose file has been deleted.
    ReportAfterDelete,
    /// A re-replication breaks on both ends.
    FailedTransfer,
    /// A re-replication times out on the NameNode and is asked for again.
    ReplicationTimeout,
}

impl FaultKind {
    /// Those of one dialect.
    #[must_use]
    pub fn all(dialect: Dialect) -> [Self; 9] {
        Self::HDFS_V1.map(|kind| match kind {
            Self::EmptyPacket if dialect == Dialect::Hadoop3 => Self::SlowPipeline,
            kind => kind,
        })
    }

    const HDFS_V1: [Self; 9] = [
        Self::PipelineException,
        Self::DeleteUnknown,
        Self::WriteStops,
        Self::RedundantReport,
        Self::EmptyPacket,
        Self::ReportAfterDelete,
        Self::ResponderException,
        Self::FailedTransfer,
        Self::ReplicationTimeout,
    ];

    /// The kind of the `number`-th fault of a run: each kind in turn.
    #[must_use]
    pub fn in_turn(dialect: Dialect, number: usize) -> Self {
        let kinds = Self::all(dialect);
        kinds.get(number % kinds.len()).copied().unwrap_or(Self::PipelineException)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::WriteStops => "write stops half-way",
            Self::PipelineException => "pipeline exception",
            Self::ResponderException => "responder exception",
            Self::EmptyPacket => "empty packet",
            Self::SlowPipeline => "slow pipeline",
            Self::RedundantReport => "redundant report",
            Self::DeleteUnknown => "delete of unknown block",
            Self::ReportAfterDelete => "report after delete",
            Self::FailedTransfer => "failed transfer",
            Self::ReplicationTimeout => "replication timeout",
        })
    }
}

/// Ground truth of one faulty block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Id of the block.
    pub block: i64,
    /// Where the first abnormal line is logged, or is missing.
    pub node: NodeId,
    /// What goes wrong.
    pub kind: FaultKind,
    /// Time of that line, Unix milliseconds.
    pub at_ms: i64,
}
