#!/usr/bin/env python3
"""Finds abnormal blocks in old logs on a Spark cluster: shuffles records by block, pipes each partition through `blocksift-agent
detect -`, and writes the reports as NDJSON.

    spark-submit --files blocksift-agent detect.py --zone Europe/Berlin --output hdfs:///tmp/reports 'hdfs:///logs/*/*.log*'

The flagged sessions are those of one `detect` over the same files. A record (a line with its continuation lines) stays whole; one
that names several blocks goes to each partition that has one of them, and there only the partition's own blocks are reported.
Records keep the order that one run reads them in: files by the time of their first record, then by offset. So events of
one time keep their order; putting late ones in their place is left to the detector.
"""

import argparse
import contextlib
import gzip
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import zlib
from bisect import bisect_right

# Heads of log4j (ISO), of HDFS_v1 and of Hadoop's console layout: time, then a level on the same line.
TIME = rb"(?:\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[.,]?\d*|\d{6} \d{6}|\d\d/\d\d/\d\d \d\d:\d\d:\d\d)"
HEAD = TIME + rb"[^\n]*?\b(?:TRACE|DEBUG|INFO|WARN|ERROR|FATAL)\b"
# More than the detector takes as keys does no harm: it is routed, and not reported.
BLOCK = re.compile(rb"(?:blk_|[bB]lockId=)(-?\d+)")
# detect: 0 nothing is flagged, 1 something is.
GOOD = (0, 1)
COUNTS = ("records", "records_without_block", "lines_without_head", "flagged")


def arguments(given=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("logs", nargs="+", help="files or globs that Spark reads, plain or .gz")
    parser.add_argument("--output", required=True, help="folder for the reports, not there yet")
    parser.add_argument("--agent", default="blocksift-agent", help="path on the executors, or the name of a file of --files")
    parser.add_argument("--model", default="hadoop3", help="hadoop3, hdfs-v1, or a file as with --agent; one for all partitions")
    parser.add_argument("--zone", default="UTC", help="of log times that carry none")
    parser.add_argument("--sessions", choices=("joined", "node"), default="joined",
                        help="a block over all files, as one `detect` of them; or on each node, as one `detect` a node")
    parser.add_argument("--node", default="spark", help="node that joined reports carry")
    parser.add_argument("--node-of", default=r"([^/]+)/[^/]+$", help="where a file's path names its node [default: its folder]")
    parser.add_argument("--partitions", type=int, default=0, help="default: Spark's")
    parser.add_argument("--head", help="start of a line that starts a record, for other layouts; files are then read by their names")
    return parser.parse_args(given)


def records(data, head):
    """Each record's offset and bytes, up to its line end; and the lines in front of the first, which belong to none."""
    starts = [match.start() for match in head.finditer(data)]
    ends = starts[1:] + [len(data)]
    return data[: starts[0] if starts else len(data)].count(b"\n"), [
        (start, data[start:end].rstrip(b"\n") + b"\n") for start, end in zip(starts, ends)]


def first_time(record):
    """Digits of the first time of a file, comparable between layouts: years of two digits are of this century."""
    stamp = re.match(TIME, record).group()
    digits = re.sub(rb"\D", b"", stamp)
    year_is_short = re.match(rb"\d{6} |\d\d/", stamp)
    return (b"20" + digits if year_is_short else digits)[:17].ljust(17, b"0")


def owner(node, block, partitions):
    """The partition of a session; equal on every executor."""
    return zlib.crc32(b"%s %d" % (node.encode(), block)) % partitions


def routed(file, options, partitions, counts):
    """A file's records with their place: partition, node, order of the file, path, offset."""
    path, data = file
    if path.endswith(".gz"):
        data = gzip.decompress(data)
    node = node_of(path, options)
    loose, found = records(data, re.compile(b"^" + (options.head.encode() if options.head else HEAD), re.MULTILINE))
    counts["lines_without_head"].add(loose)
    order = first_time(found[0][1]) if found and not options.head else b""
    for offset, record in found:
        blocks = {int(digits) for digits in BLOCK.findall(record)}
        counts["records"].add(1)
        if not blocks:
            counts["records_without_block"].add(1)
        for partition in {owner(node, block, partitions) for block in blocks}:
            yield (partition, node, order, path, offset), record


def node_of(path, options):
    if options.sessions == "joined":
        return options.node
    found = re.search(options.node_of, path)
    if not found:
        raise ValueError(f"{path}: --node-of finds no node in it")
    return found.group(1)


def detected(partition, placed, options, partitions, counts):
    """Reports of a partition's sessions, one process a node. `placed` is sorted."""
    for node, group in itertools.groupby(placed, key=lambda entry: entry[0][1]):
        starts, origins, sent = [], [], 0
        with tempfile.TemporaryFile() as said:
            command = [executable(options.agent), "detect", "--quiet", "--model", executable(options.model), "--node", node,
                       "--zone", options.zone, "-"]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said) as agent:
                # It answers when it has read everything, so one after the other cannot block.
                try:
                    for (_, _, _, path, offset), record in group:
                        starts.append(sent)
                        origins.append((path, offset))
                        agent.stdin.write(record)
                        sent += len(record)
                except BrokenPipeError:
                    pass  # Its exit code tells why.
                with contextlib.suppress(BrokenPipeError):
                    agent.stdin.close()
                reports = [json.loads(line) for line in agent.stdout]
            if agent.returncode not in GOOD:
                said.seek(0)
                raise RuntimeError(f"{command[0]} ended with {agent.returncode}: {said.read()[-2000:].decode(errors='replace')}")
        for report in reports:
            if owner(node, int(report["block"].removeprefix("blk_")), partitions) != partition:
                continue
            for event in report["events"]:
                origin(event, starts, origins)
            counts["flagged"].add(1)
            yield json.dumps(report, ensure_ascii=False)


def origin(event, starts, origins):
    """What is an offset in the pipe becomes a file and an offset there."""
    if event.get("offset") is None:
        return
    at = bisect_right(starts, event["offset"]) - 1
    path, offset = origins[at]
    event["file"], event["offset"] = path, offset + event["offset"] - starts[at]


def executable(name):
    """A path as it is; a name, if Spark brought a file of that name."""
    from pyspark import SparkFiles
    brought = SparkFiles.get(name)
    return brought if "/" not in name and os.path.exists(brought) else name


def run(context, options):
    """Writes the reports; returns how many records there were and what became of them."""
    counts = {name: context.accumulator(0) for name in COUNTS}
    partitions = options.partitions or context.defaultParallelism
    files = context.binaryFiles(",".join(options.logs), minPartitions=context.defaultParallelism)
    placed = files.flatMap(lambda file: routed(file, options, partitions, counts))
    in_order = placed.repartitionAndSortWithinPartitions(partitions, partitionFunc=lambda key: key[0])
    reports = in_order.mapPartitionsWithIndex(lambda at, entries: detected(at, entries, options, partitions, counts))
    reports.saveAsTextFile(options.output)
    return {name: count.value for name, count in counts.items()}


def main():
    from pyspark import SparkContext
    options = arguments()
    context = SparkContext(appName="blocksift detect")
    # Spark counts what a task did again twice.
    print(json.dumps(run(context, options)), file=sys.stderr)
    context.stop()


if __name__ == "__main__":
    main()
