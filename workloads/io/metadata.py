#!/usr/bin/python3 -IS
# /// bench
# title   = "making, looking up and removing files with fio"
# area    = "io"
# needs   = ["python3", "fio"]
# args    = { files = 2000, directory = "" }
# [metrics]
# "io.place" = { unit = "1" }
# "io.create.rate" = { unit = "1/s", better = "higher" }
# "io.create.time" = { unit = "s", better = "lower" }
# "io.create.p99" = { unit = "s", better = "lower" }
# "io.stat.rate" = { unit = "1/s", better = "higher" }
# "io.stat.time" = { unit = "s", better = "lower" }
# "io.stat.p99" = { unit = "s", better = "lower" }
# "io.unlink.rate" = { unit = "1/s", better = "higher" }
# "io.unlink.time" = { unit = "s", better = "lower" }
# "io.unlink.p99" = { unit = "s", better = "lower" }
# ///
"""Makes `files` empty files in one directory, looks each up, and removes them, with three engines of fio.

`time` is the mean of the call itself, by fio's clock: open with O_CREAT, stat, unlink; `rate` is its inverse.
The files lie in a directory made for them in `directory`, or in BENCH_SCRATCH where that is not given;
`io.place` says in its labels which file system that is, and which device. Names are looked up from that
directory: how long its own path is, which differs between sandboxes, is no part of the time.
"""

import json
import os
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "_shared")]
import _place as place  # noqa: E402
from _program import arguments, await_gate, emit, end_on_signals, say, tool  # noqa: E402

ENGINES = (("filecreate", "io.create"), ("filestat", "io.stat"), ("filedelete", "io.unlink"))
PATIENCE = 300  # s an engine may take


def command(engine, files):
    """The fio command of one pass, where it stands. `create_on_open` keeps fio from laying the files out."""
    return [
        "fio", "--name=bench", f"--ioengine={engine}", "--directory=.", f"--nrfiles={files}",
        "--rw=write", "--bs=4096", "--filesize=4096", "--openfiles=1", "--fallocate=none",
        "--create_on_open=1", "--thread", "--output-format=json", "--eta=never",
    ]  # fmt: skip


def translate(text, name, files):
    """Observations (metric, value, unit, reason) of one pass; ValueError where it was not a whole one."""
    job = json.loads(text[text.index("{") :])["jobs"][0]
    if job["error"]:
        raise ValueError(f"fio reports error {job['error']}")
    latency = job["write"]["clat_ns"]
    if job["write"]["total_ios"] != files or not latency["mean"]:
        raise ValueError(f"fio did {job['write']['total_ios']} of {files} operations")
    mean, p99 = latency["mean"] / 1e9, latency.get("percentile", {}).get("99.000000")
    return [
        (f"{name}.rate", 1 / mean, "1/s", ""),
        (f"{name}.time", mean, "s", ""),
        (f"{name}.p99", None if p99 is None else p99 / 1e9, "s", "fio told no percentiles"),
    ]


def main():
    end_on_signals()
    args = arguments({"files": 2000, "directory": ""})
    if args["files"] < 1:
        sys.exit("files must be 1 at least")
    above = args["directory"] or os.environ.get("BENCH_SCRATCH", ".")
    directory = os.path.abspath(tempfile.mkdtemp("", "bench-names-", above))
    os.chdir(directory)
    try:
        place.report(place.of(directory), emit)
        await_gate()
        say({"event": "start"})
        found = []
        for engine, name in ENGINES:
            status, output, errors = tool(command(engine, args["files"]), PATIENCE)
            if status:
                sys.exit(f"fio failed with {status}: {errors.strip()} {output.strip()[:2000]}")
            found += translate(output, name, args["files"])
        say({"event": "end"})
    finally:
        os.chdir("/")
        shutil.rmtree(directory)
    for observation in found:
        emit(*observation)


if __name__ == "__main__":
    main()
