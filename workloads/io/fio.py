#!/usr/bin/python3 -IS
# /// bench
# title   = "fio on one file"
# area    = "io"
# needs   = ["python3", "fio"]
# [args]
# rw = "write"
# bs = "65536"
# direct = 1
# fsync = 0
# seconds = 2.0
# size = "268435456"
# iodepth = 1
# warm = 0.0
# directory = ""
# [metrics."io.place"]
# unit = "1"
# [metrics."io.rate"]
# unit = "bytes/s"
# better = "higher"
# [metrics."io.rate.apparent"]
# unit = "bytes/s"
# [metrics."io.iops"]
# unit = "1/s"
# better = "higher"
# [metrics."io.bytes"]
# unit = "bytes"
# better = "higher"
# [metrics."io.latency.mean"]
# unit = "s"
# better = "lower"
# [metrics."io.latency.p50"]
# unit = "s"
# better = "lower"
# [metrics."io.latency.p99"]
# unit = "s"
# better = "lower"
# [metrics."io.sync.rate"]
# unit = "1/s"
# better = "higher"
# [metrics."io.sync.mean"]
# unit = "s"
# better = "lower"
# [metrics."io.sync.p99"]
# unit = "s"
# better = "lower"
# ///
"""Reads or writes one file with fio, and translates fio's JSON.

The file lies in `directory`, or in BENCH_SCRATCH where that is not given; `io.place` says in its labels
which file system that is, and which device.

The file is laid out, and dropped from the page cache, before the timed part. Buffered work passes
over it once, for at most `seconds`: reading cached or rewriting dirty pages would be a number about
the page cache. A file system that is kept in memory has no other place, and is gone round like direct work.
A buffered write ends in an fsync whose time counts; with `fsync`, one after every N writes, it goes round
for `seconds` like direct work does, and `io.sync.mean` and `io.sync.p99` are the time of an fsync alone.
`io.rate.apparent` is the rate at which the write calls returned. `warm` seconds of the same work come
first and do not count, except where there is only one pass. Where direct work is asked for and the file
system refuses O_DIRECT, every number is missing with that reason: buffered work would be a number of another
kind.
"""

import json
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "_shared")]
import _place as place  # noqa: E402
from _program import arguments, await_gate, emit, end_on_signals, put_down, say, size_of  # noqa: E402

POLL = 0.01  # s
DIRECT = (("io.rate", "bytes/s"), ("io.iops", "1/s"), ("io.bytes", "bytes"), ("io.latency.mean", "s"))
PATIENCE = 2.0  # s to wait for a sign of IO where the kernel accounts for none


def lay_out(path, size, written):
    """Make the file: full of data that does not compress, or only its blocks reserved."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        if written:
            block = os.urandom(1 << 20)
            for offset in range(0, size, len(block)):
                os.pwrite(fd, block[: size - offset], offset)
        else:
            os.posix_fallocate(fd, 0, size)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def refused(path, kind):
    """Why the file cannot be read and written past the page cache, or ""."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
    except OSError as error:
        return f"{kind or 'its file system'} takes no O_DIRECT here: {error.strerror}"
    return ""


def one_pass(args, kind):
    """Whether the page cache would fake a second pass over the file, on that kind of file system."""
    if args["direct"] or kind in place.KEPT_IN_MEMORY:
        return False
    return not ("write" in args["rw"] and args["fsync"])


def command(args, path, kind=""):
    """The fio command for those arguments, for a file on that kind of file system."""
    writes, buffered = "write" in args["rw"], not args["direct"]
    words = [
        "fio", "--name=bench", f"--filename={path}", f"--rw={args['rw']}", f"--bs={size_of(args['bs'])}",
        f"--size={size_of(args['size'])}", f"--direct={args['direct']}", f"--iodepth={args['iodepth']}",
        f"--ioengine={'psync' if args['iodepth'] == 1 else 'libaio'}", "--thread", "--invalidate=1",
        f"--runtime={args['seconds'] * 1000:.0f}ms", "--allow_file_create=0", "--randrepeat=0",
        "--output-format=json", "--eta=never",
    ]  # fmt: skip
    if not one_pass(args, kind):
        words += ["--time_based", "--norandommap=1"]
        if args["warm"]:
            words.append(f"--ramp_time={args['warm'] * 1000:.0f}ms")
    if buffered and not writes:
        # Bytes read ahead and never asked for would be paid for at the limit and missing in the rate.
        words.append("--fadvise_hint=random")
    if writes and args["fsync"]:
        words.append(f"--fsync={args['fsync']}")
    if writes and buffered:
        words.append("--end_fsync=1")
    return words


