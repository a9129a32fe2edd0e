//! The text of Hadoop 3: `yyyy-MM-dd HH:mm:ss,SSS LEVEL logger: message`, blocks with pool and generation stamp, and
//! exceptions, replicas and pauses that go on over further lines. The statements are those of its DataNode, DataXceiver,
//! BlockReceiver, FsDatasetAsyncDiskService, BlockManager and FSNamesystem as of 3.1, where they differ; the logger
//! BlockStateChange is at DEBUG, as what it says of a block's replicas is.

use std::fmt;
use std::io::{self, Write};

use super::cluster::{Cluster, NodeId};
use super::dialect::Dialect;
use super::event::{Event, Kind};

/// Bytes of a full block.
const BLOCK_BYTES: u64 = 134_217_728;
const POOL: &str = "BP-1182980097-10.40.0.10-1769000000000";

/// Appends the lines of `event`; `second` is its time as the line head has it, to the second.
pub(super) fn record(event: &Event, second: &str, out: &mut Vec<u8>) -> io::Result<()> {
    let millisecond = event.at_ms.rem_euclid(1_000);
    write!(out, "{second},{millisecond:03} {}: ", head(event.kind))?;
    if event.node == Cluster::NAME_NODE { name_node(event, out) } else { data_node(event, out) }?;
    out.push(b'\n');
    out.extend_from_slice(trace(event.kind));
    Ok(())
}

/// Level and logger.
fn head(kind: Kind) -> &'static str {
    match kind {
        Kind::Received | Kind::Served => "INFO org.apache.hadoop.hdfs.server.datanode.DataNode.clienttrace",
        Kind::DeleteScheduled | Kind::Deleting => {
            "INFO org.apache.hadoop.hdfs.server.datanode.fsdataset.impl.FsDatasetAsyncDiskService"
        }
        Kind::DeleteFailed => {
            "WARN org.apache.hadoop.hdfs.server.datanode.fsdataset.impl.FsDatasetAsyncDiskService"
        }
        Kind::XceiverFailed => "ERROR org.apache.hadoop.hdfs.server.datanode.DataNode",
        Kind::SlowWrite | Kind::TransferFailed | Kind::LostContact => {
            "WARN org.apache.hadoop.hdfs.server.datanode.DataNode"
        }
        Kind::ServingFailed | Kind::ServingFailedTrace => {
            "WARN org.apache.hadoop.hdfs.server.datanode.DataNode"
        }
        Kind::Paused => "INFO org.apache.hadoop.util.JvmPauseMonitor",
        Kind::Allocate | Kind::FileClosed => "INFO org.apache.hadoop.hdfs.StateChange",
        Kind::Stored => "INFO BlockStateChange",
        Kind::Invalidate | Kind::AskReplicate | Kind::StoredUnowned | Kind::StoredRedundant => {
            "DEBUG BlockStateChange"
        }
        Kind::ReplicationTimedOut => "WARN org.apache.hadoop.hdfs.server.blockmanagement.BlockManager",
        _ => "INFO org.apache.hadoop.hdfs.server.datanode.DataNode",
    }
}

/// Continuation lines.
fn trace(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::ServingFailedTrace => WRITE_TIMEOUT,
        Kind::ReceiveFailed | Kind::XceiverFailed => PREMATURE_END,
        Kind::ResponderFailed => NO_PREFIX,
        Kind::TransferFailed | Kind::LostContact => REFUSED,
        _ => b"",
    }
}

const WRITE_TIMEOUT: &[u8] =
    b"java.net.SocketTimeoutException: 480000 millis timeout while waiting for channel to be ready for write
