#!/usr/bin/python3 -IS
# /// bench
# title   = "writes through the page cache, and syncs without end"
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
"""An aggressor on the trial's disk: one process writes a file through the page cache again and again,
another appends 4 KiB and syncs. The file is bounded, and goes with the phase."""

import contextlib
import os
import sys

sys.dont_write_bytecode = True  # the programs may lie on a read-only mount, or in somebody's checkout
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _storm import arguments, carry_out  # noqa: E402

STEP = 1 << 20  # bytes
SIZE = 192 << 20
BLOCK = 4096
PATTERN = os.urandom(STEP)
SCRATCH = os.environ.get("BENCH_SCRATCH", ".")
FILES = [os.path.join(SCRATCH, name) for name in ("aggressor.stream", "aggressor.sync")]


def stream():
    fd = os.open(FILES[0], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    while True:
        for offset in range(0, SIZE, STEP):
            yield os.pwrite(fd, PATTERN, offset)


def sync():
    fd = os.open(FILES[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    while True:
        for offset in range(0, STEP, BLOCK):
            os.pwrite(fd, PATTERN[:BLOCK], offset)
            os.fsync(fd)
            yield BLOCK


def clean():
    for name in FILES:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


if __name__ == "__main__":
    args = arguments({
        "before": 3.0, "during": 3.0, "after": 3.0, "alone": 0.0, "settle": 0.5, "window": 1.0,
        "cpu": -1,
    })  # fmt: skip
    carry_out(args, [stream, sync], "bytes written", clean)
