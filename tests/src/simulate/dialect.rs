//! Dialects: what a cluster logs of what happens, and how it reads.

use std::io;

use jiff::{Timestamp, tz::TimeZone};

use super::event::{Event, Kind};
use super::{hadoop3, hdfs_v1};

/// The Hadoop whose logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Hadoop of 2008, as the data set HDFS_v1 has it.
    #[default]
    HdfsV1,
    /// Hadoop 3 with its default log4j layout and block pools.
    Hadoop3,
}

impl Dialect {
    /// All dialects.
    pub const ALL: [Self; 2] = [Self::HdfsV1, Self::Hadoop3];
    /// Hadoop 3 numbers its blocks and their generation stamps from these on.
    pub(super) const FIRST_BLOCK: i64 = 1_073_741_825;
    pub(super) const FIRST_STAMP: i64 = 1_001;

    /// As it is written on the command line and in file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HdfsV1 => "hdfs_v1",
            Self::Hadoop3 => "hadoop3",
        }
    }

    /// Whether events of this kind are logged. At its default levels Hadoop 3 is silent on what goes well, and on the
    /// reports that the NameNode gets of stored replicas.
    #[must_use]
    pub fn logs(self, kind: Kind) -> bool {
        match self {
            Self::HdfsV1 => !matches!(
                kind,
                Kind::DeleteScheduled
                    | Kind::SlowWrite
                    | Kind::XceiverFailed
                    | Kind::FileClosed
                    | Kind::Paused
            ),
            Self::Hadoop3 => {
                !matches!(kind, Kind::Verified | Kind::ServingFailed | Kind::EmptyPacket | Kind::Stored)
            }
        }
    }

    /// Time of the first event of an archived log, Unix milliseconds: 2008-11-09 20:35 and 2026-01-31 04:05 in UTC.
    pub(super) fn start_ms(self) -> i64 {
        match self {
            Self::HdfsV1 => 1_226_262_900_000,
            Self::Hadoop3 => 1_769_832_300_000,
        }
    }

    /// Date and time in UTC, to the second.
    pub(super) fn second(self, second: i64) -> io::Result<String> {
        let format = match self {
            Self::HdfsV1 => "%y%m%d %H%M%S",
            Self::Hadoop3 => "%Y-%m-%d %H:%M:%S",
        };
        let time = Timestamp::from_second(second).map_err(io::Error::other)?.to_zoned(TimeZone::UTC);
        Ok(time.strftime(format).to_string())
    }

    /// Appends the lines of `event`, whose time to the second is `second`.
    pub(super) fn record(self, event: &Event, second: &str, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::HdfsV1 => hdfs_v1::record(event, second, out),
            Self::Hadoop3 => hadoop3::record(event, second, out),
        }
    }
}
