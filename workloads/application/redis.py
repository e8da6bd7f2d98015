#!/usr/bin/python3 -IS
# /// bench
# title   = "Redis, driven by redis-benchmark"
# area    = "application"
# needs   = ["python3", "redis-server", "redis-benchmark"]
# [args]
# role = "both"
# address = ""
# cpu = -1
# server_cpu = -1
# operation = "get"
# connections = 8
# length = 64
# seconds = 1.0
# [metrics."app.rate"]
# unit = "1/s"
# better = "higher"
# [metrics."app.requests"]
# unit = "1"
# better = "higher"
# [metrics."app.latency.p50"]
# unit = "s"
# better = "lower"
# [metrics."app.latency.p99"]
# unit = "s"
# better = "lower"
# [metrics."placement.pinned"]
# unit = "1"
# ///
"""One operation, "get" or "set", of a value of `length` bytes over so many connections at once.

The server keeps nothing on disk. redis-benchmark knows no duration, so a short run before tells how many
requests fit into `seconds`; it is the warm-up as well, and its requests are in `app.requests` only.
"""

import csv
import os
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "_shared")]
from _application import Server, drive, run  # noqa: E402
from _program import arguments, tool  # noqa: E402

FIRST = 2000
"""Requests of the run before; no other is shorter."""


def serve(args, host, port, directory):
    words = ["redis-server", "--bind", host, "--port", str(port), "--save", "", "--appendonly", "no"]
    return Server([*words, "--protected-mode", "no", "--loglevel", "warning", "--dir", directory])


def command(args, host, port, requests):
    words = ["redis-benchmark", "-h", host, "-p", str(port), "-t", args["operation"], "--csv"]
    return [*words, "-n", str(requests), "-c", str(args["connections"]), "-d", str(args["length"])]


def translate(output):
    """Observations of redis-benchmark's CSV, whose latencies are ms; ValueError where there is no number."""
    row = next(csv.DictReader(line for line in output.splitlines() if line.startswith('"')), None)
    if row is None:
        raise ValueError(f"redis-benchmark told nothing: {output.strip()!r}")
    return {
        "app.rate": float(row["rps"]),
        "app.latency.p50": float(row["p50_latency_ms"]) / 1e3,
        "app.latency.p99": float(row["p99_latency_ms"]) / 1e3,
    }


def measure(args, host, port, directory):
    status, output, errors = tool(command(args, host, port, FIRST), 30)
    if status:
        sys.exit(f"redis-benchmark: {errors.strip() or output.strip()}")
    requests = max(FIRST, int(translate(output)["app.rate"] * args["seconds"]))
    output = drive(command(args, host, port, requests), args["seconds"] * 10)
    return {**translate(output), "app.requests": FIRST + requests}


def main():
    args = arguments({
        "role": "both", "address": "", "cpu": -1, "server_cpu": -1,
        "operation": "get", "connections": 8, "length": 64, "seconds": 1.0,
    })  # fmt: skip
    run(args, serve, measure)


if __name__ == "__main__":
    main()
