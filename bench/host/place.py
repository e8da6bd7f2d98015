"""The moment between fork and exec of a parked process: what only the child can do for itself.

The forked copy of this process makes a few system calls and becomes `bench.host.stub`, which is small
whatever the harness holds in memory. It may come from a process with threads, so it prints nothing,
takes no lock, reports through a pipe, and leaves through `os._exit`.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from bench.host import stub

PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x40000000
READY = b"+"
# Above every ordinary process of the host, below a workload that volunteers to be the victim.
OOM_SCORE = 500


@dataclass(frozen=True, slots=True)
class Place:
    """Where a parked child goes before it waits: cgroup.procs files, network namespace, root."""

    attach: tuple[Path, ...] = ()
    chroot: Path | None = None
    netns: Path | None = None
    oom_score_adj: int | None = OOM_SCORE
    extra: tuple[int, ...] = ()
    """Descriptors that the program finds as 3, 4, … ."""

    def message(self) -> bytes:
        """What the stub is told of it: score, root, cgroup.procs files."""
        score = "" if self.oom_score_adj is None else str(self.oom_score_adj)
        return stub.message(*(os.fsencode(word) for word in (score, self.chroot or "", *self.attach)))


@functools.cache
def load_libc() -> ctypes.CDLL:
    """The C library, loaded before the fork because the child must not load anything."""
    return ctypes.CDLL(None, use_errno=True)


@functools.cache
def interpreter() -> tuple[str, ...]:
    """The command line of the stub, without the two descriptors; the real binary, not a venv's link."""
    return os.path.realpath(sys.executable), "-I", "-S", os.path.realpath(stub.__file__)


def become(
    place: Place, parent: int, libc: ctypes.CDLL, ends: Sequence[int], argv: Sequence[str]
) -> NoReturn:
    """In the child: own session, end with the parent, network namespace, descriptors, stub."""
    report = ends[3]
    try:
        step = "own session"
        try:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(127)
            os.setsid()
            if place.netns is not None:
                step = f"enter {place.netns}"
                _enter(libc, place.netns)
            step = "descriptors"
            command, report = _arrange(ends[0], report, ends[5], ends[7], place.extra)
            # Handlers of the parent must not run here, and a blocked signal would stay blocked.
            step = "signals"
            _default_signals()
            step = f"start {argv[0]}"
            os.execve(argv[0], [*argv, str(command), str(report)], {})  # noqa: S606 - the point of it all
        except Exception as error:
            cause = getattr(error, "strerror", None) or repr(error)
            os.write(report, f"{step}: {cause}"[:4000].encode())
    finally:
        os._exit(127)


def _enter(libc: ctypes.CDLL, netns: Path) -> None:
    fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    os.close(fd)


def _default_signals() -> None:
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            with suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _arrange(command: int, report: int, out: int, err: int, extra: Sequence[int]) -> tuple[int, int]:
    """0, 1, 2 and the extra descriptors in place, then our two pipes, all others closed."""
    first_free = 3 + len(extra)
    null = os.open("/dev/null", os.O_RDONLY)
    high = max(64, first_free + 2)
    wanted = (null, out, err, *extra, command, report)
    sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, high) for fd in wanted]
    for target, source in enumerate(sources):
        os.dup2(source, target, inheritable=True)
    os.closerange(len(sources), os.sysconf("SC_OPEN_MAX"))
    return first_free, first_free + 1
