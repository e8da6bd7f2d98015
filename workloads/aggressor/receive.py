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
import time

sys.dont_write_bytecode = True  # the programs may lie on a read-only mount, or in somebody's checkout
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _storm import arguments, carry_out  # noqa: E402

RATE = 50_000  # datagrams a second at most
BURST = 50
SIZE = 64  # bytes
PATIENCE = 0.5  # s; a taker whose sender is gone must see that its parent is, too


def opened():
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind(("127.0.0.1", 0))
    return sink


SINK = opened()


def send():
    data = bytes(SIZE)
    begun, sent = time.monotonic(), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
        source.connect(SINK.getsockname())
        while True:
            for _ in range(BURST):
                source.send(data)
            sent += BURST
            yield 0
            time.sleep(max(0.0, begun + sent / RATE - time.monotonic()))


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
    carry_out(args, [send, take], "datagrams taken")
