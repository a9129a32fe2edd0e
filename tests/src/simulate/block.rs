//! The life of one block: write, silence, reads, delete; and what a fault changes of it.

use rand::{Rng, RngExt};

use super::Pace;
use super::cluster::{Cluster, NodeId};
use super::dialect::Dialect;
use super::event::{Event, Kind};
use super::fault::{Fault, FaultKind};

/// All events of a block, in the order in which they happen on a node.
pub(super) struct Life {
    pub(super) events: Vec<Event>,
    pub(super) fault: Option<Fault>,
}

impl Life {
    /// Plans the life of the new block with this number, which is allocated at `at_ms`.
    pub(super) fn plan(
        rng: &mut impl Rng,
        (dialect, pace): (Dialect, Pace),
        number: u64,
        at_ms: i64,
        fault: Option<FaultKind>,
    ) -> Self {
        let mut planner = Planner {
            rng,
            dialect,
            pace,
            block: 0,
            at_ms,
            replicas: Cluster::REPLICAS,
            events: Vec::new(),
            fault: None,
        };
        planner.block = match dialect {
            Dialect::HdfsV1 => planner.rng.random(),
            Dialect::Hadoop3 => Dialect::FIRST_BLOCK.wrapping_add_unsigned(number),
        };
        planner.turn_pipeline();
        planner.live(fault);
        Self { events: planner.events, fault: planner.fault }
    }
}

/// A line of a node that names no block.
pub(super) fn keyless(rng: &mut impl Rng, dialect: Dialect, at_ms: i64) -> Event {
    let node = NodeId(rng.random_range(1..=4));
    let kind = match rng.random_range(0..20) {
        0 => Kind::LostContact,
        1..3 if dialect.logs(Kind::Paused) => Kind::Paused,
        _ => Kind::Housekeeping,
    };
    Event { at_ms, node, peer: Cluster::NAME_NODE, thread: 19, number: rng.random(), kind, block: 0 }
}

struct Planner<'a, R> {
    rng: &'a mut R,
    dialect: Dialect,
    pace: Pace,
    block: i64,
    at_ms: i64,
    replicas: [NodeId; 3],
    events: Vec<Event>,
    fault: Option<Fault>,
}

