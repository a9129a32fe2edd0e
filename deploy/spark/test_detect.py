#!/usr/bin/env python3
"""Runs the job on local[2] over the logs of a real cluster in tests/data, and compares its reports with those of single runs.

Takes pyspark, zstd and, in BLOCKSIFT_AGENT, an agent; without them it is skipped, and says so.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import detect

LOGS = Path(__file__).resolve().parents[2] / "tests/data/hadoop3/11"
AGENT = os.environ.get("BLOCKSIFT_AGENT")
LOG = b"""\tat of.a.File(before.java:1)
2026-11-27 09:07:33,055 INFO a.B: Receiving BP-1-h-2:blk_1_1 src
\tat some.Frame(A.java:1) blk_2
26/11/27 09:07:34 WARN a.B: blockId=-3 INFO
261127 090735 12 ERROR a.B: nothing"""


class Pieces(unittest.TestCase):
    def test_a_record_keeps_its_further_lines(self):
        loose, found = detect.records(LOG, detect.re.compile(b"^" + detect.HEAD, detect.re.MULTILINE))
        self.assertEqual(loose, 1)
        self.assertEqual([offset for offset, _ in found], [LOG.index(b"2026"), LOG.index(b"26/11"), LOG.index(b"261127")])
        self.assertEqual(b"".join(record for _, record in found), LOG[LOG.index(b"2026"):] + b"\n")

    def test_times_of_all_layouts_compare(self):
        times = [detect.first_time(line) for line in (LOG.splitlines()[at] for at in (1, 3, 4))]
        self.assertEqual(times, [b"20261127090733055", b"20261127090734000", b"20261127090735000"])

    def test_a_record_goes_to_each_of_its_blocks(self):
        counts = {name: Counter() for name in detect.COUNTS}
        options = detect.arguments(["logs", "--output", "out"])
        placed = list(detect.routed(("file:/dn1/a.log", LOG), options, 100, counts))
        wanted = {detect.owner("spark", block, 100) for block in (1, 2)}
        self.assertEqual({key[0] for key, record in placed if b"blk_1_" in record}, wanted)
        self.assertEqual(counts["records_without_block"].value, 1)


class Counter:
    value = 0

    def add(self, number):
        self.value += number


class Job(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        missing = [what for what, there in (("BLOCKSIFT_AGENT", AGENT), ("zstd", shutil.which("zstd"))) if not there]
        try:
            from pyspark import SparkContext
        except ImportError:
            missing.append("pyspark (pip install pyspark)")
        if missing:
            raise unittest.SkipTest(f"SKIPPED, absent: {', '.join(missing)}")
        cls.held = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.held.cleanup)
        cls.folder = Path(cls.held.name)
        cls.files = []
        for packed in sorted(LOGS.glob("*.log.zst")):
            node = packed.name.removesuffix(".log.zst")
            file = cls.folder / node / f"{node}.log"
            file.parent.mkdir()
            subprocess.run(["zstd", "--decompress", "--quiet", packed, "-o", file], check=True)
            cls.files.append(file)
        # One of them as it lies in an archive.
        subprocess.run(["gzip", cls.files[0]], check=True)
        cls.files[0] = cls.files[0].with_suffix(".log.gz")
        os.environ["PYSPARK_PYTHON"] = sys.executable
        # Here the job is a module, which the workers import.
        cls.context = SparkContext("local[2]", "test_detect", pyFiles=[detect.__file__])
        cls.addClassCleanup(cls.context.stop)

    def single(self, node, files):
        """Reports of one run, in the words of the job's."""
        out = self.folder / "single.ndjson"
        told = subprocess.run([AGENT, "detect", "--quiet", "--model", "hadoop3", "--zone", "UTC", "--node", node, "--output", out, *files])
        self.assertIn(told.returncode, detect.GOOD)
        reports = [json.loads(line) for line in out.read_text().splitlines()]
        for report in reports:
            for event in report["events"]:
                event["file"] = f"file:{event['file']}"
        return reports

    def job(self, output, *more):
        given = [f"{self.folder}/*/*.log*", "--agent", AGENT, "--output", str(self.folder / output), *more]
        counts = detect.run(self.context, detect.arguments(given))
        reports = [json.loads(line) for part in (self.folder / output).glob("part-*") for line in part.read_text().splitlines()]
        self.assertEqual(counts["flagged"], len(reports))
        return reports

    def compare(self, found, wanted):
        order = lambda report: (report["node"], report["block"], report["pool"])
        self.assertGreater(len(wanted), 100)
        self.assertEqual([order(report) for report in sorted(found, key=order)], [order(report) for report in sorted(wanted, key=order)])
        for one, other in zip(sorted(found, key=order), sorted(wanted, key=order)):
            self.assertEqual(one, other)

    def test_joined_reports_are_those_of_one_run(self):
        self.compare(self.job("joined", "--partitions", "7"), self.single("spark", self.files))

    def test_reports_by_node_are_those_of_a_run_on_each(self):
        wanted = [report for file in self.files for report in self.single(file.parent.name, [file])]
        self.compare(self.job("node", "--partitions", "3", "--sessions", "node"), wanted)

    def test_an_agent_that_fails_fails_the_job(self):
        with self.assertRaisesRegex(Exception, "no-such-zone"):
            self.job("fails", "--zone", "no-such-zone")


if __name__ == "__main__":
    unittest.main(verbosity=2)
