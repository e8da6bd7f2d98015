#!/usr/bin/python3 -IS
# /// bench
# title   = "forking until refused"
# area    = "pids"
# needs   = ["python3"]
# args    = { max = 128, hold = 0.5 }
# [metrics."pids.forked"]
# unit = "1"
# better = "higher"
# [metrics."pids.errno"]
# unit = "1"
# [metrics."pids.before"]
# unit = "1"
# ///
"""Forks sleeping children until the kernel refuses or there are `max`, then holds them alive.

`pids.forked` are the children that came to be, `pids.errno` the error number of the refusal (11,
EAGAIN, at a pids limit) or 0. `pids.before` are the tasks that the limit counted already, this
process included, where its own cgroup can be seen from inside. The events stand around the hold.
"""

import os
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_shared"))
from _program import arguments, await_gate, emit, say  # noqa: E402


def own_paths():
    """Places where pids.current of this process's own cgroup may be visible, the best first."""
    try:
        with open("/proc/self/cgroup") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return
    for _, controllers, path in lines:
        if controllers == "pids":
            yield "/sys/fs/cgroup/pids" + path
            yield "/sys/fs/cgroup/pids"
        elif not controllers:
            yield "/sys/fs/cgroup" + path
            yield "/sys/fs/cgroup"


def counted_before():
    """Tasks that the cgroup's limit counts now, or None where that cannot be seen."""
    for path in own_paths():
        try:
            with open(path + "/pids.current") as file:
                return int(file.read())
        except (OSError, ValueError):
            continue
    return None


def fork_until(most):
    """Fork children that live until this process closes the returned pipe end, or dies."""
    alive, hold = os.pipe()
    pids = []
    while len(pids) < most:
        try:
            pid = os.fork()
        except OSError as error:
            return pids, hold, error.errno
        if pid == 0:
            os.close(hold)
            os.read(alive, 1)
            os._exit(0)
        pids.append(pid)
    return pids, hold, 0


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    args = arguments({"max": 128, "hold": 0.5})
    before = counted_before()
    emit("pids.before", before, "1", "the cgroup of this process cannot be seen from here")
    await_gate()
    pids, hold, errno = fork_until(args["max"])
    say({"event": "start"})
    time.sleep(args["hold"])
    say({"event": "end"})
    emit("pids.forked", len(pids), "1")
    emit("pids.errno", errno, "1")
    os.close(hold)
    for pid in pids:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
