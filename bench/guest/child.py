"""Children of the agent's Python: forked from its only thread, awaited through a pidfd."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself would import `enum`
import os

TYPE_CHECKING = False  # see `wire`
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    T = TypeVar("T")

    from bench.guest.loop import Loop

SCHED_FIRST = 1
NICE = -10


def urgent() -> None:
    """Put this process before ordinary ones, so that a busy workload delays neither output nor readings.

    Children start as ordinary processes. OSError where this user may not.
    """
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(SCHED_FIRST))


def urgent_if_allowed() -> bool:
    """`urgent` where this user may; whether it was."""
    try:
        urgent()
    except PermissionError:
        return False
    return True


def ordinarily(call: Callable[[], T]) -> T:
    """What `call` answers, this process being ordinary meanwhile: a program may be waiting for the CPU."""
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    if policy & ~os.SCHED_RESET_ON_FORK != os.SCHED_RR:
        return call()
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    try:
        return call()
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        os.sched_setscheduler(0, policy, param)


class Child:
    """A forked process; `ended` is called once with its wait status and rusage."""

    def __init__(
        self, loop: Loop, body: Callable[[], None], fds: Sequence[int], ended: Callable[[int, Any], None]
    ) -> None:
        """`body` runs in the child with `fds` as its descriptors 0, 1, 2, …, and no others."""
        self._loop, self._ended = loop, ended
        self.running = True
        self.pid = os.fork()
        if self.pid == 0:
            _become(body, fds)
        self._pidfd = os.pidfd_open(self.pid)
        loop.reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if pid:
            self.running = False
            self._loop.close(self._pidfd)
            self._ended(status, usage)

    def kill(self) -> None:
        """Kill it and the rest of its process group."""
        if self.running:
            try:
                os.killpg(self.pid, _signal.SIGKILL)
            except ProcessLookupError:  # it has not made its own group yet
                os.kill(self.pid, _signal.SIGKILL)


def _become(body: Callable[[], None], fds: Sequence[int]) -> None:
    """In the child: own session, its descriptors and no others, default signals; never returns."""
    code = 127
    try:
        os.setsid()
        high = [os.dup(fd) for fd in fds]
        while any(fd < len(fds) for fd in high):
            high = [fd if fd >= len(fds) else os.dup(fd) for fd in high]
        for target, fd in enumerate(high):
            os.dup2(fd, target)
        os.closerange(len(fds), os.sysconf("SC_OPEN_MAX"))
        for number in _signal.valid_signals():
            if number not in (_signal.SIGKILL, _signal.SIGSTOP):
                try:
                    _signal.signal(number, _signal.SIG_DFL)
                except (OSError, ValueError):  # those of the C library are nobody's to reset
                    continue
        os.setpriority(os.PRIO_PROCESS, 0, 0)
        body()
        code = 0
    except BaseException as error:  # the last words of a process: nothing is above this
        os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="replace")[:4000])
    finally:
        os._exit(code)
