/* Clients of the cluster: `mix` puts a seeded mix of operations on it at a set rate, `serve` does what the injector of
   faults tells it on standard input, one command a line, one answer a line. What a client does is on standard output;
   what its DFSClient says is in its log, which no node has. */

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.client.HdfsDataOutputStream;
import org.apache.hadoop.hdfs.protocol.DatanodeInfo;
import org.apache.hadoop.hdfs.protocol.HdfsConstants.DatanodeReportType;
import org.apache.hadoop.hdfs.protocol.LocatedBlock;

public class Load {
    static final int BLOCK = 1 << 20;
    static DistributedFileSystem dfs;

    public static void main(String[] args) throws Exception {
        Configuration conf = new Configuration();
        conf.addResource("hdfs-site.xml");
        // `serve RETRIES`: how often it tries to reach a NameNode that is away.
        if (args[0].equals("serve") && args.length > 1) conf.set("ipc.client.connect.max.retries", args[1]);
        dfs = (DistributedFileSystem) FileSystem.newInstance(conf);
        if (args[0].equals("mix")) {
            mix(Integer.parseInt(args[1]), Long.parseLong(args[2]), Double.parseDouble(args[3]), Long.parseLong(args[4]));
        } else {
            serve();
        }
    }

    // ---- the mix

