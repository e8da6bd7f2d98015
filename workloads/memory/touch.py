#!/usr/bin/python3 -IS
# /// bench
# title   = "touching memory step by step"
# area    = "memory"
# needs   = ["python3"]
# args    = { kind = "anon", size = "536870912", step = "1048576", hold = 0.0, seconds = 0.0 }
# [metrics]
# "memory.touched" = { unit = "bytes", better = "higher" }
# "memory.rss_anon" = { unit = "bytes" }
# "memory.completed" = { unit = "1", better = "higher" }
# "memory.errno" = { unit = "1" }
# "memory.rate" = { unit = "bytes/s", better = "higher" }
# "memory.stalled" = { unit = "s", better = "lower" }
# "memory.step.longest" = { unit = "s", better = "lower" }
# ///
"""Takes memory `step` by `step` up to `size`, writes to every page of it, and says how far it came.

`kind` is anon (private pages), shmem (a memfd) or tmpfs (an unlinked file in /dev/shm). The last
`memory.touched` before a kill is the point reached. Where the kernel refuses instead of killing,
`memory.errno` is its error number. It stops after `seconds`, for limits that throttle; 0 is never.

`memory.stalled` is the time spent in steps that took longer than 20 ms.
"""

import mmap
import os
import sys
import time

SLOW = 20_000_000  # ns
BLOCK = 65536  # bytes written at once: small, for the program's own memory counts as well
PATTERN = memoryview(b"\xa5" * BLOCK)
NO_RSS = b"""\
{"metric": "memory.rss_anon", "value": null, "unit": "bytes", "reason": "/proc does not show RssAnon"}
"""
FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


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


def emit(metric, value, unit):
    os.write(1, b'{"metric": "%b", "value": %b, "unit": "%b"}\n' % (metric, b"%d" % value, unit))


def emit_float(metric, value, unit):
    os.write(1, f'{{"metric": "{metric}", "value": {value!r}, "unit": "{unit}"}}\n'.encode())


def volunteer():
    """Make this process, not its neighbours, the one that an out-of-memory kill picks."""
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(fd, b"1000")
        os.close(fd)
    except OSError as error:
        print(f"oom_score_adj stays as it is: {error}", file=sys.stderr)


def reserve(kind, size):
    """Address space for `size` bytes, nothing of it touched yet."""
    if kind == "anon":
        # Without NORESERVE the overcommit check would refuse before the limit is reached.
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000
        area = mmap.mmap(-1, size, flags=flags)
        area.madvise(15)  # MADV_NOHUGEPAGE: 2 MiB pages would blur the point reached
        return area
    if kind == "shmem":
        fd = os.memfd_create("bench", 0)
        os.ftruncate(fd, size)
        return mmap.mmap(fd, size)
    sys.exit(f"unknown kind {kind!r}; known: anon, shmem, tmpfs")


def mapped_writer(kind, size):
    area = reserve(kind, size)

    def write(offset, end):
        area[offset:end] = PATTERN[: end - offset]

    return write


def tmpfs_writer():
    name = f"/dev/shm/bench-touch-{os.getpid()}"
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(name)

    def write(offset, end):
        while offset < end:
            offset += os.pwrite(fd, PATTERN[: min(BLOCK, end - offset)], offset)

    return write


def rss_reader():
    """A function that returns this process's anonymous resident bytes, or None where /proc lacks them."""
    try:
        fd = os.open("/proc/self/status", os.O_RDONLY)
    except OSError:
        return lambda: None

    def read():
        _, found, rest = os.pread(fd, 4096, 0).partition(b"RssAnon:")
        return int(rest.split(None, 1)[0]) * 1024 if found else None

    return read


def touch(write, size, step, deadline):
    """Write until `size` or the deadline; (bytes touched, longest step, stalled, errno).

    A throttled step can take minutes, so the deadline counts within a step as well.
    """
    clock, rss = time.monotonic_ns, rss_reader()
    touched = longest = stalled = errno = 0
    known = rss() is not None
    if not known:
        os.write(1, NO_RSS)
    before = clock()
    while touched < size and before < deadline:
        try:
            end = touched + step
            for at in range(touched, end, BLOCK):
                if clock() > deadline:
                    end = at
                    break
                write(at, min(at + BLOCK, end))
        except (OSError, MemoryError) as error:
            errno = getattr(error, "errno", None) or 12
            break
        now = clock()
        took = now - before
        longest = max(longest, took)
        if took > SLOW:
            stalled += took
        touched = end
        emit(b"memory.touched", touched, b"bytes")
        if known:
            emit(b"memory.rss_anon", rss(), b"bytes")
        before = clock()
    return touched, longest, stalled, errno


def await_gate():
    """Say that the timed work could begin, and wait for the host's sign where it gives one."""
    gate = os.environ.get("BENCH_GATE")
    os.write(1, b'{"event": "ready"}\n')
    while gate and not os.path.exists(gate):
        time.sleep(0.001)


def main():
    args = arguments({"kind": "anon", "size": "536870912", "step": "1048576", "hold": 0.0, "seconds": 0.0})
    step = size_of(args["step"])
    size = -(-size_of(args["size"]) // step) * step
    volunteer()
    write = tmpfs_writer() if args["kind"] == "tmpfs" else mapped_writer(args["kind"], size)
    await_gate()
    os.write(1, b'{"event": "start"}\n')
    began = time.monotonic_ns()
    deadline = began + int(args["seconds"] * 1e9) if args["seconds"] else float("inf")
    touched, longest, stalled, errno = touch(write, size, step, deadline)
    wall = time.monotonic_ns() - began
    if args["hold"]:
        time.sleep(args["hold"])
    os.write(1, b'{"event": "end"}\n')
    emit(b"memory.errno", errno, b"1")
    emit(b"memory.completed", touched >= size, b"1")
    emit_float("memory.rate", touched / (wall / 1e9), "bytes/s")
    emit_float("memory.stalled", stalled / 1e9, "s")
    emit_float("memory.step.longest", longest / 1e9, "s")


if __name__ == "__main__":
    main()
