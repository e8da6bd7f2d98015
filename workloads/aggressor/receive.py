#!/usr/bin/python3 -IS
# /// bench
# title   = "takes a flood of small datagrams"
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
"""An aggressor on its network's receive side, over the loopback inside its sandbox: small datagrams,
bounded in rate."""

import os
import socket
import sys

sys.dont_write_bytecode = True  # the programs may lie on a read-only mount, or in somebody's checkout
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _flood import opened, send  # noqa: E402
from _storm import arguments, carry_out  # noqa: E402

SIZE = 64  # bytes
PATIENCE = 0.5  # s; a taker whose sender is gone must see that its parent is, too
SINK = opened()


def flood():
    for _ in send(SINK, SIZE):
        yield 0  # what is taken counts, not what is sent


def take():
    SINK.settimeout(PATIENCE)
    while True:
        try:
            SINK.recv(SIZE)
        except socket.timeout:  # noqa: UP041  (two names until Python 3.10)
            yield 0
        else:
            yield 1


if __name__ == "__main__":
    args = arguments({
        "before": 3.0, "during": 3.0, "after": 3.0, "alone": 0.0, "settle": 0.5, "window": 1.0,
        "cpu": -1,
    })  # fmt: skip
    carry_out(args, [flood, take], "datagrams taken")