impl<R: Rng> Planner<'_, R> {
    fn turn_pipeline(&mut self) {
        let turns = self.rng.random_range(0..3);
        self.replicas.rotate_left(turns);
    }

    fn live(&mut self, fault: Option<FaultKind>) {
        match fault {
            Some(FaultKind::WriteStops) => return self.write_stops(),
            Some(FaultKind::PipelineException) => return self.write_breaks(),
            Some(FaultKind::ResponderException) => return self.responder_fails(),
            _ => self.write(fault),
        }
        match fault {
            Some(FaultKind::RedundantReport) => {
                self.wait(1, 20);
                let peer = self.replicas[0];
                self.mark(FaultKind::RedundantReport, Cluster::NAME_NODE);
                self.name_node(Kind::StoredRedundant, peer);
            }
            Some(FaultKind::FailedTransfer) => self.transfer_fails(),
            Some(FaultKind::ReplicationTimeout) => self.replication_times_out(),
            _ => {}
        }
        // Whatever follows a delete needs one; of the other blocks a quarter is still there when the log ends.
        let deleted = matches!(
            fault,
            Some(FaultKind::DeleteUnknown | FaultKind::ReportAfterDelete | FaultKind::ReplicationTimeout)
        ) || self.rng.random_range(0..4) > 0;
        self.silence();
        self.read(deleted);
        if deleted {
            self.silence();
            self.delete(fault);
        }
    }

    /// A whole write. In HDFS_v1 the NameNode's line comes before, between or after those of the three DataNodes.
    fn write(&mut self, fault: Option<FaultKind>) {
        let allocated = self.rng.random_range(0..=3);
        for (place, node) in self.replicas.into_iter().enumerate() {
            if place == allocated {
                self.name_node(Kind::Allocate, node);
            }
            self.wait(1, 3);
            self.log(Kind::Receiving, node, self.sender(place));
        }
        if allocated == 3 {
            self.name_node(Kind::Allocate, self.replicas[0]);
        }
        self.wait(self.pace.write_ms / 2, self.pace.write_ms);
        if fault == Some(FaultKind::SlowPipeline) {
            let (slow, wait_ms) = (self.watched(), self.pace.write_ms);
            self.mark(FaultKind::SlowPipeline, slow);
            for _ in 0..3 {
                self.log(Kind::SlowWrite, slow, self.other_than(slow));
                self.wait(wait_ms / 2, wait_ms);
            }
        }
        // The NameNode hears of the replicas after all of them are there, or of two before the last is.
        let early = self.rng.random_range(0..8) == 0;
        for (place, node) in self.replicas.into_iter().enumerate() {
            if place == 2 && early {
                self.name_node(Kind::Stored, self.replicas[0]);
                self.name_node(Kind::Stored, self.replicas[1]);
            }
            if fault == Some(FaultKind::EmptyPacket) {
                if place == 0 {
                    let watched = self.watched();
                    self.mark(FaultKind::EmptyPacket, watched);
                }
                self.log(Kind::EmptyPacket, node, node);
            }
            self.wait(0, 2);
            // What Hadoop 3 says of a received block is its client trace, which comes first.
            if self.dialect == Dialect::Hadoop3 {
                self.log(Kind::Received, node, self.sender(place));
                self.log(Kind::ResponderEnds, node, node);
            } else {
                self.log(Kind::ResponderEnds, node, node);
                self.log(Kind::Received, node, self.sender(place));
            }
        }
        for node in self.replicas.into_iter().skip(if early { 2 } else { 0 }) {
            self.wait(0, 2);
            self.name_node(Kind::Stored, node);
        }
        self.name_node(Kind::FileClosed, self.replicas[0]);
    }

    /// Verifications and reads, in the patterns that are frequent in HDFS_v1. Half of the blocks have none; a block
    /// that was read there was also deleted before the log ended.
    fn read(&mut self, deleted: bool) {
        use Kind::{Served, ServingFailed, Verified};
        let pattern: &[Kind] = match self.rng.random_range(0..if deleted { 12 } else { 7 }) {
            0..6 => &[],
            6 => &[Verified],
            7 => &[ServingFailed, ServingFailed, Served],
            8 => &[ServingFailed, Served, ServingFailed, Verified],
            9 => &[Served, Served, ServingFailed, Served, Served, ServingFailed],
            10 => &[Verified, Verified],
            _ => &[Served, Served, ServingFailed],
        };
        for &kind in pattern {
            self.wait(1, 50);
            let node = self.any_replica();
            let traced = kind == ServingFailed && self.rng.random_range(0..10) == 0;
            let peer = self.any_replica();
            self.log(if traced { Kind::ServingFailedTrace } else { kind }, node, peer);
        }
    }

    fn delete(&mut self, fault: Option<FaultKind>) {
        for node in self.replicas {
            self.name_node(Kind::Invalidate, node);
        }
        let unlucky = self.watched();
        for node in self.replicas {
            self.wait(2, 40);
            self.log(Kind::DeleteScheduled, node, node);
            self.log(Kind::Deleting, node, node);
            if fault == Some(FaultKind::DeleteUnknown) && node == unlucky {
                self.wait(1, 20);
                self.mark(FaultKind::DeleteUnknown, node);
                self.log(Kind::DeleteFailed, node, node);
            }
        }
        if fault == Some(FaultKind::ReportAfterDelete) {
            self.wait(1, 20);
            self.mark(FaultKind::ReportAfterDelete, Cluster::NAME_NODE);
            self.name_node(Kind::StoredUnowned, unlucky);
            self.name_node(Kind::Stored, unlucky);
        }
    }

    fn write_stops(&mut self) {
        let node = self.watched();
        self.name_node(Kind::Allocate, node);
        self.wait(1, 3);
        self.mark(FaultKind::WriteStops, node);
        self.log(Kind::Receiving, node, node);
    }

    fn write_breaks(&mut self) {
        let broken = self.watched();
        let first = self.other_than(broken);
        self.name_node(Kind::Allocate, first);
        self.wait(1, 3);
        self.log(Kind::Receiving, first, first);
        self.wait(1, 3);
        self.log(Kind::Receiving, broken, first);
        self.wait(self.pace.write_ms / 4, self.pace.write_ms / 2);
        self.mark(FaultKind::PipelineException, broken);
        self.log(Kind::WriteFailed, broken, first);
        self.log(Kind::XceiverFailed, broken, first);
    }

    fn responder_fails(&mut self) {
        let broken = self.watched();
        let other = self.other_than(broken);
        for node in self.replicas {
            self.log(Kind::Receiving, node, node);
            self.wait(1, 3);
        }
        self.name_node(Kind::Allocate, self.replicas[0]);
        self.wait(self.pace.write_ms / 4, self.pace.write_ms / 2);
        self.mark(FaultKind::ResponderException, broken);
        for (kind, node) in [
            (Kind::ResponderEnds, broken),
            (Kind::ResponderFailed, broken),
            (Kind::WriteFailed, broken),
            (Kind::ReceiveFailed, other),
            (Kind::WriteFailed, other),
            (Kind::XceiverFailed, other),
        ] {
            if self.dialect.logs(kind) {
                self.log(kind, node, node);
                self.wait(1, 5);
            }
        }
    }

    fn transfer_fails(&mut self) {
        let source = Cluster::REPLICAS[0];
        self.wait(1, 20);
        self.name_node(Kind::AskReplicate, Cluster::SPARE);
        self.log(Kind::TransferStarts, source, Cluster::SPARE);
        self.log(Kind::Receiving, Cluster::SPARE, source);
        self.log(Kind::WriteFailed, Cluster::SPARE, source);
        self.wait(1, 20);
        self.mark(FaultKind::FailedTransfer, source);
        self.log(Kind::TransferFailed, source, Cluster::SPARE);
    }

    fn replication_times_out(&mut self) {
        let source = Cluster::REPLICAS[0];
        self.wait(1, 20);
        self.name_node(Kind::AskReplicate, Cluster::SPARE);
        self.log(Kind::TransferStarts, source, Cluster::SPARE);
        self.wait(self.pace.write_ms / 4, self.pace.write_ms / 2);
        self.mark(FaultKind::ReplicationTimeout, Cluster::NAME_NODE);
        self.name_node(Kind::ReplicationTimedOut, Cluster::SPARE);
        self.name_node(Kind::AskReplicate, Cluster::SPARE);
        self.log(Kind::TransferStarts, source, Cluster::SPARE);
        self.wait(1, 20);
        self.log(Kind::Receiving, Cluster::SPARE, source);
        self.log(Kind::Transmitted, source, Cluster::SPARE);
        self.log(Kind::ReceivedTransfer, Cluster::SPARE, source);
        self.name_node(Kind::Stored, Cluster::SPARE);
        self.name_node(Kind::Stored, source);
        self.log(Kind::Deleting, Cluster::SPARE, source);
    }

    /// A DataNode whose log an agent of the demo reads, so that the fault can be seen there.
    fn watched(&mut self) -> NodeId {
        if self.rng.random() { NodeId(1) } else { NodeId(2) }
    }

    fn other_than(&self, node: NodeId) -> NodeId {
        self.replicas.into_iter().find(|&other| other != node).unwrap_or(node)
    }

    fn any_replica(&mut self) -> NodeId {
        let place = self.rng.random_range(0..3);
        self.replicas.into_iter().nth(place).unwrap_or(Cluster::SPARE)
    }

    /// Who sends the block to the DataNode at `place` of the pipeline; the client is on the first one.
    fn sender(&self, place: usize) -> NodeId {
        self.replicas.into_iter().nth(place.saturating_sub(1)).unwrap_or(Cluster::SPARE)
    }

    fn silence(&mut self) {
        self.wait(self.pace.silence_ms / 2, self.pace.silence_ms);
    }

    fn wait(&mut self, least_ms: i64, most_ms: i64) {
        self.at_ms += self.rng.random_range(least_ms..=most_ms.max(least_ms));
    }

    fn mark(&mut self, kind: FaultKind, node: NodeId) {
        self.fault = Some(Fault { block: self.block, node, kind, at_ms: self.at_ms });
    }

    fn name_node(&mut self, kind: Kind, peer: NodeId) {
        self.log(kind, Cluster::NAME_NODE, peer);
    }

    /// Logs an event if the dialect does.
    fn log(&mut self, kind: Kind, node: NodeId, peer: NodeId) {
        if !self.dialect.logs(kind) {
            return;
        }
        let number = match kind {
            Kind::ResponderEnds | Kind::ResponderFailed => self.rng.random_range(0..3),
            _ => self.rng.random_range(32_768..61_000),
        };
        let thread = self.rng.random_range(10..4_000);
        self.events.push(Event { at_ms: self.at_ms, node, peer, thread, number, kind, block: self.block });
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn keys(life: &Life, node: Option<NodeId>) -> Vec<u32> {
        let of_node = |event: &&Event| node.is_none_or(|node| event.node == node);
        life.events.iter().filter(of_node).filter_map(|event| event.kind.key()).collect()
    }

    #[test]
    fn a_healthy_life_has_three_replicas_and_ends_where_it_began() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..100 {
            let life = Life::plan(&mut rng, (Dialect::HdfsV1, Pace::ARCHIVE), 0, 0, None);
            let keys_of_block = keys(&life, None);
            for (key, times) in [(5, 3), (9, 3), (11, 3), (22, 1), (26, 3)] {
                assert_eq!(
                    keys_of_block.iter().filter(|&&other| other == key).count(),
                    times,
                    "{keys_of_block:?}"
                );
            }
            assert!(life.fault.is_none());
            assert_eq!(keys(&life, Some(NodeId(1))).first(), Some(&5));
        }
    }

    #[test]
    fn a_healthy_write_is_three_lines_on_a_data_node_of_hadoop_3() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for number in 0..100 {
            let life = Life::plan(&mut rng, (Dialect::Hadoop3, Pace::ARCHIVE), number, 0, None);
            assert_eq!(keys(&life, Some(NodeId(1))).get(..3), Some(&[5, 9, 11][..]));
            assert_eq!(keys(&life, Some(Cluster::NAME_NODE)).first(), Some(&22));
            assert!(life.events.iter().all(|event| event.block == 1_073_741_825 + number as i64));
        }
    }

    #[test]
    fn every_fault_leaves_a_trace_on_the_node_it_names() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let all = |dialect| FaultKind::all(dialect).map(|kind| (dialect, kind));
        for (dialect, kind) in Dialect::ALL.into_iter().flat_map(all) {
            let life = Life::plan(&mut rng, (dialect, Pace::DEMO), 7, 1_000, Some(kind));
            let fault = life.fault.unwrap();
            assert_eq!(fault.kind, kind);
            assert!(Cluster::WATCHED.contains(&fault.node));
            assert!(
                life.events.iter().any(|event| event.node == fault.node && event.at_ms == fault.at_ms),
                "{kind}"
            );
        }
    }
}
