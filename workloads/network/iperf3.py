#!/usr/bin/python3 -IS
# /// bench
# title   = "TCP or UDP to a neighbour with iperf3"
# area    = "network"
# needs   = ["python3", "iperf3"]
# server  = ["iperf3", "--server", "--bind", "{host}", "--port", "{port}", "--forceflush"]
# [args]
# seconds = 2
# omit = 0
# streams = 1
# congestion = "reno"
# transport = "tcp"
# length = 0
# cpu = -1
# own_server = false
# server_cpu = -1
# [metrics."net.rate"]
# unit = "bytes/s"
# better = "higher"
# [metrics."net.bytes"]
# unit = "bytes"
# better = "higher"
# [metrics."net.retransmits"]
# unit = "1"
# better = "lower"
# [metrics."net.mss"]
# unit = "bytes"
# [metrics."net.mtu"]
# unit = "bytes"
# [metrics."net.packets.rate"]
# unit = "1/s"
# better = "higher"
# [metrics."net.packets.lost"]
# unit = "1"
# better = "lower"
# [metrics."net.cpu_cost"]
# unit = "s/byte"
# better = "lower"
# ///
"""Sends to the iperf3 server at BENCH_PEER and reports what arrived there.

With `own_server` it is a server of this program's own, on the loopback inside the sandbox.

`seconds` and `omit`, the seconds at the beginning that do not count, are whole: iperf3 takes no
others. A server that is busy or not up yet is tried again for 2 s. `congestion` is the kernel's
congestion control, or empty for the host's own choice; reno is in every kernel and, unlike bbr, fills
whatever queue a shaper has, so that the number is the shaper's.

With `transport` "udp", datagrams of `length` bytes go out as fast as they can: `net.packets.rate` is of
those that arrived, `net.packets.lost` the share of those sent that did not. `length` is otherwise the size
of a write, 0 iperf3's own. `cpu` is where this end runs, `server_cpu` where its own server does.
`net.cpu_cost` is the CPU time of each end's process for a byte that arrived; what the kernel does for it
in interrupts is not in it. `net.mtu` has the interface and its offloads in its labels.
"""

import json
import os
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "_shared")]
import _path as path  # noqa: E402
from _program import arguments, await_gate, emit, end_on_signals, put_down, say  # noqa: E402

RETRY = 2.0  # s
PAUSE = 0.05  # s
REFUSAL = 0.2  # s; a server that refuses has done so by then
AGAIN = ("busy", "refused", "unable to connect", "unreachable")


def read(output):
    """iperf3's JSON; ValueError with its complaint."""
    fact = json.loads(output)
    if "error" in fact:
        raise ValueError(fact["error"])
    return fact


def translate(output):
    """Observations (metric, value, unit, reason) of iperf3's JSON; ValueError with its complaint."""
    fact = read(output)
    end, start = fact["end"], fact["start"]
    received, sent = end.get("sum_received", {}), end.get("sum_sent", {})
    rate, silent = received.get("bits_per_second"), "the receiver reported nothing"
    found = [
        ("net.rate", rate / 8 if rate else None, "bytes/s", silent),
        ("net.bytes", received.get("bytes"), "bytes", silent),
    ]
    if start["test_start"]["protocol"] == "UDP":
        return found + datagrams(received, silent)
    mss = start.get("tcp_mss_default") or start.get("tcp_mss")
    return [
        *found,
        ("net.retransmits", sent.get("retransmits"), "1", "this kernel does not tell retransmits"),
        ("net.mss", mss, "bytes", "iperf3 did not report it"),
    ]


def datagrams(received, silent):
    """Observations of what became of the datagrams that were sent."""
    packets, seconds = received.get("packets"), received.get("seconds")
    lost = received.get("lost_packets", 0)
    return [
        ("net.packets.rate", (packets - lost) / seconds if packets and seconds else None, "1/s", silent),
        ("net.packets.lost", lost / packets if packets else None, "1", silent),
    ]


def costs(output):
    """Observations of the CPU time of each end for a byte, with the end as a label.

    iperf3 tells the time as a share of the whole test's; the part that counts is taken to be like the rest.
    """
    end = read(output)["end"]
    received, shares = end.get("sum_received", {}), end.get("cpu_utilization_percent", {})
    moved, seconds = received.get("bytes"), received.get("seconds")
    for side, key in (("client", "host_total"), ("server", "remote_total")):
        share = shares.get(key)
        cost = share / 100 * seconds / moved if share and seconds and moved else None
        yield "net.cpu_cost", cost, "s/byte", "iperf3 told no CPU time or no bytes", {"side": side}


def attempt(words, omit, limit):
    """One run of iperf3: its standard output. The events stand around the part that counts."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        try:
            output, _ = process.communicate(timeout=omit)
        except subprocess.TimeoutExpired:
            say({"event": "start"})
            output, _ = process.communicate(timeout=limit)
            say({"event": "end"})
        return output
    finally:
        put_down(process)


def command(args, address, port):
    """The iperf3 command for those arguments."""
    words = [
        "iperf3", "-J", "-c", address, "-p", port, "-t", str(args["seconds"]), "-O", str(args["omit"]),
        "-P", str(args["streams"]),
    ]  # fmt: skip
    if args["transport"] == "udp":
        words += ["-u", "-b", "0"]
    elif args["congestion"]:
        words += ["-C", args["congestion"]]
    if args["length"]:
        words += ["-l", str(args["length"])]
    if args["cpu"] >= 0:
        words += ["-A", str(args["cpu"])]
    return words


def own_server(cpu):
    """A server of this program's own on the loopback, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    words = ["iperf3", "-s", "-B", "127.0.0.1", "-p", port]
    if cpu >= 0:
        words += ["-A", str(cpu)]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL), port


def measure(args, address, port):
    """iperf3's output of the first attempt that is not refused."""
    give_up = time.monotonic() + RETRY
    while True:
        try:
            output = attempt(command(args, address, port), max(args["omit"], REFUSAL), args["seconds"] + 30)
            read(output)
            return output
        except ValueError as error:
            again = any(word in str(error).lower() for word in AGAIN)
            if not again or time.monotonic() >= give_up:
                sys.exit(f"iperf3: {error}")
            time.sleep(PAUSE)


def main():
    end_on_signals()
    args = arguments({
        "seconds": 2, "omit": 0, "streams": 1, "congestion": "reno", "transport": "tcp", "length": 0,
        "cpu": -1, "own_server": False, "server_cpu": -1,
    })  # fmt: skip
    if args["transport"] not in ("tcp", "udp"):
        sys.exit(f"unknown transport {args['transport']!r}; known: tcp, udp")
    address, colon, port = os.environ.get("BENCH_PEER", "").rpartition(":")
    server = None
    try:
        if args["own_server"]:
            address = "127.0.0.1"
            server, port = own_server(args["server_cpu"])
        elif not colon:
            sys.exit("BENCH_PEER is not set to ADDRESS:PORT of an iperf3 server")
        address = address.strip("[]")
        await_gate()
        output = measure(args, address, port)
        path.report(address, emit)
    except FileNotFoundError as error:
        sys.exit(f"{error.filename}: not found")
    finally:
        if server:
            put_down(server)
    for observation in [*translate(output), *costs(output)]:
        emit(*observation)


if __name__ == "__main__":
    main()
