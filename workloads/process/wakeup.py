#!/usr/bin/python3 -IS
# /// bench
# title   = "wake-up latency with cyclictest"
# area    = "process"
# needs   = ["python3", "cyclictest"]
# args    = { seconds = 2, interval = 0.001, policy = "other", priority = 0, cpu = -1 }
# [metrics]
# "process.wakeup.mean" = { unit = "s", better = "lower" }
# "process.wakeup.p50" = { unit = "s", better = "lower" }
# "process.wakeup.p99" = { unit = "s", better = "lower" }
# "process.wakeup.max" = { unit = "s", better = "lower" }
# ///
"""How late one thread of cyclictest runs that sleeps until a moment, every `interval` seconds.

`seconds` are whole: cyclictest takes no others. `policy` and `priority` are those of the thread. Whatever
they are, cyclictest refuses to run without the right to real-time priorities (CAP_SYS_NICE or
RLIMIT_RTPRIO, and a real-time share where the kernel wants one of a cpu cgroup): there are no numbers then,
but a reason. process/timer measures the same without asking for
that right. The host's power management is left as it is.
"""

import json
import os
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_shared"))
from _program import arguments, await_gate, emit, end_on_signals, say, tool  # noqa: E402

MICRO = 1e-6
SLOTS = 10000  # microseconds that the histogram is long
REFUSED = "Unable to change scheduling policy"
NAMES = ("mean", "p50", "p99", "max")


def reached(histogram, count, q):
    """The lateness in microseconds that this share of all wake-ups kept to; None beyond the histogram."""
    seen = 0
    for late, times in sorted((int(late), times) for late, times in histogram.items()):
        seen += times
        if seen > q * count:
            return late
    return None


def translate(text, slots):
    """Observations (metric, value, unit, reason) of cyclictest's JSON, in seconds."""
    thread = json.loads(text)["thread"]["0"]
    count, histogram = thread["cycles"], thread["histogram"]
    if not count:
        return [(f"process.wakeup.{name}", None, "s", "cyclictest woke up not once") for name in NAMES]
    found = {"mean": thread["avg"], "max": thread["max"]}
    found |= {"p50": reached(histogram, count, 0.5), "p99": reached(histogram, count, 0.99)}
    beyond = f"so many wake-ups were later than the {slots * MICRO} s that are told apart"
    return [
        (f"process.wakeup.{name}", None if found[name] is None else found[name] * MICRO, "s", beyond)
        for name in NAMES
    ]


def command(args, path):
    words = [
        "cyclictest", "--quiet", "--threads=1", "--default-system", f"--policy={args['policy']}",
        f"--duration={args['seconds']}", f"--interval={args['interval'] / MICRO:.0f}", f"--histogram={SLOTS}",
        "--histfile=/dev/null", f"--json={path}",
    ]  # fmt: skip
    if args["priority"]:
        words.append(f"--priority={args['priority']}")
    if args["cpu"] >= 0:
        words.append(f"--affinity={args['cpu']}")
    return words


def main():
    end_on_signals()
    args = arguments({"seconds": 2, "interval": 0.001, "policy": "other", "priority": 0, "cpu": -1})
    with tempfile.TemporaryDirectory(
        prefix="bench-wakeup-", dir=os.environ.get("BENCH_SCRATCH", ".")
    ) as directory:
        path = os.path.join(directory, "result.json")
        await_gate()
        say({"event": "start"})
        status, output, errors = tool(command(args, path), args["seconds"] + 60)
        say({"event": "end"})
        if REFUSED in errors:
            for name in NAMES:
                emit(
                    f"process.wakeup.{name}", None, "s", "cyclictest wants the right to real-time priorities"
                )
            return
        if status:
            sys.exit(f"cyclictest failed with {status}: {errors.strip()} {output.strip()[:2000]}")
        with open(path) as file:
            found = translate(file.read(), SLOTS)
    for observation in found:
        emit(*observation)


if __name__ == "__main__":
    main()