    /** Operations of client `id` for `seconds`, or until the input ends, `rate` a second in the mean. */
    static void mix(int id, long seed, double rate, long seconds) throws Exception {
        Random random = new Random(seed * 1_000_003 + id);
        List<Path> files = new ArrayList<>();
        int[] done = new int[2];
        int made = 0;
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        double due = System.nanoTime();
        AtomicInteger stop = new AtomicInteger();
        Thread input = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {}
            } catch (IOException error) {
                // As good as its end.
            }
            stop.set(1);
        });
        input.setDaemon(true);
        input.start();
        say("mixing");
        while (System.nanoTime() < end && stop.get() == 0) {
            // Gaps between operations are exponential, as those of many independent users are.
            due += -Math.log(1 - random.nextDouble()) / rate * 1e9;
            long wait = (long) (due - System.nanoTime());
            if (wait > 0) Thread.sleep(wait / 1_000_000, (int) (wait % 1_000_000));
            else if (wait < -5_000_000_000L) due = System.nanoTime();
            int what = files.size() < 8 ? 0 : random.nextInt(100);
            try {
                if (what < 34) {
                    Path path = new Path("/load/" + id + "/" + made % 16 + "/file-" + made++);
                    create(path, size(random), random.nextInt(10) == 0 ? 2 : 3, random.nextInt(4) == 0);
                    files.add(path);
                } else if (what == 34) {
                    writeSlowly(new Path("/load/" + id + "/" + made % 16 + "/slow-" + made++), random, stop);
                } else {
                    operate(random, what, files, id, made);
                }
                done[0]++;
            } catch (IOException | RuntimeException error) {
                done[1]++;
            }
        }
        stop.set(1);
        for (Thread writer : writers) writer.join();
        say("mixed " + done[0] + " failed " + done[1]);
        dfs.close();
    }

    /** A file that stays open for long, as that of a log or a journal: at most four of them at a time. */
    static void writeSlowly(Path path, Random random, AtomicInteger stop) {
        writers.removeIf(writer -> !writer.isAlive());
        if (writers.size() >= 4) return;
        long end = System.nanoTime() + (2 + random.nextInt(40)) * 1_000_000_000L;
        int bytes = 500 + random.nextInt(16_000);
        Thread writer = new Thread(() -> {
            byte[] chunk = new byte[bytes];
            try (FSDataOutputStream out = dfs.create(path, true, 65_536, (short) 3, BLOCK)) {
                while (System.nanoTime() < end && stop.get() == 0) {
                    out.write(chunk);
                    out.hflush();
                    Thread.sleep(150);
                }
            } catch (IOException | InterruptedException error) {
                // A fault; its log says so.
            }
        });
        writer.setDaemon(true);
        writer.start();
        writers.add(writer);
    }

    static void operate(Random random, int what, List<Path> files, int id, int made) throws IOException {
        int at = random.nextInt(files.size());
        Path path = files.get(at);
        if (what < 44) {
            try (FSDataOutputStream out = dfs.append(path)) {
                write(out, 1 + random.nextInt(100_000), random.nextInt(3) == 0);
            }
        } else if (what < 68) {
            read(path, 0, Long.MAX_VALUE);
        } else if (what < 78) {
            long length = dfs.getFileStatus(path).getLen();
            long from = (long) (random.nextDouble() * length);
            read(path, from, 1 + random.nextInt(20_000));
        } else if (what < 84) {
            Path to = new Path("/load/" + id + "/renamed-" + made + "-" + at);
            dfs.mkdirs(to.getParent());
            if (dfs.rename(path, to)) files.set(at, to);
        } else if (what < 89) {
            dfs.setReplication(path, (short) (2 + random.nextInt(3)));
        } else if (what < 98) {
            files.remove(at);
            dfs.delete(path, false);
        } else {
            dfs.listStatus(path.getParent());
        }
    }

    /** Most files are small, a few have many blocks. */
    static long size(Random random) {
        int kind = random.nextInt(40);
        if (kind == 0) return 6L * BLOCK + random.nextInt(4 * BLOCK);
        if (kind < 8) return BLOCK + random.nextInt(2 * BLOCK);
        return 200 + random.nextInt(300_000);
    }

    static void create(Path path, long bytes, int replication, boolean flush) throws IOException {
        try (FSDataOutputStream out = dfs.create(path, true, 65_536, (short) replication, BLOCK)) {
            write(out, bytes, flush);
        }
    }

    static void write(FSDataOutputStream out, long bytes, boolean flush) throws IOException {
        byte[] chunk = new byte[32_768];
        new Random(bytes).nextBytes(chunk);
        for (long left = bytes; left > 0; left -= chunk.length) {
            out.write(chunk, 0, (int) Math.min(left, chunk.length));
            if (flush) out.hflush();
        }
    }

    static void read(Path path, long from, long bytes) throws IOException {
        byte[] chunk = new byte[65_536];
        try (FSDataInputStream in = dfs.open(path)) {
            in.seek(from);
            for (long left = bytes; left > 0; ) {
                int got = in.read(chunk, 0, (int) Math.min(left, chunk.length));
                if (got < 0) return;
                left -= got;
            }
        }
    }

    // ---- the injector's client

    static final List<Thread> writers = new ArrayList<>();
    /** Longest wait for files to be begun or closed: the cluster is short of nodes or streams, and clients try for long. */
    static final long PATIENCE_MS = 100_000;

    static void serve() throws Exception {
        say("serving");
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = commands.readLine()) != null; ) {
            String[] words = line.trim().split(" +");
            try {
                say(answer(words));
            } catch (IOException error) {
                String why = String.valueOf(error.getMessage()).split("\n")[0];
                say("failed " + error.getClass().getSimpleName() + " " + why);
            }
        }
        // No goodbye to open files: whoever closes the input wants them as they are.
        Runtime.getRuntime().halt(0);
    }

    static String answer(String[] words) throws Exception {
        Path path = new Path(words[1]);
        switch (words[0]) {
            case "create": // PATH BYTES DATANODE
                try (FSDataOutputStream out = favoured(path, words[3])) {
                    write(out, Long.parseLong(words[2]), false);
                }
                return "created " + blocks(path);
            case "read": { // PATH TIMES
                int failed = 0;
                for (int time = 0; time < Integer.parseInt(words[2]); time++) {
                    try {
                        read(path, 0, Long.MAX_VALUE);
                    } catch (IOException error) {
                        failed++;
                    }
                }
                return "read failed=" + failed;
            }
            case "hold": // PATH FILES SECONDS DATANODE
                return hold(path, Integer.parseInt(words[2]), Integer.parseInt(words[3]), words[4]);
            case "wait": { // PATH: until what is held is closed, or nobody waits any longer for it
                long end = System.nanoTime() + PATIENCE_MS * 1_000_000L;
                for (Thread writer : writers) writer.join(Math.max(1, (end - System.nanoTime()) / 1_000_000));
                writers.clear();
                return "waited";
            }
            case "recover": { // PATH
                for (int time = 0; time < 100; time++) {
                    if (dfs.recoverLease(path)) return "recovered " + blocks(path);
                    Thread.sleep(200);
                }
                return "failed to recover " + path;
            }
            case "nodes": // PATH COUNT: waits until so many DataNodes are live
                for (int time = 0; time < 1_500; time++) {
                    int live = 0;
                    try {
                        if (!dfs.isInSafeMode()) live = dfs.getDataNodeStats(DatanodeReportType.LIVE).length;
                    } catch (IOException error) {
                        // Not up yet.
                    }
                    if (live >= Integer.parseInt(words[2])) return "nodes " + live;
                    Thread.sleep(200);
                }
                return "failed to see " + words[2] + " DataNodes";
            case "measure": { // PATH FILES BYTES RATE: files written one after the other; microseconds that each took
                StringBuilder took = new StringBuilder();
                double due = System.nanoTime();
                for (int file = 0; file < Integer.parseInt(words[2]); file++) {
                    due += 1e9 / Double.parseDouble(words[4]);
                    long wait = (long) (due - System.nanoTime());
                    if (wait > 0) Thread.sleep(wait / 1_000_000);
                    else due = System.nanoTime();
                    long begin = System.nanoTime();
                    create(new Path(path, "file-" + file), Long.parseLong(words[3]), 3, false);
                    took.append(took.length() > 0 ? "," : "").append((System.nanoTime() - begin) / 1_000);
                }
                dfs.delete(path, true);
                return "measured " + took;
            }
            case "policy": // PATH POLICY: where its blocks belong
                dfs.setStoragePolicy(path, words[2]);
                return "policy " + words[2];
            case "refresh": // PATH: the NameNode reads which DataNodes are excluded
                dfs.refreshNodes();
                return "refreshed";
            case "state": { // PATH PORT STATE: waits until the DataNode is decommissioned, or normal
                for (int time = 0; time < 600; time++) {
                    for (DatanodeInfo node : dfs.getDataNodeStats(DatanodeReportType.ALL)) {
                        String state = node.isDecommissioned() ? "decommissioned" : node.isDecommissionInProgress() ? "leaving" : "normal";
                        if (node.getXferPort() == Integer.parseInt(words[2]) && state.equals(words[3])) return "state " + state;
                    }
                    Thread.sleep(200);
                }
                return "failed to see " + words[2] + " " + words[3];
            }
            default:
                return "failed to know " + words[0];
        }
    }

    /** A file whose blocks have a replica on the DataNode. */
    static FSDataOutputStream favoured(Path path, String datanode) throws IOException {
        String[] parts = datanode.split(":");
        InetSocketAddress[] nodes = {new InetSocketAddress(parts[0], Integer.parseInt(parts[1]))};
        return dfs.create(path, FsPermission.getFileDefault(), true, 65_536, (short) 3, BLOCK, null, nodes);
    }

    /** Writes `files` files slowly, each on a thread; answers once each has bytes on its DataNodes. */
    static String hold(Path folder, int files, int seconds, String datanode) throws Exception {
        CountDownLatch begun = new CountDownLatch(files);
        AtomicInteger failed = new AtomicInteger();
        for (int file = 0; file < files; file++) {
            Path path = new Path(folder, "held-" + file);
            Thread writer = new Thread(() -> {
                boolean counted = false;
                byte[] chunk = new byte[16_384];
                long end = System.nanoTime() + seconds * 1_000_000_000L;
                try (FSDataOutputStream out = favoured(path, datanode)) {
                    while (System.nanoTime() < end) {
                        out.write(chunk);
                        ((HdfsDataOutputStream) out).hsync(EnumSet.of(HdfsDataOutputStream.SyncFlag.UPDATE_LENGTH));
                        if (!counted) begun.countDown();
                        counted = true;
                        Thread.sleep(150);
                    }
                } catch (IOException | InterruptedException error) {
                    failed.incrementAndGet();
                }
                if (!counted) begun.countDown();
            });
            writer.setDaemon(true);
            writer.start();
            writers.add(writer);
        }
        begun.await(PATIENCE_MS, TimeUnit.MILLISECONDS);
        StringBuilder blocks = new StringBuilder();
        for (int file = 0; file < files; file++) {
            try {
                String some = blocks(new Path(folder, "held-" + file));
                if (!some.isEmpty()) blocks.append(blocks.length() > 0 ? "," : "").append(some);
            } catch (IOException error) {
                // It could not be made.
            }
        }
        return "holding " + blocks + " failed=" + failed.get();
    }

    /** Numbers of the file's blocks, the one being written included. */
    static String blocks(Path path) throws IOException {
        StringBuilder blocks = new StringBuilder();
        for (LocatedBlock block : dfs.getClient().getLocatedBlocks(path.toUri().getPath(), 0).getLocatedBlocks()) {
            blocks.append(blocks.length() > 0 ? "," : "").append(block.getBlock().getBlockId());
        }
        return blocks.toString();
    }

    static synchronized void say(String what) {
        System.out.println(what);
    }
}
