"""Drain3 (https://pypi.org/project/drain3) on a log, with the masks that blocksift's miner has by default.

    python3 run.py LOG [SIMILARITY]

Prints one JSON object: lines, CPU seconds of masking and mining them, lines per CPU second, templates, and the
grouping accuracy, null without a `templates.csv` beside the log. SIMILARITY is Drain3's `sim_th`, .4 by default, as it
is there. The truth of a line is the template of `templates.csv` whose constants it has in their order, from its start to
its end; where several fit, the one with most of them. A line's group is the one it ends up in, since Drain3's texts
become vaguer while it reads.
"""

import collections
import csv
import gzip
import json
import logging
import os
import re
import sys
import time

from drain3 import TemplateMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig

# detector/src/miner/mask.rs, `Mask::defaults`.
MASKS = [
    ("blk", r"(?:BP-[\w.-]+:)?blk_-?\d+(?:_\d+)?"),
    ("node", r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?"),
    ("path", r"(?:\bfile:)?/[^\s,;:()\[\]]+"),
    ("*", r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}\b"),
    ("*", r"\bBP-[\w.-]+|\w+_-?\d+\w*|\b0x[0-9a-fA-F]+"),
    ("n", r"-?\d+"),
]
HEADS = [
    re.compile(r"\d{6} \d{6} \d+ [A-Z]+ [^ ]+: "),
    re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[,.]\d{3} (?:\[[^\]]*\] )?[A-Z]+ +(?:\[[^\]]*\] )?[^ ]+: "),
]
WILDCARD = re.compile(r"<blk> <blk> \.\.\.|<[a-z]+>:<port>|<[a-z]+>|<\*>")


def messages(path):
    """What follows the head of each line that has one."""
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8", errors="replace") as log:
        for line in log:
            head = next(filter(None, (head.match(line) for head in HEADS)), None)
            if head:
                yield line[head.end():].strip()


def truth(path):
    """A function from messages to keys, or None."""
    table = os.path.join(os.path.dirname(os.path.abspath(path)), "templates.csv")
    if not os.path.exists(table):
        return None
    with open(table, newline="", encoding="utf-8") as rows:
        rows = [(row["key"], WILDCARD.split(row["template"])) for row in csv.DictReader(rows)]
    rows.sort(key=lambda row: -sum(map(len, row[1])))
    known = [(key, re.compile(".*".join(map(re.escape, parts)) + r"\Z", re.S)) for key, parts in rows]
    return lambda message: next((key for key, regex in known if regex.match(message)), "none")


def accuracy(groups, keys):
    """Share of lines whose group has all lines of their key and no other (Zhu et al., ICSE-SEIP 2019)."""
    both, group, key = collections.Counter(zip(groups, keys)), collections.Counter(groups), collections.Counter(keys)
    exact = sum(n for (g, k), n in both.items() if group[g] == n == key[k])
    return exact / len(keys) if keys else None


def main():
    logging.disable(logging.CRITICAL)
    path = sys.argv[1]
    config = TemplateMinerConfig()
    config.masking_instructions = [MaskingInstruction(regex, name) for name, regex in MASKS]
    config.drain_sim_th = float(sys.argv[2]) if len(sys.argv) > 2 else 0.4
    miner = TemplateMiner(config=config)
    lines = list(messages(path))
    start = time.process_time()
    groups = [miner.add_log_message(line)["cluster_id"] for line in lines]
    seconds = time.process_time() - start
    key = truth(path)
    print(
        json.dumps(
            {
                "lines": len(lines),
                "cpu_seconds": seconds,
                "lines_per_cpu_second": len(lines) / seconds if seconds else None,
                "templates": len(miner.drain.clusters),
                "grouping_accuracy": accuracy(groups, [key(line) for line in lines]) if key else None,
            }
        )
    )


if __name__ == "__main__":
    main()
