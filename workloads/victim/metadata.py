#!/usr/bin/python3 -IS
# /// bench
# title   = "making, looking up and removing a file"
# area    = "victim"
# needs   = ["python3"]
# args    = {before=3.0, during=3.0, after=3.0, alone=0.0, settle=0.5, window=1.0, load=0.5, cpu=-1}
# [metrics]
# "victim.target" = { unit = "1/s" }
# "victim.rate" = { unit = "1/s", better = "higher" }
# "victim.p50" = { unit = "s", better = "lower" }
# "victim.p99" = { unit = "s", better = "lower" }
# "victim.max" = { unit = "s", better = "lower" }
# "victim.latency.p50" = { unit = "s", better = "lower" }
# "victim.latency.p99" = { unit = "s", better = "lower" }
# "victim.done" = { unit = "1", better = "higher" }
# "placement.pinned" = { unit = "1" }
# ///
"""A victim on the file system's names: one item makes an empty file, looks it up, and removes it, twenty
times."""

import os
import sys

sys.dont_write_bytecode = True  # the programs may lie on a read-only mount, or in somebody's checkout
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _openloop import arguments, end_on_signals, serve  # noqa: E402

HERE = os.path.join(os.environ.get("BENCH_SCRATCH", "."), "victim.name")


FILES = 20


def item():
    for _ in range(FILES):
        os.close(os.open(HERE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.stat(HERE)
        os.unlink(HERE)


if __name__ == "__main__":
    end_on_signals()
    serve(arguments({
        "before": 3.0, "during": 3.0, "after": 3.0, "alone": 0.0, "settle": 0.5, "window": 1.0, "load": 0.5,
        "cpu": -1,
    }), item)  # fmt: skip
