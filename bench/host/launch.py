"""Parked processes: everything a start needs is done beforehand, the start itself is one execve.

`park` forks a child that enters its network namespace, becomes the tiny `bench.host.stub`, joins its
cgroups, changes its root and waits on a pipe. `Parked.start` sends argv and environment and it becomes
the workload in place: nothing of this program stays inside the limited cgroup, and the timed part
does not depend on how much memory the harness holds.

The child dies with the thread that parked it (PR_SET_PDEATHSIG): that thread must outlive the workload.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import SandboxError
from bench.host import stub
from bench.host.place import OOM_SCORE, READY, Place, become, interpreter, load_libc
from bench.model import Exit, Rusage

START_DEADLINE = 30.0


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


def _without(usage: resource.struct_rusage, parked: float) -> Rusage:
    """Usage less the CPU seconds spent parked, taken off user and system in proportion."""
    total = usage.ru_utime + usage.ru_stime
    share = max(0.0, total - parked) / total if total else 0.0
    return Rusage(usage.ru_utime * share, usage.ru_stime * share, usage.ru_maxrss * 1024)


def encode(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> bytes:
    """What the stub is told to run, see `stub.command`; SandboxError where it cannot be said."""
    return stub.message(*fields(argv, env, cwd))


def fields(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> list[bytes]:
    """A command as `stub.command` reads it; SandboxError where it cannot be said."""
    words = [cwd, str(len(argv)), *argv, *(f"{key}={value}" for key, value in env.items())]
    if not argv or any("\0" in text for text in words):
        raise SandboxError("a command line needs a program, and no NUL byte")
    return [word.encode(errors="surrogateescape") for word in words]