def moved(pid, tid):
    """Bytes that a thread moved, as the kernel accounts for it; None where it does not say."""
    try:
        with open(f"/proc/{pid}/task/{tid}/io", "rb") as file:
            fields = dict(line.split(b": ") for line in file.read().splitlines())
        return sum(int(fields[key]) for key in (b"rchar", b"wchar", b"read_bytes", b"write_bytes"))
    except (OSError, ValueError, KeyError):
        return None


def worker(pid):
    """The thread of fio that has begun to move data, or None."""
    try:
        tids = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return None
    return next((tid for tid in tids if tid != str(pid) and (moved(pid, tid) or 0) >= 4096), None)


def follow(process, warm):
    """Print the events as fio's own thread begins to move data and as it is gone."""
    limit, tid = time.monotonic() + PATIENCE, None
    while tid is None and process.poll() is None and time.monotonic() < limit:
        time.sleep(POLL)
        tid = worker(process.pid)
    time.sleep(warm)
    say({"event": "start"})
    while process.poll() is None and (tid is None or os.path.exists(f"/proc/{process.pid}/task/{tid}")):
        time.sleep(POLL)
    say({"event": "end"})


def translate(text, rw, iodepth, buffered):
    """Observations (metric, value, unit, reason) of fio's JSON output; ValueError where it is none."""
    job = json.loads(text[text.index("{") :])["jobs"][0]
    if job["error"]:
        raise ValueError(f"fio reports error {job['error']}")
    side = job["write" if "write" in rw else "read"]
    seconds, count, moved_bytes = side["runtime"] / 1000, side["total_ios"], side["io_bytes"]
    latency = side["clat_ns"]
    quantiles = latency.get("percentile", {})
    some = count > 0 and seconds > 0
    none = "fio completed no operation in the timed part"
    found = [
        ("io.rate", moved_bytes / seconds if some else None, "bytes/s", none),
        ("io.iops", count / seconds if some else None, "1/s", none),
        ("io.bytes", moved_bytes, "bytes", ""),
        ("io.latency.mean", latency["mean"] / 1e9 if some else None, "s", none),
    ]
    for name, key in (("p50", "50.000000"), ("p99", "99.000000")):
        found.append((f"io.latency.{name}", quantiles[key] / 1e9 if key in quantiles else None, "s", none))
    if buffered and "write" in rw and iodepth == 1:
        inside = latency["mean"] * count / 1e9
        found.append(("io.rate.apparent", moved_bytes / inside if inside > 0 else None, "bytes/s", none))
    return found + synced(job["sync"], seconds)


def synced(sync, seconds):
    """Observations of the fsyncs that fio made between writes, if any."""
    count, latency = sync["total_ios"], sync.get("lat_ns", {})
    if not count or seconds <= 0:
        return []
    p99 = latency.get("percentile", {}).get("99.000000")
    return [
        ("io.sync.rate", count / seconds, "1/s", ""),
        ("io.sync.mean", latency["mean"] / 1e9, "s", ""),
        ("io.sync.p99", None if p99 is None else p99 / 1e9, "s", "fio told no percentiles"),
    ]


def run(args, path):
    found = place.of(os.path.dirname(path))
    kind = found["type"] if found else ""
    place.report(found, emit)
    lay_out(path, size_of(args["size"]), written="read" in args["rw"])
    await_gate()
    if args["direct"] and (reason := refused(path, kind)):
        for metric, unit in DIRECT:
            emit(metric, None, unit, reason)
        return
    process = subprocess.Popen(
        command(args, path, kind),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        follow(process, 0 if one_pass(args, kind) else args["warm"])
        output, errors = process.communicate(timeout=args["seconds"] * 10 + 120)
    finally:
        put_down(process)
    if process.returncode:
        sys.exit(f"fio failed with {process.returncode}: {errors.strip()} {output.strip()[:2000]}")
    buffered = not args["direct"]
    for observation in translate(output, args["rw"], args["iodepth"], buffered):
        emit(*observation)


def main():
    end_on_signals()
    args = arguments({
        "rw": "write", "bs": "65536", "direct": 1, "fsync": 0, "seconds": 2.0, "size": "268435456",
        "iodepth": 1, "warm": 0.0, "directory": "",
    })  # fmt: skip
    if args["rw"] not in ("read", "write", "randread", "randwrite"):
        sys.exit(f"unknown rw {args['rw']!r}; known: read, write, randread, randwrite")
    directory = args["directory"] or os.environ.get("BENCH_SCRATCH", ".")
    path = os.path.join(directory, f"bench-fio-{os.getpid()}")
    try:
        run(args, path)
    except FileNotFoundError as error:
        sys.exit(f"{error.filename}: not found")
    finally:
        if os.path.exists(path):
            os.unlink(path)


if __name__ == "__main__":
    main()
