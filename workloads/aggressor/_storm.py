"""The schedule that every aggressor in Python works by, and what it says of it.

It sleeps for `before` seconds, works for `during`, sleeps for `after`, and works once more for `alone`,
when the victim has ended. The work is done by children, each of which counts it in shared memory; this
process only watches, so that a child that the kernel kills for want of memory is replaced and the
schedule goes on. Children end with their phase, and with this process.
"""

import mmap
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_shared"))
import _program as program

SLOT = 8  # bytes of a counter
LOOK = 0.02  # s between looks for children that ended


def arguments(known):
    """The defaults with what the command line says, of the same types."""
    known = program.arguments(known)
    if known["window"] <= 0:
        sys.exit("window must be above 0")
    return known


def first_to_go():
    """The kernel, short of memory, takes this one before any victim."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError as error:
        print(f"oom_score_adj stays as it is: {error.strerror}", file=sys.stderr)


class Counter:
    """What one child has done; it counts, the parent reads."""

    def __init__(self):
        self._memory = mmap.mmap(-1, SLOT)

    def add(self, amount=1):
        self._memory[:SLOT] = (self.value() + amount).to_bytes(SLOT, "little")

    def value(self):
        return int.from_bytes(self._memory[:SLOT], "little")


class Storm:
    """The children of one phase. `jobs` are functions of a counter that never return."""

    def __init__(self, jobs):
        self.jobs = [(job, Counter()) for job in jobs]
        self.children = {}
        self.killed = 0

    def done(self):
        return sum(counter.value() for _, counter in self.jobs)

    def start(self):
        """Start what is not running; a kernel that refuses is asked again at the next look."""
        parent = os.getpid()
        for job, counter in self.jobs:
            if counter in self.children.values():
                continue
            try:
                pid = os.fork()
            except OSError:
                return
            if pid == 0:
                child(job, counter, parent)
            self.children[pid] = counter

    def look(self):
        """Replace what has ended."""
        for pid in list(self.children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self.children[pid]
                self.killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        self.start()

    def stop(self):
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
        for pid in self.children:
            os.waitpid(pid, 0)
        self.children = {}


def child(job, counter, parent):
    """Work until the parent is gone or kills this one; nothing of the parent's is flushed or cleaned up.

    The parent is told, not asked for: it may have ended before this one came to run for the first time.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        first_to_go()
        for amount in job():
            counter.add(amount)
            if os.getppid() != parent:
                break
    except (MemoryError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(0)


def phase(name, seconds, args, jobs, work, begun):
    """Work for that long from `begun`, and say what was done in each window."""
    if seconds <= 0:
        return
    storm = Storm(jobs)
    count = max(1, round(seconds / args["window"]))
    program.emit("aggressor.on", 1, "1", labels={"phase": name})
    try:
        before = 0
        storm.start()
        for i in range(count):
            edge = begun + seconds * (i + 1) / count
            while (left := edge - time.monotonic()) > 0:
                time.sleep(min(left, LOOK))
                storm.look()
            now = storm.done()
            if jobs:
                labels = {"phase": name, "window": str(i), "work": work}
                program.emit("aggressor.rate", (now - before) * count / seconds, "1/s", labels=labels)
            before = now
    finally:
        storm.stop()
        program.emit("aggressor.off", 1, "1", labels={"phase": name})
        program.emit("aggressor.killed", storm.killed, "1", labels={"phase": name})


def carry_out(args, jobs, work, clean=lambda: None):
    """The whole schedule. `work` says what the jobs count; `clean` removes what they left."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    program.pin(args["cpu"])
    first_to_go()
    program.await_gate()
    os.write(1, b'{"event": "start"}\n')
    origin = time.monotonic()
    try:
        for name, begin, seconds in (
            ("during", args["before"], args["during"]),
            ("alone", args["before"] + args["during"] + args["after"], args["alone"]),
        ):
            time.sleep(max(0.0, origin + begin - time.monotonic()))
            phase(name, seconds, args, jobs, work, origin + begin)
            clean()
    finally:
        clean()
    os.write(1, b'{"event": "end"}\n')
