#!/usr/bin/python3 -IS
# /// bench
# title   = "sysbench prime search"
# area    = "cpu"
# needs   = ["python3", "sysbench"]
# args    = { threads = 1, seconds = 2, prime = 10000 }
# [metrics."cpu.events_rate"]
# unit = "1/s"
# better = "higher"
# [metrics."cpu.events"]
# unit = "1"
# better = "higher"
# [metrics."cpu.event.p95"]
# unit = "s"
# better = "lower"
# ///
"""Runs sysbench's prime search up to `prime` and translates its report."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_shared"))
from _program import arguments, emit, end_on_signals, say, tool  # noqa: E402

LINES = (
    ("events per second:", "cpu.events_rate", 1.0, "1/s"),
    ("total number of events:", "cpu.events", 1.0, "1"),
    ("95th percentile:", "cpu.event.p95", 1e-3, "s"),
)


def translate(report):
    """Values by metric of sysbench's text report, in SI units; ValueError where a line is no number."""
    found = {}
    for line in report.splitlines():
        for start, metric, factor, _ in LINES:
            if line.strip().startswith(start):
                found[metric] = float(line.rpartition(":")[2]) * factor
    return found


def main():
    end_on_signals()
    args = arguments({"threads": 1, "seconds": 2, "prime": 10000})
    words = ["sysbench", "cpu", f"--threads={args['threads']}", f"--time={args['seconds']}"]
    words += ["--events=0", f"--cpu-max-prime={args['prime']}", "run"]
    say({"event": "start"})
    status, output, errors = tool(words, args["seconds"] + 60)
    say({"event": "end"})
    if status:
        sys.exit(f"sysbench failed with {status}: {errors.strip()} {output.strip()}")
    found = translate(output)
    for _, metric, _, unit in LINES:
        emit(metric, found.get(metric), unit, "not in sysbench's report")


if __name__ == "__main__":
    main()
