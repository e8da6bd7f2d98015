#!/usr/bin/python3 -IS
# /// bench
# title   = "walks through a buffer larger than any cache, line by line"
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
"""An aggressor on the shared cache: it writes one byte of every cache line of a buffer, again and again."""

import os
import sys

sys.dont_write_bytecode = True  # the programs may lie on a read-only mount, or in somebody's checkout
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _storm import arguments, carry_out  # noqa: E402

SIZE = 64 << 20  # bytes
LINE = 64
ONES = bytes([1]) * (SIZE // LINE)


def thrash():
    buffer = bytearray(SIZE)
    while True:
        buffer[::LINE] = ONES
        yield len(ONES)


if __name__ == "__main__":
    args = arguments({
        "before": 3.0, "during": 3.0, "after": 3.0, "alone": 0.0, "settle": 0.5, "window": 1.0,
        "cpu": -1,
    })  # fmt: skip
    carry_out(args, [thrash], "cache lines written")
