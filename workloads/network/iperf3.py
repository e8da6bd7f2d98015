#!/usr/bin/python3 -IS
# /// bench
# title   = "TCP to a neighbour with iperf3"
# area    = "network"
# needs   = ["python3", "iperf3"]
# args    = { seconds = 2, omit = 0, streams = 1, congestion = "reno" }
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
# ///
"""Sends to the iperf3 server at BENCH_PEER and reports the goodput that arrived there.

`seconds` and `omit`, the seconds at the beginning that do not count, are whole: iperf3 takes no
others. A server that is busy or not up yet is tried again for 2 s. `congestion` is the kernel's
congestion control, or empty for the host's own choice; reno is in every kernel and, unlike bbr, fills
whatever queue a shaper has, so that the number is the shaper's.
"""

import json
import os
import signal
import subprocess
import sys
import time

RETRY = 2.0  # s
PAUSE = 0.05  # s
REFUSAL = 0.2  # s; a server that refuses has done so by then
AGAIN = ("busy", "refused", "unable to connect", "unreachable")


def arguments(defaults):
    for word in sys.argv[1:]:
        key, equals, text = word.partition("=")
        name = key[2:]
        if not key.startswith("--") or not equals or name not in defaults:
            sys.exit(f"{sys.argv[0]}: unknown argument {word!r}; known: {', '.join(defaults)}")
        defaults[name] = type(defaults[name])(text)
    return defaults


def say(fact):
    os.write(1, json.dumps(fact).encode() + b"\n")


def translate(output):
    """Observations (metric, value, unit, reason) of iperf3's JSON; ValueError with its complaint."""
    fact = json.loads(output)
    if "error" in fact:
        raise ValueError(fact["error"])
    end, start = fact["end"], fact["start"]
    received, sent = end.get("sum_received", {}), end.get("sum_sent", {})
    rate, mss = received.get("bits_per_second"), start.get("tcp_mss_default") or start.get("tcp_mss")
    return [
        ("net.rate", rate / 8 if rate else None, "bytes/s", "the receiver reported nothing"),
        ("net.bytes", received.get("bytes"), "bytes", "the receiver reported nothing"),
        ("net.retransmits", sent.get("retransmits"), "1", "this kernel does not tell retransmits"),
        ("net.mss", mss, "bytes", "iperf3 did not report it"),
    ]


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
        if process.poll() is None:
            process.kill()
            process.wait()


def await_gate():
    """Say that the timed work could begin, and wait for the host's sign where it gives one."""
    gate = os.environ.get("BENCH_GATE")
    os.write(1, b'{"event": "ready"}\n')
    while gate and not os.path.exists(gate):
        time.sleep(0.001)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = arguments({"seconds": 2, "omit": 0, "streams": 1, "congestion": "reno"})
    address, colon, port = os.environ.get("BENCH_PEER", "").rpartition(":")
    if not colon:
        sys.exit("BENCH_PEER is not set to ADDRESS:PORT of an iperf3 server")
    words = [
        "iperf3", "-J", "-c", address.strip("[]"), "-p", port, "-t", str(args["seconds"]),
        "-O", str(args["omit"]), "-P", str(args["streams"]),
    ]  # fmt: skip
    if args["congestion"]:
        words += ["-C", args["congestion"]]
    await_gate()
    give_up = time.monotonic() + RETRY
    while True:
        try:
            found = translate(attempt(words, max(args["omit"], REFUSAL), args["seconds"] + 30))
            break
        except FileNotFoundError as error:
            sys.exit(f"{error.filename}: not found")
        except ValueError as error:
            again = any(word in str(error).lower() for word in AGAIN)
            if not again or time.monotonic() >= give_up:
                sys.exit(f"iperf3: {error}")
            time.sleep(PAUSE)
    for metric, value, unit, reason in found:
        fact = {"metric": metric, "value": value, "unit": unit}
        say(fact if value is not None else {**fact, "reason": reason})


if __name__ == "__main__":
    main()