\tat org.apache.hadoop.net.SocketIOWithTimeout.waitForIO(SocketIOWithTimeout.java:245)
\tat org.apache.hadoop.net.SocketOutputStream.transferToFully(SocketOutputStream.java:223)
\tat org.apache.hadoop.hdfs.server.datanode.BlockSender.sendPacket(BlockSender.java:621)
\tat java.base/java.lang.Thread.run(Thread.java:833)
";
const PREMATURE_END: &[u8] = b"java.io.IOException: Premature EOF from inputStream
\tat org.apache.hadoop.io.IOUtils.readFully(IOUtils.java:212)
\tat org.apache.hadoop.hdfs.protocol.datatransfer.PacketReceiver.doReadFully(PacketReceiver.java:221)
\tat org.apache.hadoop.hdfs.server.datanode.BlockReceiver.receivePacket(BlockReceiver.java:528)
\tat org.apache.hadoop.hdfs.server.datanode.BlockReceiver.receiveBlock(BlockReceiver.java:971)
\tat org.apache.hadoop.hdfs.server.datanode.DataXceiver.writeBlock(DataXceiver.java:890)
\tat java.base/java.lang.Thread.run(Thread.java:833)
";
const NO_PREFIX: &[u8] = b"java.io.EOFException: Unexpected EOF while trying to read response from server
\tat org.apache.hadoop.hdfs.protocolPB.PBHelperClient.vintPrefixed(PBHelperClient.java:519)
\tat org.apache.hadoop.hdfs.protocol.datatransfer.PipelineAck.readFields(PipelineAck.java:213)
\tat org.apache.hadoop.hdfs.server.datanode.BlockReceiver$PacketResponder.run(BlockReceiver.java:1381)
\tat java.base/java.lang.Thread.run(Thread.java:833)
";
const REFUSED: &[u8] = b"java.net.ConnectException: Connection refused
\tat java.base/sun.nio.ch.Net.pollConnect(Native Method)
\tat org.apache.hadoop.net.SocketIOWithTimeout.connect(SocketIOWithTimeout.java:205)
\tat org.apache.hadoop.net.NetUtils.connect(NetUtils.java:600)
Caused by: java.nio.channels.ClosedChannelException
\t... 12 more
";

fn data_node(event: &Event, out: &mut Vec<u8>) -> io::Result<()> {
    let Event { number, .. } = *event;
    let (node, peer) = (event.node.ip(), event.peer.ip());
    let (block, size) = (Named(event.block), event.block_bytes(BLOCK_BYTES));
    match event.kind {
        Kind::Receiving => write!(out, "Receiving {POOL}:{block} src: /{peer}:{number} dest: /{node}:9866"),
        Kind::Received => {
            write!(out, "src: /{peer}:{number}, dest: /{node}:9866, ")?;
            client_trace(event, "HDFS_WRITE", out)
        }
        Kind::Served | Kind::ServingFailed => {
            write!(out, "src: /{node}:9866, dest: /{peer}:{number}, ")?;
            client_trace(event, "HDFS_READ", out)
        }
        Kind::ServingFailedTrace => {
            write!(
                out,
                "{}:Got exception while serving {POOL}:{block} to /{peer}:{number}",
                Registration(event.node)
            )
        }
        Kind::ResponderEnds => write!(out, "{} terminating", Responder(event)),
        Kind::ResponderFailed => write!(out, "{}", Responder(event)),
        Kind::ReceivedTransfer => {
            write!(out, "Received {POOL}:{block} src: /{peer}:{number} dest: /{node}:9866 of size {size}")
        }
        Kind::ReceiveFailed => write!(out, "Exception for {POOL}:{block}"),
        Kind::WriteFailed => write!(
            out,
            "opWriteBlock {POOL}:{block} received exception java.io.IOException: Premature EOF from inputStream"
        ),
        Kind::XceiverFailed => write!(
            out,
            "{}:9866:DataXceiver error processing WRITE_BLOCK operation  src: /{peer}:{number} dst: /{node}:9866",
            event.node
        ),
        Kind::SlowWrite => write!(
            out,
            "Slow BlockReceiver write packet to mirror took {}ms (threshold=300ms), downstream DNs=[{peer}:9866], \
             blockId={}, seqno={}",
            300 + number % 4_096,
            event.block,
            number % 1_024
        ),
        Kind::Transmitted => write!(
            out,
            "DataTransfer, at {}:9866: Transmitted {POOL}:{block} (numBytes={size}) to /{peer}:9866",
            event.node
        ),
        Kind::TransferFailed => {
            write!(out, "{}:Failed to transfer {POOL}:{block} to {peer}:9866 got", Registration(event.node))
        }
        Kind::TransferStarts => write!(
            out,
            "{} Starting thread to transfer {POOL}:{block} to {peer}:9866",
            Registration(event.node)
        ),
        Kind::DeleteScheduled | Kind::Deleting | Kind::DeleteFailed => delete(event, out),
        _ => of_the_node(event, out),
    }
}

