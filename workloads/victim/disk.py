#!/usr/bin/python3 -IS
# /// bench
# title   = "a random read and a synced append"
# area    = "victim"
# needs   = ["python3"]
# args    = {before=3.0, during=3.0, after=3.0, alone=0.0, settle=0.5, window=1.0, load=0.5, cpu=-1}
# [metrics]
# "victim.target" = { unit = "1/s" }
# "victim.rate" = { unit = "1/s", better = "higher" }
# "victim.p50" = { unit = "s", better = "lower" }
# "victim.p99" = { unit = "s", better = "lower" }
# "victim.max" = { unit = "s", better = "lower" }
# "victim.latency.p50" = { unit = "s", better = "lower" }
# "victim.latency.p99" = { unit = "s", better = "lower" }
# "victim.done" = { unit = "1", better = "higher" }
# "placement.pinned" = { unit = "1" }
# ///
"""A victim on the trial's disk: one item is a read of 4 KiB at a random place, past the page cache where
the file system allows that, and an append of 4 KiB that is synced."""

import contextlib
import mmap
import os
import random
import sys

sys.dont_write_bytecode = True  # the programs may lie on a read-only mount, or in somebody's checkout
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _openloop import arguments, end_on_signals, serve  # noqa: E402

SIZE = 32 << 20  # bytes
BLOCK = 4096
APPENDED = 8 << 20  # bytes after which the log begins anew
SCRATCH = os.environ.get("BENCH_SCRATCH", ".")
DATA, LOG = (os.path.join(SCRATCH, name) for name in ("victim.data", "victim.log"))


class Files:
    """The file that is read, and the log that grows."""

    def __init__(self):
        with open(DATA, "wb") as file:
            for _ in range(SIZE >> 20):
                file.write(os.urandom(1 << 20))
            os.fsync(file.fileno())
        try:
            self.data = os.open(DATA, os.O_RDONLY | os.O_DIRECT)
        except OSError:  # tmpfs has no such reads
            self.data = os.open(DATA, os.O_RDONLY)
        self.log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self.block = mmap.mmap(-1, BLOCK)  # aligned, as direct reads want it
        self.offset = 0

    def item(self):
        os.preadv(self.data, [self.block], random.randrange(SIZE // BLOCK) * BLOCK)
        os.pwrite(self.log, self.block, self.offset)
        os.fdatasync(self.log)
        self.offset = (self.offset + BLOCK) % APPENDED


def main():
    end_on_signals()
    args = arguments({
        "before": 3.0, "during": 3.0, "after": 3.0, "alone": 0.0, "settle": 0.5, "window": 1.0, "load": 0.5,
        "cpu": -1,
    })  # fmt: skip
    try:
        serve(args, Files().item)
    finally:
        for name in (DATA, LOG):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


if __name__ == "__main__":
    main()
