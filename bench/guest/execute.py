"""The operation `exec`: a program in a control group of its own, its output as it comes, and how it ended."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

from bench.guest import group, wire
from bench.guest.child import Child
from bench.guest.mux import Lane, Source
from bench.guest.operation import Operation

TYPE_CHECKING = False  # see `wire`
if TYPE_CHECKING:
    from typing import Any

    from bench.guest.operation import Session

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DRAIN = 10.0
"""Seconds to wait for killed processes to leave before the group counts as stuck."""
_STEP = 0.005


class Execute(Operation):
    """{argv, env, cwd, name, uid?} → STARTED {pid, cgroup}, DATA, ERR, RESULT {code, signal, oom, rusage}."""

    def __init__(self, session: Session, lane: Lane) -> None:
        super().__init__(session, lane)
        self.cgroup: str | None = None
        self.child: Child | None = None
        self.watchers: list[Operation] = []
        self._sources: list[Source] = []
        self._failure = b""
        self._closing = 0.0

    def start(self, asked: dict[str, Any]) -> None:
        """Fork, put the child into its group, execute; the report of an error comes through a pipe."""
        program = _Program(asked)
        self.cgroup = program.cgroup = group.create(str(asked.get("name") or "workload"))
        try:
            self._fork(program)
        except OSError:
            if self.cgroup:
                group.remove(self.cgroup)
            raise

    def _fork(self, program: _Program) -> None:
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        out, err, report = (os.pipe2(os.O_CLOEXEC) for _ in range(3))
        try:
            self.child = Child(self.loop, program.become, (null, out[1], err[1], report[1]), self._ended)
        finally:
            for fd in (null, out[1], err[1], report[1]):
                os.close(fd)
        os.set_blocking(report[0], False)
        self._sources = [Source(self.lane, out[0], wire.DATA), Source(self.lane, err[0], wire.ERR)]
        self._report = report[0]
        self.loop.reader(report[0], self._reported)

    def _reported(self) -> None:
        """The report pipe closed, by execve or by an end; or it says what failed."""
        if self._report < 0:
            return
        try:
            data = os.read(self._report, 4096)
        except BlockingIOError:
            return
        self._failure += data
        if not data:
            self.loop.close(self._report)
            self._report = -1
            if not self._failure and self.child:
                self.lane.say(wire.STARTED, {"pid": self.child.pid, "cgroup": self.cgroup})

    def _ended(self, status: int, usage: Any) -> None:
        while self._report >= 0:  # its writing end is closed by now
            self._reported()
        for watcher in self.watchers:
            watcher.frame(wire.SIGNAL, b"last")
        if self._failure:
            number, _, text = self._failure.decode(errors="replace").partition(" ")
            self.lane.say(wire.RESULT, {"error": text, "errno": int(number), "cgroup": self.cgroup})
            return
        signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        killed = signal == _signal.SIGKILL and self.cgroup is not None and group.oom_kills(self.cgroup) > 0
        rusage = {"user": usage.ru_utime, "system": usage.ru_stime, "maxrss": usage.ru_maxrss * 1024}
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        self.lane.say(
            wire.RESULT,
            {"code": code, "signal": signal, "oom": killed, "rusage": rusage, "cgroup": self.cgroup},
        )

    def frame(self, kind: int, payload: bytes) -> None:
        """SIGNAL "kill", or SIGNAL with a number for the program's process group."""
        if kind == wire.SIGNAL and payload == b"kill":
            self._kill()
        elif kind == wire.SIGNAL and payload.isdigit() and self.child and self.child.running:
            os.killpg(self.child.pid, int(payload))

    def _kill(self) -> None:
        if self.cgroup:
            group.kill(self.cgroup)
        if self.child:
            self.child.kill()

    def close(self) -> None:
        """Kill all of it, and remove the group once it is empty."""
        for source in self._sources:
            source.close()
        self._kill()
        self._leave()

    def _leave(self) -> None:
        gone = not (self.child and self.child.running) and (self.cgroup is None or group.remove(self.cgroup))
        self._closing += _STEP
        if gone:
            self.closed()
        elif self._closing > DRAIN:
            self.closed(f"processes in {self.cgroup or 'the guest'} outlived SIGKILL for {DRAIN:g} s")
        else:
            self.loop.later(_STEP, self._leave)


class _Program:
    """What a child becomes; everything is prepared before the fork."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._argv = [os.fsencode(word) for word in asked["argv"]]
        given = asked.get("env") or {}
        self._env = {os.fsencode(k): os.fsencode(v) for k, v in given.items()}
        self._env.setdefault(b"PATH", PATH.encode())
        self._cwd = os.fsencode(asked.get("cwd") or "/")
        self._uid = asked.get("uid")
        self.cgroup: str | None = None
        if not self._argv:
            raise ValueError("argv is empty")

    def become(self) -> None:
        """In the child: the group first, so that all it uses is counted there; then execve."""
        step = "join the cgroup"
        try:
            os.set_inheritable(3, False)
            if self.cgroup:
                group.enter(self.cgroup)
            step = "oom_score_adj"
            with open("/proc/self/oom_score_adj", "w", encoding="utf-8") as file:
                file.write("0")
            step = f"change to {os.fsdecode(self._cwd)}"
            os.chdir(self._cwd)
            if self._uid is not None:
                step = f"become user {self._uid}"
                os.setgroups([])
                os.setgid(self._uid)
                os.setuid(self._uid)
            step = f"start {os.fsdecode(self._argv[0])}"
            self._execute()
        except (OSError, ValueError) as error:  # ValueError: a zero byte in a word
            number, cause = getattr(error, "errno", 22), getattr(error, "strerror", None) or error
            os.write(3, f"{number} {step}: {cause}".encode(errors="replace")[:4000])
            os._exit(127)

    def _execute(self) -> None:
        """execvpe(3); the error is the first that tells more than that a directory lacks the program."""
        program = self._argv[0]
        if b"/" in program:
            os.execve(program, self._argv, self._env)  # noqa: S606 - the point of it all
        telling: OSError | None = None
        for directory in self._env[b"PATH"].split(b":"):
            try:
                os.execve(directory + b"/" + program, self._argv, self._env)  # noqa: S606
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                telling = telling or error
        raise telling or FileNotFoundError(2, "No such file or directory in PATH")