fn delete(event: &Event, out: &mut Vec<u8>) -> io::Result<()> {
    let (block, size) = (Named(event.block), event.block_bytes(BLOCK_BYTES));
    let file = Replica(event.block);
    match event.kind {
        Kind::DeleteScheduled => write!(
            out,
            "Scheduling {block} replica FinalizedReplica, {block}, FINALIZED\n  \
             getNumBytes()     = {size}\n  \
             getBytesOnDisk()  = {size}\n  \
             getVisibleLength()= {size}\n  \
             getVolume()       = /data/{}/dfs\n  \
             getBlockURI()     = {file} for deletion",
            disk(event.block)
        ),
        Kind::DeleteFailed => {
            write!(out, "Unexpected error trying to delete block {POOL} {block} at file {file}. Ignored.")
        }
        _ => write!(out, "Deleted {POOL} {block} URI {file}"),
    }
}

/// What names no block.
fn of_the_node(event: &Event, out: &mut Vec<u8>) -> io::Result<()> {
    let number = event.number;
    match event.kind {
        Kind::Paused => write!(
            out,
            "Detected pause in JVM or host machine (eg GC): pause of approximately {0}ms\n\
             GC pool 'G1 Young Generation' had collection(s): count=1 time={0}ms",
            1_000 + number % 4_096
        ),
        Kind::LostContact => write!(
            out,
            "Problem connecting to server: {}/{}:8020",
            Cluster::NAME_NODE,
            Cluster::NAME_NODE.ip()
        ),
        _ => write!(
            out,
            "Successfully sent block report 0x{:x},  containing 1 storage report(s), of which we sent 1. The reports had \
             {} total blocks and used 1 RPC(s). This took {} msec to generate and {} msecs for RPC and NN processing. \
             Got back one command: FinalizeCommand/5.",
            u64::from(number) * 2_654_435_761,
            100_000 + u32::from(number % 997),
            number % 13,
            number % 89
        ),
    }
}

fn name_node(event: &Event, out: &mut Vec<u8>) -> io::Result<()> {
    let (peer, block, size) = (event.peer.ip(), Named(event.block), event.block_bytes(BLOCK_BYTES));
    match event.kind {
        Kind::Allocate => {
            let [first, second, third] = Cluster::REPLICAS.map(NodeId::ip);
            write!(
                out,
                "BLOCK* allocate {block}, replicas={first}:9866, {second}:9866, {third}:9866 for {}",
                Path(event.block)
            )
        }
        Kind::FileClosed => {
            write!(out, "DIR* completeFile: {} is closed by {}", Path(event.block), Client(event.block))
        }
        Kind::Invalidate => write!(out, "BLOCK* BlockManager: ask {peer}:9866 to delete [{block}]"),
        Kind::AskReplicate => {
            let source = Cluster::REPLICAS[0].ip();
            write!(out, "BLOCK* ask [{source}:9866] to replicate {block} to datanode(s) {peer}:9866")
        }
        Kind::StoredRedundant => write!(
            out,
            "BLOCK* addStoredBlock: Redundant addStoredBlock request received for {block} on node {peer}:9866 size {size}"
        ),
        Kind::StoredUnowned => write!(
            out,
            "BLOCK* addStoredBlock: {block} on {peer}:9866 size {size} but it does not belong to any file"
        ),
        Kind::ReplicationTimedOut => write!(out, "PendingReconstructionMonitor timed out {block}"),
        Kind::Stored => write!(out, "BLOCK* addStoredBlock: {peer}:9866 is added to {block} (size={size})"),
        _ => of_the_node(event, out),
    }
}

