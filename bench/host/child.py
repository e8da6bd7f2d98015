"""A workload as a child of this process: how it ends, what it used, and its end by force."""

from __future__ import annotations

import os
import resource
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from bench.errors import SandboxError
from bench.model import Exit, Rusage

START_DEADLINE = 30.0
"""Seconds a child has for one step of its start, and to be gone once it was killed."""


@dataclass(slots=True)
class NativeProcess:
    """A workload that is a child of this process. `pidfd` becomes readable when it ends.

    `oom_kills` reads the OOM-kill counter of its cgroup (None: unknown). `wrapped` is true where a
    wrapper such as bubblewrap reports death by signal N as exit status 128+N. `alone` is true where
    no cgroup holds its descendants: then they are killed with their process group when it ends.
    """

    pid: int
    stdout: int
    stderr: int
    pidfd: int
    oom_kills: Callable[[], int | None] | None = None
    wrapped: bool = False
    alone: bool = True
    parked_cpu: float = 0.0
    """CPU seconds before the workload began, which wait4(2) counts as well."""
    _kills_before: int | None = None
    _exit: Exit | None = None
    _rusage: Rusage | None = None
    _closed: bool = False

    def __post_init__(self) -> None:
        self._kills_before = self.oom_kills() if self.oom_kills else None

    def poll(self) -> Exit | None:
        """How it ended, or None while it runs; reaps it. "oom" is SIGKILL with a counted OOM kill."""
        if self._exit is None and self._ended():
            if self.alone:
                # Before reaping: as long as the leader is a zombie its group number is surely ours.
                self._killpg()
            _, status, usage = os.wait4(self.pid, 0)
            self._rusage = _without(usage, self.parked_cpu)
            self._exit = self._judge(status)
        return self._exit

    def wait(self, timeout: float) -> Exit | None:
        """`poll` once it has ended, or None when `timeout` seconds pass first."""
        if self._exit is None:
            select.select([self.pidfd], [], [], timeout)
        return self.poll()

    def rusage(self) -> Rusage | None:
        """User and system seconds and maxrss in bytes, once it ended.

        `maxrss` can be that of the harness, of which the child is a fork: execve(2) keeps the
        high-water mark. Only what exceeds `Parked.floor` is the workload's own. None behind a wrapper
        that leaves its child to another reaper: wait4(2) then knows of the wrapper alone.
        """
        return None if self.wrapped else self._rusage

    def kill(self) -> None:
        """SIGKILL to its process group unless it was already reaped."""
        if self._exit is None:
            self._killpg()

    def close(self) -> None:
        """Close both pipe ends and, where it was reaped, the pidfd. Idempotent."""
        if not self._closed:
            self._closed = True
            os.close(self.stdout)
            os.close(self.stderr)
        if self._exit is not None and self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def end(self) -> Exit:
        """Kill it if it still runs, reap it and close everything; for the end of a sandbox."""
        self.kill()
        ended = self.wait(START_DEADLINE)
        self.close()
        return ended or Exit("lost", detail="it did not die within the deadline")

    def refused(self, program: str, problem: str) -> SandboxError:
        """The error of a start that failed, after an end of what there is of it."""
        self.end()
        return SandboxError(
            f"'{program}' could not be started: {problem}",
            fix="check that the image holds this program and that it may be executed",
        )

    def _ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _killpg(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _judge(self, status: int) -> Exit:
        after = self.oom_kills() if self.oom_kills else None
        before = self._kills_before
        kills = after - before if after is not None and before is not None else 0
        code = os.waitstatus_to_exitcode(status)
        number = -code if code < 0 else code - 128 if self.wrapped and 128 < code < 128 + 65 else 0
        if number == signal.SIGKILL and kills > 0:
            return Exit("oom", signal=number, detail=f"{kills} OOM kills in its cgroup")
        if number:
            return Exit("signalled", signal=number)
        return Exit("exited", code=code, detail=f"{kills} OOM kills in its cgroup" if kills else "")


def _without(usage: resource.struct_rusage, parked: float) -> Rusage:
    """Usage less the CPU seconds spent parked, taken off user and system in proportion."""
    total = usage.ru_utime + usage.ru_stime
    share = max(0.0, total - parked) / total if total else 0.0
    return Rusage(usage.ru_utime * share, usage.ru_stime * share, usage.ru_maxrss * 1024)
