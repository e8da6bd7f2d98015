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
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_shared"))
from _program import arguments, await_gate, emit, end_on_signals, say, size_of  # noqa: E402


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


def main():
    end_on_signals()
    args = arguments({"size": "201326592", "chunk": "1048576"})
    size = size_of(args["size"])
    buffer = bytearray(os.urandom(size_of(args["chunk"])))
    path = os.path.join(os.environ.get("BENCH_SCRATCH", "."), f"bench-filecache-{os.getpid()}")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        await_gate()
        say({"event": "start"})
        began = time.monotonic()
        done = write_all(fd, size, memoryview(buffer))
        emit("memory.file_bytes", done, "bytes")
        for _ in range(2):
            done += read_all(fd, buffer)
            emit("memory.file_bytes", done, "bytes")
        seconds = time.monotonic() - began
        say({"event": "end"})
    finally:
        os.close(fd)
        os.unlink(path)
    emit("memory.rate", done / seconds, "bytes/s")


if __name__ == "__main__":
    main()