fn client_trace(event: &Event, operation: &str, out: &mut Vec<u8>) -> io::Result<()> {
    // Ten seconds at the most, most writes far below; odd, so that the digits vary.
    let duration_ns = u64::from(event.number) * u64::from(event.thread) * 37 + 1;
    write!(
        out,
        "bytes: {}, op: {operation}, cliID: {}, offset: 0, srvID: {}, blockid: {POOL}:{}, duration(ns): {duration_ns}",
        event.block_bytes(BLOCK_BYTES),
        Client(event.block),
        uuid(event.node),
        Named(event.block)
    )
}

fn disk(block: i64) -> i64 {
    block.rem_euclid(12) + 1
}

fn uuid(node: NodeId) -> &'static str {
    match node.0 {
        1 => "745584f6-db3e-4ce5-8f6e-4431a04ade9c",
        2 => "139ab23c-5247-463c-ada7-9477545c720b",
        3 => "7279896d-0ee7-4451-ba70-7379d8272b6a",
        _ => "558a8b95-8213-4cf4-913d-744173bf0ab0",
    }
}

/// A block with its generation stamp.
struct Named(i64);

impl fmt::Display for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamp = self.0.wrapping_sub(Dialect::FIRST_BLOCK).wrapping_add(Dialect::FIRST_STAMP);
        write!(out, "blk_{}_{stamp}", self.0)
    }
}

/// The file of a replica.
struct Replica(i64);

impl fmt::Display for Replica {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (upper, lower) = ((self.0 >> 16) & 31, (self.0 >> 8) & 31);
        let disk = disk(self.0);
        write!(
            out,
            "file:/data/{disk}/dfs/current/{POOL}/current/finalized/subdir{upper}/subdir{lower}/blk_{}",
            self.0
        )
    }
}

/// The file whose only block it is.
struct Path(i64);

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (job, part) = (self.0.rem_euclid(1_009), self.0.rem_euclid(100_000));
        write!(out, "/user/demo/job_{job}/part-r-{part:05}")
    }
}

/// The client that writes or reads the block.
struct Client(i64);

impl fmt::Display for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "DFSClient_NONMAPREDUCE_{}_1", self.0.wrapping_mul(48_271) % 2_147_483_647)
    }
}

/// A packet responder by its block and place in the pipeline: two nodes behind it, one or none.
struct Responder<'a>(&'a Event);

impl fmt::Display for Responder<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (event, others) = (self.0, Cluster::REPLICAS.map(NodeId::ip));
        write!(out, "PacketResponder: {POOL}:{}, type=", Named(event.block))?;
        let mut others = others.into_iter().filter(|&ip| ip != event.node.ip());
        match (event.number, others.next(), others.next()) {
            (1, Some(next), _) => write!(out, "HAS_DOWNSTREAM_IN_PIPELINE, downstreams=1:[{next}:9866]"),
            (2, Some(next), Some(last)) => {
                write!(out, "HAS_DOWNSTREAM_IN_PIPELINE, downstreams=2:[{next}:9866, {last}:9866]")
            }
            _ => out.write_str("LAST_IN_PIPELINE"),
        }
    }
}

/// How a DataNode speaks of itself.
struct Registration(NodeId);

impl fmt::Display for Registration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "DatanodeRegistration({}:9866, datanodeUuid={}, infoPort=9864, infoSecurePort=0, ipcPort=9867, \
             storageInfo=lv=-57;cid=CID-5d0f5c1e-8a0c-4f1e-9c5b-2f6c0b5b7d11;nsid=1093274151;c=1769000000000)",
            self.0.ip(),
            uuid(self.0)
        )
    }
}
