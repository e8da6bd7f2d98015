#!/usr/bin/python3 -IS
# /// bench
# title   = "a byte through a pipe to another process and back"
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
"""A victim that only calls the kernel: one item sends a hundred times a byte through a pipe to another
process, which sends it back."""

import os
import sys

sys.dont_write_bytecode = True  # the programs may lie on a read-only mount, or in somebody's checkout
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _openloop import arguments, end_on_signals, serve  # noqa: E402

TRIPS = 100
"""An item: so many that what this program itself does between two of them weighs little."""


def echo(source, target):
    while byte := os.read(source, 1):
        os.write(target, byte)
    os._exit(0)


def main():
    end_on_signals()
    args = arguments({
        "before": 3.0, "during": 3.0, "after": 3.0, "alone": 0.0, "settle": 0.5, "window": 1.0, "load": 0.5,
        "cpu": -1,
    })  # fmt: skip
    (there_r, there_w), (back_r, back_w) = os.pipe(), os.pipe()
    partner = os.fork()
    if partner == 0:
        os.close(there_w)
        os.close(back_r)
        echo(there_r, back_w)
    os.close(there_r)
    os.close(back_w)

    def item():
        for _ in range(TRIPS):
            os.write(there_w, b".")
            if not os.read(back_r, 1):
                sys.exit("the partner is gone")

    try:
        serve(args, item)
    finally:
        os.close(there_w)  # the end of the partner
        os.waitpid(partner, 0)


if __name__ == "__main__":
    main()
