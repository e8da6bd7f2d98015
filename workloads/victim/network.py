#!/usr/bin/python3 -IS
# /// bench
# title   = "round trips over the loopback inside its sandbox"
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
"""A victim on its network: one item is twenty round trips of 64 bytes over TCP, to an echo on the loopback
inside its sandbox."""

import os
import socket
import sys

sys.dont_write_bytecode = True  # the programs may lie on a read-only mount, or in somebody's checkout
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _openloop import arguments, end_on_signals, serve  # noqa: E402

SIZE = 64  # bytes
TRIPS = 20


def echo(listener):
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := connection.recv(SIZE):
        connection.sendall(data)
    os._exit(0)


def main():
    end_on_signals()
    args = arguments({
        "before": 3.0, "during": 3.0, "after": 3.0, "alone": 0.0, "settle": 0.5, "window": 1.0, "load": 0.5,
        "cpu": -1,
    })  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as listener:
        partner = os.fork()
        if partner == 0:
            echo(listener)
        address = listener.getsockname()
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = bytes(SIZE)

    def item():
        for _ in range(TRIPS):
            connection.sendall(data)
            left = SIZE
            while left:
                taken = len(connection.recv(left))
                if not taken:
                    sys.exit("the partner is gone")
                left -= taken

    try:
        serve(args, item)
    finally:
        connection.close()  # the end of the partner
        os.waitpid(partner, 0)


if __name__ == "__main__":
    main()
