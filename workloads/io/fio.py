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
# ///
"""Reads or writes one file in BENCH_SCRATCH with fio, and translates fio's JSON.

The file is laid out, and dropped from the page cache, before the timed part. Buffered work passes
over it once, for at most `seconds`: reading cached or rewriting dirty pages would be a number about
the page cache. A buffered write ends in an fsync whose time counts; with `fsync`, one after every N
writes, it goes round for `seconds` like direct work does. `io.rate.apparent` is the rate at which
the write calls returned. `warm` seconds of the same work come first and do not count, except where
there is only one pass.
"""

import json
import os
import signal
import subprocess
import sys
import time

FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
POLL = 0.01  # s
PATIENCE = 2.0  # s to wait for a sign of IO where the kernel accounts for none


def arguments(defaults):
    for word in sys.argv[1:]:
        key, equals, text = word.partition("=")
        name = key[2:]
        if not key.startswith("--") or not equals or name not in defaults:
            sys.exit(f"{sys.argv[0]}: unknown argument {word!r}; known: {', '.join(defaults)}")
        defaults[name] = type(defaults[name])(text)
    return defaults


def size_of(text):
    """Bytes of "1048576" or "1MiB"."""
    digits = text.rstrip("BKMGi")
    return int(float(digits) * FACTORS[text[len(digits) :].rstrip("Bi")])


def say(fact):
    os.write(1, json.dumps(fact).encode() + b"\n")


def emit(metric, value, unit, reason=""):
    fact = {"metric": metric, "value": value, "unit": unit}
    say(fact if value is not None else {**fact, "reason": reason})


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


def one_pass(args):
    """Whether the page cache would fake a second pass over the file."""
    return not args["direct"] and not ("write" in args["rw"] and args["fsync"])


def command(args, path):
    """The fio command for those arguments."""
    writes, buffered = "write" in args["rw"], not args["direct"]
    words = [
        "fio", "--name=bench", f"--filename={path}", f"--rw={args['rw']}", f"--bs={size_of(args['bs'])}",
        f"--size={size_of(args['size'])}", f"--direct={args['direct']}", f"--iodepth={args['iodepth']}",
        f"--ioengine={'psync' if args['iodepth'] == 1 else 'libaio'}", "--thread", "--invalidate=1",
        f"--runtime={args['seconds'] * 1000:.0f}ms", "--allow_file_create=0", "--randrepeat=0",
        "--output-format=json", "--eta=never",
    ]  # fmt: skip
    if not one_pass(args):
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
    return found


def run(args, path):
    lay_out(path, size_of(args["size"]), written="read" in args["rw"])
    await_gate()
    process = subprocess.Popen(
        command(args, path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        follow(process, 0 if one_pass(args) else args["warm"])
        output, errors = process.communicate(timeout=args["seconds"] * 10 + 120)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode:
        sys.exit(f"fio failed with {process.returncode}: {errors.strip()} {output.strip()[:2000]}")
    buffered = not args["direct"]
    for observation in translate(output, args["rw"], args["iodepth"], buffered):
        emit(*observation)


def await_gate():
    """Say that the timed work could begin, and wait for the host's sign where it gives one."""
    gate = os.environ.get("BENCH_GATE")
    os.write(1, b'{"event": "ready"}\n')
    while gate and not os.path.exists(gate):
        time.sleep(0.001)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = arguments({
        "rw": "write", "bs": "65536", "direct": 1, "fsync": 0, "seconds": 2.0, "size": "268435456",
        "iodepth": 1, "warm": 0.0,
    })  # fmt: skip
    if args["rw"] not in ("read", "write", "randread", "randwrite"):
        sys.exit(f"unknown rw {args['rw']!r}; known: read, write, randread, randwrite")
    path = os.path.join(os.environ.get("BENCH_SCRATCH", "."), f"bench-fio-{os.getpid()}")
    try:
        run(args, path)
    except FileNotFoundError as error:
        sys.exit(f"{error.filename}: not found")
    finally:
        if os.path.exists(path):
            os.unlink(path)


if __name__ == "__main__":
    main()
