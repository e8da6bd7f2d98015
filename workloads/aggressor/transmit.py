#!/usr/bin/python3 -IS
# /// bench
# title   = "sends large datagrams that nobody takes"
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
"""An aggressor on its network's transmit side, over the loopback inside its sandbox: large datagrams,
bounded in rate."""

import os
import sys

sys.dont_write_bytecode = True  # the programs may lie on a read-only mount, or in somebody's checkout
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _flood import opened, send  # noqa: E402
from _storm import arguments, carry_out  # noqa: E402

SIZE = 1400  # bytes
SINK = opened()


def flood():
    return send(SINK, SIZE)


if __name__ == "__main__":
    args = arguments({
        "before": 3.0, "during": 3.0, "after": 3.0, "alone": 0.0, "settle": 0.5, "window": 1.0,
        "cpu": -1,
    })  # fmt: skip
    carry_out(args, [flood], "datagrams sent")
