#!/usr/bin/python3 -IS
# /// bench
# title   = "a file larger than the cache may be"
# area    = "memory"
# needs   = ["python3"]
# args    = { size = "201326592", chunk = "1048576" }
# [metrics."memory.file_bytes"]
# unit = "bytes"
# better = "higher"
# [metrics."memory.rate"]
# unit = "bytes/s"
# better = "higher"
# ///
"""Writes a file of `size` bytes in BENCH_SCRATCH through the page cache, then reads it twice.

`memory.file_bytes` is what went through the cache so far, printed after the write and each read.
"""

import os
import signal
import sys
import time

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
    os.write(1, f'{{"metric": "{metric}", "value": {value!r}, "unit": "{unit}"}}\n'.encode())


def write_all(fd, size, block):
    done = 0
    while done < size:
        done += os.write(fd, block[: size - done])
    os.fsync(fd)
    return done


def read_all(fd, buffer):
    os.lseek(fd, 0, os.SEEK_SET)
    done = 0
    while got := os.readv(fd, [buffer]):
        done += got
    return done


def await_gate():
    """Say that the timed work could begin, and wait for the host's sign where it gives one."""
    gate = os.environ.get("BENCH_GATE")
    os.write(1, b'{"event": "ready"}\n')
    while gate and not os.path.exists(gate):
        time.sleep(0.001)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = arguments({"size": "201326592", "chunk": "1048576"})
    size = size_of(args["size"])
    buffer = bytearray(os.urandom(size_of(args["chunk"])))
    path = os.path.join(os.environ.get("BENCH_SCRATCH", "."), f"bench-filecache-{os.getpid()}")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        await_gate()
        os.write(1, b'{"event": "start"}\n')
        began = time.monotonic()
        done = write_all(fd, size, memoryview(buffer))
        emit("memory.file_bytes", done, "bytes")
        for _ in range(2):
            done += read_all(fd, buffer)
            emit("memory.file_bytes", done, "bytes")
        seconds = time.monotonic() - began
        os.write(1, b'{"event": "end"}\n')
    finally:
        os.close(fd)
        os.unlink(path)
    emit("memory.rate", done / seconds, "bytes/s")


if __name__ == "__main__":
    main()
