#!/usr/bin/python3 -IS
# /// bench
# title   = "starting a program, again and again"
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
# "victim.failed" = { unit = "1", better = "lower" }
# "placement.pinned" = { unit = "1" }
# ///
"""A victim that starts /bin/true and waits for its end: one item is fork, exec, exit and wait.

A start that the kernel refuses (no process or no memory is left to it) is tried again until it succeeds:
the item is not done until then. `victim.failed` is how often that happened, over all.
"""

import errno
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from _openloop import arguments, end_on_signals, observation, serve  # noqa: E402

PROGRAM = "/bin/true"
PAUSE = 0.001  # s
REFUSED = (errno.EAGAIN, errno.ENOMEM)
failed = 0


def start_one():
    global failed
    while True:
        try:
            pid = os.posix_spawn(PROGRAM, [PROGRAM], {})
            break
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            failed += 1
            time.sleep(PAUSE)
    os.waitpid(pid, 0)


def main():
    end_on_signals()
    args = arguments({
        "before": 3.0, "during": 3.0, "after": 3.0, "alone": 0.0, "settle": 0.5, "window": 1.0, "load": 0.5,
        "cpu": -1,
    })  # fmt: skip
    serve(args, start_one)
    os.write(1, observation("victim.failed", failed, "1"))


if __name__ == "__main__":
    main()
