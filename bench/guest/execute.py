"""The operation `exec`: a program in a control group of its own, its output as it comes, and how it ended."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

from bench.guest import group, wire
from bench.guest.mux import Lane, Source
from bench.guest.operation import Operation
from bench.guest.program import Program

TYPE_CHECKING = False  # see `wire`
if TYPE_CHECKING:
    from typing import Any

    from bench.guest.child import Child
    from bench.guest.operation import Session
    from bench.guest.spare import Spare

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
        """Tell a waiting child what to become; the report of an error comes through a pipe."""
        Program(asked)  # what is wrong with it is found before anything is made
        self.cgroup = group.create(str(asked.get("name") or "workload"))
        try:
            spare = self._told(asked | {"cgroup": self.cgroup})
        except OSError:
            if self.cgroup:
                group.remove(self.cgroup)
            raise
        self.child = spare.child
        os.set_blocking(spare.report, False)
        self._sources = [Source(self.lane, spare.out, wire.DATA), Source(self.lane, spare.err, wire.ERR)]
        self._report = spare.report
        self.loop.reader(self._report, self._reported)

    def _told(self, asked: dict[str, Any]) -> Spare:
        while True:
            spare = self.session.spare()
            try:
                spare.become(asked, self._ended)
            except BrokenPipeError:  # somebody killed it while it waited
                spare.discard()
            else:
                return spare

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
