//! The nodes of the simulated cluster: a NameNode, two DataNodes that people watch, and two that only the others'
//! lines name when the logs of single nodes are written.

use std::fmt;

/// A node, by its number in [`Cluster::NODES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u8);

/// The cluster.
pub struct Cluster;

impl Cluster {
    /// The NameNode.
    pub const NAME_NODE: NodeId = NodeId(0);
    /// The DataNodes that hold the three replicas of every block. The third has no agent in the demo.
    pub const REPLICAS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
    /// The DataNode that blocks are replicated to again.
    pub const SPARE: NodeId = NodeId(4);
    /// All nodes.
    pub const NODES: [NodeId; 5] = [NodeId(0), NodeId(1), NodeId(2), NodeId(3), NodeId(4)];
    /// The nodes whose logs the demo's agents read.
    pub const WATCHED: [NodeId; 3] = [NodeId(0), NodeId(1), NodeId(2)];
}

impl NodeId {
    /// Host name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            0 => "namenode",
            1 => "datanode1",
            2 => "datanode2",
            3 => "datanode3",
            _ => "datanode4",
        }
    }

    /// Address without port.
    #[must_use]
    pub fn ip(self) -> &'static str {
        match self.0 {
            0 => "10.40.0.10",
            1 => "10.40.0.11",
            2 => "10.40.0.12",
            3 => "10.40.0.13",
            _ => "10.40.0.14",
        }
    }

    /// Name of the node's log file, as Hadoop's start scripts make it.
    #[must_use]
    pub fn file_name(self) -> String {
        let daemon = if self == Cluster::NAME_NODE { "namenode" } else { "datanode" };
        format!("hadoop-hdfs-{daemon}-{}.log", self.name())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
