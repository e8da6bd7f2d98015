#!/usr/bin/python3 -IS
# /// bench
# title   = "takes memory until it is killed, and begins again"
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
"""An aggressor that takes memory page by page and keeps it, until the kernel kills it; then it begins
again."""

import mmap
import os
import sys

sys.dont_write_bytecode = True  # the programs may lie on a read-only mount, or in somebody's checkout
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _storm import arguments, carry_out  # noqa: E402

STEP = 1 << 20  # bytes
PATTERN = b"\xa5" * STEP


def take():
    held = []
    while True:
        piece = mmap.mmap(-1, STEP)
        piece[:] = PATTERN
        held.append(piece)
        yield STEP


if __name__ == "__main__":
    args = arguments({
        "before": 3.0, "during": 3.0, "after": 3.0, "alone": 0.0, "settle": 0.5, "window": 1.0,
        "cpu": -1,
    })  # fmt: skip
    carry_out(args, [take], "bytes touched")
