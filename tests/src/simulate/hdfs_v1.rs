//! The text of Hadoop in 2008, as HDFS_v1 has it: `yyMMdd HHmmss thread LEVEL logger: message`.

use std::io::{self, Write};

use super::event::{Event, Kind};

/// Bytes of a full block.
const BLOCK_BYTES: u64 = 67_108_864;

/// Appends the lines of `event`; `second` is its time as the line head has it.
pub(super) fn record(event: &Event, second: &str, out: &mut Vec<u8>) -> io::Result<()> {
    write!(out, "{second} {} {}: ", event.thread, head(event.kind))?;
    message(event, out)?;
    out.push(b'\n');
    if matches!(event.kind, Kind::ServingFailedTrace | Kind::LostContact) {
        out.extend_from_slice(TRACE);
    }
    Ok(())
}

/// Level and logger.
fn head(kind: Kind) -> &'static str {
    match kind {
        Kind::Verified => "INFO dfs.DataBlockScanner",
        Kind::Served | Kind::Receiving | Kind::ReceivedTransfer | Kind::WriteFailed => {
            "INFO dfs.DataNode$DataXceiver"
        }
        Kind::ServingFailed | Kind::ServingFailedTrace => "WARN dfs.DataNode$DataXceiver",
        Kind::Received | Kind::ResponderFailed | Kind::ResponderEnds => "INFO dfs.DataNode$PacketResponder",
        Kind::EmptyPacket | Kind::ReceiveFailed => "INFO dfs.DataNode$BlockReceiver",
        Kind::Transmitted => "INFO dfs.DataNode$DataTransfer",
        Kind::TransferFailed => "WARN dfs.DataNode$DataTransfer",
        Kind::TransferStarts | Kind::Housekeeping => "INFO dfs.DataNode",
        Kind::LostContact => "WARN dfs.DataNode",
        Kind::DeleteFailed => "WARN dfs.FSDataset",
        Kind::Deleting => "INFO dfs.FSDataset",
        Kind::StoredRedundant => "WARN dfs.FSNamesystem",
        Kind::ReplicationTimedOut => "WARN dfs.PendingReplicationBlocks",
        _ => "INFO dfs.FSNamesystem",
    }
}

/// Continuation lines of an exception.
const TRACE: &[u8] =
    b"java.net.SocketTimeoutException: 480000 millis timeout while waiting for channel to be ready for write
\tat org.apache.hadoop.net.SocketIOWithTimeout.waitForIO(SocketIOWithTimeout.java:185)
\tat org.apache.hadoop.net.SocketOutputStream.write(SocketOutputStream.java:198)
\tat java.lang.Thread.run(Thread.java:619)
";

fn message(event: &Event, out: &mut Vec<u8>) -> io::Result<()> {
    let Event { block, number, .. } = *event;
    let (node, peer) = (event.node.ip(), event.peer.ip());
    let size = event.block_bytes(BLOCK_BYTES);
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
