#!/usr/bin/python3 -IS
# /// bench
# title   = "makes, looks up and removes empty files without end"
# area    = "aggressor"
# needs   = ["python3"]
# args    = {before=3.0, during=3.0, after=3.0, alone=0.0, settle=0.5, window=1.0, cpu=-1}
# [metrics]
# "aggressor.on" = { unit = "1" }
# "aggressor.off" = { unit = "1" }
# "aggressor.rate" = { unit = "1/s", better = "higher" }
# "aggressor.killed" = { unit = "1" }
# "placement.pinned" = { unit = "1" }
# ///
"""An aggressor on the file system's names: it makes empty files, looks them up, and removes them, at most
4000 at a time."""

import os
import sys

sys.dont_write_bytecode = True  # the programs may lie on a read-only mount, or in somebody's checkout
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _storm import arguments, carry_out  # noqa: E402

COUNT = 4000
HERE = os.path.join(os.environ.get("BENCH_SCRATCH", "."), "aggressor.names")


def flood():
    os.makedirs(HERE, exist_ok=True)
    while True:
        for i in range(COUNT):
            os.close(os.open(f"{HERE}/{i}", os.O_WRONLY | os.O_CREAT, 0o600))
            yield 1
        for i in range(COUNT):
            os.path.exists(f"{HERE}/{i}.not")
        for i in range(COUNT):
            os.unlink(f"{HERE}/{i}")


def clean():
    if os.path.isdir(HERE):
        for name in os.listdir(HERE):
            os.unlink(os.path.join(HERE, name))
        os.rmdir(HERE)


if __name__ == "__main__":
    args = arguments({
        "before": 3.0, "during": 3.0, "after": 3.0, "alone": 0.0, "settle": 0.5, "window": 1.0,
        "cpu": -1,
    })  # fmt: skip
    carry_out(args, [flood], "files made", clean)
