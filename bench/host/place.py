"""The child's side of a parked process: take a place, report, wait for a command, become it.

It runs between fork(2) and execve(2) of a process that may have threads, so it makes system calls
only, prints nothing, reports through a pipe, and leaves through `os._exit`.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

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


@functools.cache
def load_libc() -> ctypes.CDLL:
    """The C library, loaded before the fork because the child must not load anything."""
    return ctypes.CDLL(None, use_errno=True)


def decode(body: bytes) -> tuple[str, list[str], dict[str, str]]:
    """Working directory, argv and environment from what `launch.encode` made, without the length."""
    cwd, count, *rest = body.decode(errors="surrogateescape").split("\0")
    argv, pairs = rest[: int(count)], rest[int(count) :]
    return cwd, argv, dict(pair.partition("=")[::2] for pair in pairs)


def become(place: Place, parent: int, libc: ctypes.CDLL, ends: Sequence[int]) -> NoReturn:
    """Take the place, report, wait for the command, become it. Never returns."""
    report = ends[3]
    try:
        step = "own session"
        try:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(127)
            os.setsid()
            command, report = _arrange(ends[0], report, ends[5], ends[7], place.extra)
            for name, action in _steps(place, libc):
                step = name
                action()
            os.write(report, READY)
            step = "the command"
            size = int.from_bytes(_read_exactly(command, 8), "big")
            cwd, argv, env = decode(_read_exactly(command, size))
            step = f"change to {cwd}"
            os.chdir(cwd)
            step = "execve"
            os.execvpe(argv[0], argv, env)  # noqa: S606 - becoming the workload is the point
        except Exception as error:
            cause = getattr(error, "strerror", None) or repr(error)
            os.write(report, f"{step}: {cause}"[:4000].encode())
    finally:
        os._exit(127)


def _steps(place: Place, libc: ctypes.CDLL) -> list[tuple[str, Callable[[], object]]]:
    """What to do before waiting, each with the words that name it in an error."""
    steps: list[tuple[str, Callable[[], object]]] = []
    if place.oom_score_adj is not None:
        score = str(place.oom_score_adj).encode()
        steps.append(("oom_score_adj", lambda: _put(Path("/proc/self/oom_score_adj"), score)))
    if place.netns is not None:
        steps.append((f"enter {place.netns}", lambda: _enter(libc, place.netns)))
    # The root comes after the cgroup files, which lie outside it; both come last so that as
    # little as possible of this child is charged to the tenant.
    steps += [(f"join {path}", functools.partial(_put, path, b"0")) for path in place.attach]
    if place.chroot is not None:
        steps.append((f"chroot to {place.chroot}", lambda: os.chroot(str(place.chroot))))
    steps.append(("signals", _default_signals))
    return steps


def _put(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, data)
    os.close(fd)


def _enter(libc: ctypes.CDLL, netns: Path | None) -> None:
    fd = os.open(str(netns), os.O_RDONLY | os.O_CLOEXEC)
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
    """0, 1, 2 and the extra descriptors in place, our two pipes above them, all others closed."""
    first_free = 3 + len(extra)
    null = os.open("/dev/null", os.O_RDONLY)
    high = max(64, first_free)
    wanted = (null, out, err, *extra, command, report)
    sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, high) for fd in wanted]
    for target, source in enumerate(sources[:first_free]):
        os.dup2(source, target, inheritable=True)
    command, report = sources[-2:]
    os.closerange(first_free, command)
    os.closerange(report + 1, os.sysconf("SC_OPEN_MAX"))
    return command, report


def _read_exactly(fd: int, size: int) -> bytes:
    """That many bytes; ends this process at once where the writer is gone."""
    data = b""
    while len(data) < size:
        chunk = os.read(fd, size - len(data))
        if not chunk:
            os._exit(0)
        data += chunk
    return data
