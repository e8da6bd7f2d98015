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
import signal
import subprocess
import sys

LINES = (
    ("events per second:", "cpu.events_rate", 1.0, "1/s"),
    ("total number of events:", "cpu.events", 1.0, "1"),
    ("95th percentile:", "cpu.event.p95", 1e-3, "s"),
)


def arguments(defaults):
    for word in sys.argv[1:]:
        key, equals, text = word.partition("=")
        name = key[2:]
        if not key.startswith("--") or not equals or name not in defaults:
            sys.exit(f"{sys.argv[0]}: unknown argument {word!r}; known: {', '.join(defaults)}")
        defaults[name] = type(defaults[name])(text)
    return defaults


def translate(report):
    """Values by metric of sysbench's text report, in SI units; ValueError where a line is no number."""
    found = {}
    for line in report.splitlines():
        for start, metric, factor, _ in LINES:
            if line.strip().startswith(start):
                found[metric] = float(line.rpartition(":")[2]) * factor
    return found


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = arguments({"threads": 1, "seconds": 2, "prime": 10000})
    words = ["sysbench", "cpu", f"--threads={args['threads']}", f"--time={args['seconds']}"]
    words += ["--events=0", f"--cpu-max-prime={args['prime']}", "run"]
    os.write(1, b'{"event": "start"}\n')
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=args["seconds"] + 60
        )
    except FileNotFoundError as error:
        sys.exit(f"{error.filename}: not found")
    os.write(1, b'{"event": "end"}\n')
    if done.returncode:
        sys.exit(f"sysbench failed with {done.returncode}: {done.stdout.strip()}")
    found = translate(done.stdout)
    for _, metric, _, unit in LINES:
        value = f"{found[metric]!r}" if metric in found else 'null, "reason": "not in sysbench\'s report"'
        os.write(1, f'{{"metric": "{metric}", "unit": "{unit}", "value": {value}}}\n'.encode())


if __name__ == "__main__":
    main()
