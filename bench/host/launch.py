"""Parked processes: everything a start needs is done beforehand, the start itself is one execve.

`park` forks a child that enters its network namespace, becomes the tiny `bench.host.stub`, joins its
cgroups, changes its root and waits on a pipe. `Parked.start` sends argv and environment and it becomes
the workload in place: nothing of this program stays inside the limited cgroup, and the timed part
does not depend on how much memory the harness holds.

The child dies with the thread that parked it (PR_SET_PDEATHSIG): that thread must outlive the workload.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import SandboxError
from bench.host import stub
from bench.host.child import START_DEADLINE, NativeProcess
from bench.host.place import OOM_SCORE, READY, Place, become, interpreter, load_libc


@dataclass(slots=True)
class Parked:
    """A child in its place, waiting for what to run. Start it once, or close it."""

    pid: int
    floor: int | None
    """Resident bytes of this process at the fork: only a larger `Rusage.maxrss` is the workload's own."""
    cpu: float
    """Seconds of CPU the child used before the workload began; taken off its `Rusage`."""
    _command: int
    _report: int
    _out: int
    _err: int
    _open: bool = field(default=True)

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
        """Become `argv` (looked up in `env`'s PATH); SandboxError naming the program where it cannot."""
        if not self._open:
            raise SandboxError("this parked process was already started or closed")
        message = encode(argv, env, cwd)
        pidfd = os.pidfd_open(self.pid)
        process = NativeProcess(self.pid, self._out, self._err, pidfd, oom_kills, wrapped, alone, self.cpu)
        self._open = False
        try:
            problem = self.exchange(message)
        finally:
            os.close(self._command)
            os.close(self._report)
        if problem:
            raise process.refused(argv[0], problem)
        return process

    def close(self) -> None:
        """End the child without starting anything, and reap it. Idempotent; a no-op once started."""
        if not self._open:
            return
        self._open = False
        for fd in (self._command, self._report, self._out, self._err):
            os.close(fd)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def exchange(self, message: bytes) -> str:
        """Send a message and wait for what the child reports: READY, an error, or "" once it is gone
        from here (after execve, or dead)."""
        try:
            view = memoryview(message)
            while view:
                view = view[os.write(self._command, view) :]
        except BrokenPipeError:
            return "the parked process died"
        ready, _, _ = select.select([self._report], [], [], START_DEADLINE)
        if not ready:
            return f"no answer within {START_DEADLINE:g} s"
        return os.read(self._report, 4096).decode()


def park(
    attach: Sequence[Path] = (),
    chroot: Path | None = None,
    *,
    netns: Path | None = None,
    oom_score_adj: int | None = OOM_SCORE,
    extra: Sequence[int] = (),
) -> Parked:
    """A child in those cgroups (`attach`: cgroup.procs files), that network namespace and that root.

    It leads a session of its own, has default signals, /dev/null as input and pipes as output.
    SandboxError says which step the kernel refused.
    """
    place = Place(tuple(attach), chroot, netns, oom_score_adj, tuple(extra))
    floor = _resident(os.getpid())
    pid, ends = _fork(place)
    command_r, command_w, report_r, report_w, out_r, out_w, err_r, err_w = ends
    for fd in (command_r, report_w, out_w, err_w):
        os.close(fd)
    os.set_blocking(out_r, False)
    os.set_blocking(err_r, False)
    parked = Parked(pid, floor, 0.0, command_w, report_r, out_r, err_r)
    problem = parked.exchange(place.message())
    if problem != READY.decode():
        parked.close()
        raise SandboxError(
            f"the sandbox could not be entered: {problem or 'the child died before it was in place'}",
            fix="run `bench doctor` to see what this host refuses",
        )
    parked.cpu = cpu_seconds(pid)
    return parked


def _fork(place: Place) -> tuple[int, list[int]]:
    """The child's PID and the descriptors of four pipes: command, report, output, errors."""
    ends: list[int] = []
    parent, libc, argv = os.getpid(), load_libc(), interpreter()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        for _ in range(4):
            ends.extend(os.pipe())
        pid = os.fork()
        if pid == 0:
            become(place, parent, libc, ends, argv)
    except OSError as error:
        for fd in ends:
            os.close(fd)
        raise SandboxError(
            f"no process could be forked: {error.strerror}", fix="raise `ulimit -u` and `ulimit -n`"
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid, ends


def session_pids(session: int, root: Path = Path("/")) -> list[int]:
    """PIDs of every process of that session: what a workload without a cgroup left behind."""
    found = []
    for entry in (root / "proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session:
                    found.append(int(entry.name))
    return sorted(found)


def wait_for(condition: Callable[[], bool], timeout: float, step: float = 0.005) -> bool:
    """Whether `condition` came true within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(step)
    return True


def _resident(pid: int) -> int | None:
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def cpu_seconds(pid: int) -> float:
    """CPU seconds of that process so far, from /proc/PID/schedstat; 0 where this kernel has none."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    return 0.0


def encode(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> bytes:
    """What the stub is told to run, see `stub.command`; SandboxError where it cannot be said."""
    return stub.message(*fields(argv, env, cwd))


def fields(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> list[bytes]:
    """A command as `stub.command` reads it; SandboxError where it cannot be said."""
    words = [cwd, str(len(argv)), *argv, *(f"{key}={value}" for key, value in env.items())]
    if not argv or any("\0" in text for text in words):
        raise SandboxError("a command line needs a program, and no NUL byte")
    return [word.encode(errors="surrogateescape") for word in words]
