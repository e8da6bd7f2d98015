"""A start with nothing prepared ahead: spawn, take the place, execve, all in the timed part.

For trials that measure the start itself. Everything else parks its processes, see `bench.host.launch`.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import SandboxError
from bench.host.child import START_DEADLINE, NativeProcess
from bench.host.place import OOM_SCORE, Place

_HIGH = 64
"""Descriptors are moved above this before they are put where the program finds them."""
_CATCHABLE = tuple(s for s in signal.Signals if s not in (signal.SIGKILL, signal.SIGSTOP))


def prompt(
    launcher: Path,
    attach: Sequence[Path] = (),
    chroot: Path | None = None,
    *,
    netns: Path | None = None,
    oom_score_adj: int | None = OOM_SCORE,
    extra: Sequence[int] = (),
) -> Prompt:
    """A process to be in those cgroups, that network namespace and that root, like `launch.park`.

    `launcher` is the compiled `place` of `bench.payloads`.
    """
    kept = tuple(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for fd in extra)  # the caller closes its own
    return Prompt(launcher, Place(tuple(attach), chroot, netns, oom_score_adj, kept))


@dataclass(slots=True)
class Prompt:
    """A process to be, with the interface of `launch.Parked`; there is none before `start`."""

    launcher: Path
    place: Place
    pid: int = 0
    floor: int | None = None
    cpu: float = 0.0
    _open: bool = True

    def start(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str = "/",
        *,
        oom_kills: Callable[[], int | None] | None = None,
        wrapped: bool = False,
        alone: bool = True,
    ) -> NativeProcess:
        """Spawn and become `argv`; SandboxError naming the step and the program where it cannot."""
        if not self._open:
            raise SandboxError("this process was already started or closed")
        if not argv:
            raise SandboxError("a command line needs a program")
        try:
            self.pid, report, out, err = self._spawn(argv, env, cwd)
        finally:
            self.close()
        process = NativeProcess(self.pid, out, err, os.pidfd_open(self.pid), oom_kills, wrapped, alone)
        try:
            problem = _outcome(report)
        finally:
            os.close(report)
        if problem:
            raise process.refused(argv[0], problem)
        return process

    def close(self) -> None:
        """Close the descriptors it was to hand on. Idempotent."""
        if self._open:
            self._open = False
            for fd in self.place.extra:
                os.close(fd)

    def _spawn(self, argv: Sequence[str], env: Mapping[str, str], cwd: str) -> tuple[int, int, int, int]:
        """Its PID, and our ends of its pipes: report, output and errors, the latter two non-blocking."""
        opened: list[int] = []
        try:
            pairs = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
            opened += [fd for pair in pairs for fd in pair]
            (report, told), (out, output), (err, errors) = pairs
            null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            opened.append(null)
            wanted = [null, output, errors, *self.place.extra, told]
            moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for fd in wanted]
            opened += moved
            pid = os.posix_spawn(
                self.launcher,
                [*self._place(len(wanted) - 1), cwd, *map(str, self.place.attach), "--", *argv],
                dict(env),
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(moved)],
                setsid=True,
                setsigmask=(),
                setsigdef=_CATCHABLE,
            )
        except OSError as error:
            for fd in opened:
                os.close(fd)
            raise SandboxError(
                f"no process could be spawned: {error.strerror}", fix="raise `ulimit -u` and `ulimit -n`"
            ) from error
        for fd in opened:
            if fd not in (report, out, err):
                os.close(fd)
        os.set_blocking(out, False)
        os.set_blocking(err, False)
        return pid, report, out, err

    def _place(self, report: int) -> list[str]:
        """The launcher's command line as far as it tells the place without the cgroups."""
        place = self.place
        score = "" if place.oom_score_adj is None else str(place.oom_score_adj)
        fixed = [str(self.launcher), str(report), str(os.getpid()), score]
        return [*fixed, str(place.netns or ""), str(place.chroot or "")]


def _outcome(report: int) -> str:
    """What the child reports: "" once it became the program (or died), else the step and the cause."""
    ready, _, _ = select.select([report], [], [], START_DEADLINE)
    if not ready:
        return f"no answer within {START_DEADLINE:g} s"
    return os.read(report, 4096).decode(errors="replace")
