//! Which faults come, on which DataNode, in which order and for how long: a function of the seed alone.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// What can be done to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A DataNode is killed while it receives blocks, and started again after seconds.
    KillDatanode,
    /// A DataNode stops for longer than its peers wait for it (SIGSTOP).
    HangDatanode,
    /// A DataNode stops for seconds, as for a long garbage collection.
    PauseDatanode,
    /// A DataNode runs a quarter of the time only.
    SlowDatanode,
    /// Files of blocks vanish from a DataNode's disk; then the blocks are read.
    DeleteBlock,
    /// Bytes of blocks change on a DataNode's disk; then the blocks are read.
    CorruptBlock,
    /// So do those of their checksum files.
    CorruptMeta,
    /// One of a DataNode's two volumes takes no more new blocks.
    LoseVolume,
    /// A DataNode's writes fail beyond some bytes, as on a full disk (`RLIMIT_FSIZE`).
    FailWrites,
    /// A client dies while it writes.
    KillClient,
    /// So, and another client has the lease of its files recovered.
    RecoverLease,
    /// More streams are open than a DataNode takes.
    ExceedXceivers,
    /// The NameNode is killed and started again.
    RestartNamenode,
    /// A DataNode is away until the NameNode calls it dead and has its blocks replicated.
    LoseDatanode,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::KillDatanode,
        Self::HangDatanode,
        Self::PauseDatanode,
        Self::SlowDatanode,
        Self::DeleteBlock,
        Self::CorruptBlock,
        Self::CorruptMeta,
        Self::LoseVolume,
        Self::FailWrites,
        Self::KillClient,
        Self::RecoverLease,
        Self::ExceedXceivers,
        Self::RestartNamenode,
        Self::LoseDatanode,
    ];

    /// As it is written in files.
    #[must_use]
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// How long it lasts, milliseconds, from and to; those that last as long as they take have zeros.
    fn length_ms(self) -> (u64, u64) {
        match self {
            Self::KillDatanode => (5_000, 9_000),
            // A client waits for an acknowledgement for 3 s and 5 s more for each node of the pipeline.
            Self::HangDatanode => (20_000, 23_000),
            Self::PauseDatanode => (2_000, 5_000),
            Self::SlowDatanode => (6_000, 9_000),
            Self::RestartNamenode => (2_000, 4_000),
            // Dead after 30 s.
            Self::LoseDatanode => (36_000, 40_000),
            _ => (0, 0),
        }
    }
}

/// One fault to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What is done.
    pub kind: Kind,
    /// The DataNode to which it is done, from 1 on; for kinds that concern another one, the one their files lie on.
    pub node: usize,
    /// How long it lasts; zero where it lasts as long as it takes.
    pub length_ms: u64,
    /// Files that the injector has written while it lasts, so that something is touched.
    pub files: usize,
    /// Quiet time before it.
    pub rest_ms: u64,
}

/// All faults of a run: `rounds` times each of `kinds`, in random order.
#[must_use]
pub fn plan(seed: u64, rounds: usize, kinds: &[Kind], datanodes: usize) -> Vec<Planned> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut plan = Vec::new();
    for _ in 0..rounds {
        let mut order = kinds.to_vec();
        order.shuffle(&mut random);
        for kind in order {
            let (least, most) = kind.length_ms();
            plan.push(Planned {
                kind,
                node: random.random_range(1..=datanodes),
                length_ms: random.random_range(least..=most),
                files: random.random_range(4..=8),
                rest_ms: random.random_range(6_000..=10_000),
            });
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_plan_and_each_round_has_every_kind() {
        let first = plan(7, 2, &Kind::ALL, 4);
        assert_eq!(first, plan(7, 2, &Kind::ALL, 4));
        assert_ne!(first, plan(8, 2, &Kind::ALL, 4));
        for round in first.chunks(Kind::ALL.len()) {
            let mut kinds: Vec<Kind> = round.iter().map(|planned| planned.kind).collect();
            kinds.sort_unstable();
            assert_eq!(kinds, Kind::ALL);
        }
        assert!(first.iter().all(|planned| (1..=4).contains(&planned.node)));
    }

    #[test]
    fn names_come_back_as_kinds() {
        for kind in Kind::ALL {
            assert_eq!(Kind::named(&kind.name()), Some(kind));
        }
        assert_eq!(Kind::KillDatanode.name(), "kill_datanode");
    }
}
