"""A program inside a guest, with pipes on the host like those of a native one."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from bench.errors import SandboxError
from bench.guest import wire
from bench.guest.mux import Lane, Sink
from bench.model import Exit, Rusage

if TYPE_CHECKING:
    from bench.host.vm.channel import Channel

LINGER = 1.0
"""Seconds after a program's end in which what it wrote last may still arrive."""


class GuestProcess:
    """A program started by `Channel.exec`. Its output waits in the guest where nobody reads it here."""

    def __init__(self, channel: Channel, lane: Lane) -> None:
        self.lane = lane
        self._channel = channel
        self.stdout, out = os.pipe2(os.O_CLOEXEC)
        self.stderr, err = os.pipe2(os.O_CLOEXEC)
        for end in (self.stdout, self.stderr):
            os.set_blocking(end, False)
        self._sinks = {wire.DATA: Sink(lane, out), wire.ERR: Sink(lane, err)}
        self.result: dict[str, Any] = {}
        """What the agent said: `pid` and `cgroup` in the guest once started, all of RESULT once ended."""
        self._exit: Exit | None = None
        self._ended_at = 0.0
        self._rusage: Rusage | None = None
        self._begun = threading.Event()
        self._gone = threading.Event()
        self._closed = False

    def started(self, deadline: float = 30.0) -> Mapping[str, Any]:
        """`pid` and `cgroup` in the guest, once the program runs; SandboxError where it could not start."""
        if not self._begun.wait(deadline):
            raise SandboxError(
                f"{self._channel.guest} did not start the program within {deadline:g} s",
                fix="look at the guest's serial log",
            )
        if self._exit and self._exit.reason in ("start-failed", "lost"):
            raise SandboxError(f"the program did not start in {self._channel.guest}: {self._exit.detail}")
        return self.result

    def poll(self) -> Exit | None:
        """How it ended, or None while it runs or its last output is still on the way here.

        What it started and left running may hold its output open: that is waited for a second.
        """
        late = any(sink.open for sink in self._sinks.values()) and monotonic() < self._ended_at + LINGER
        return None if late else self._exit

    def rusage(self) -> Rusage | None:
        """What wait4(2) said inside the guest, once ended; the guest's own accounting of its own CPUs."""
        return self._rusage

    def kill(self) -> None:
        """Kill it and all it started."""
        self._channel.do(lambda: self.lane.send(wire.SIGNAL, b"kill"))

    def signal(self, number: int) -> None:
        """Send that signal to its process group."""
        self._channel.do(lambda: self.lane.send(wire.SIGNAL, str(int(number)).encode()))

    def close(self) -> None:
        """Close both pipe ends; the agent kills what still runs and removes its cgroup. Idempotent."""
        if not self._closed:
            self._closed = True
            os.close(self.stdout)
            os.close(self.stderr)
            self._channel.do(lambda: self.lane.send(wire.CLOSE))

    def wait_gone(self, deadline: float = 15.0) -> None:
        """Return once nothing is left of it in the guest, after `close`; SandboxError otherwise."""
        if not self._gone.wait(deadline):
            raise SandboxError(f"{self._channel.guest} did not end the program within {deadline:g} s")
        if error := self.result.get("stuck"):
            raise SandboxError(f"in {self._channel.guest}: {error}", fix="give the trial a fresh guest")

    # --- the channel's thread -----------------------------------------------------------------

    def frame(self, kind: int, payload: bytes) -> None:
        """Output, its end, the start, the result, the end of all."""
        if kind in self._sinks:
            self._sinks[kind].feed(payload)
        elif kind == wire.EOF:
            self._sinks[payload[0]].finish()
        elif kind == wire.STARTED:
            self.result |= wire.loads(payload)
            self._begun.set()
        elif kind == wire.RESULT:
            self._ended(wire.loads(payload))
        elif kind == wire.CLOSE:
            self.result["stuck"] = wire.loads(payload).get("error")
            self._channel.forget(self)
            self._end(Exit("lost", detail="it was closed before it ended"))

    def _ended(self, result: Mapping[str, Any]) -> None:
        self.result |= result
        if "error" in result:
            self._end(Exit("start-failed", detail=result["error"]))
            return
        usage = result["rusage"]
        self._rusage = Rusage(usage["user"], usage["system"], usage["maxrss"])
        self._ended_at = monotonic()
        self._exit = exit_of(result)
        self._begun.set()

    def lost(self, reason: str) -> None:
        """The stream died: what has arrived can still be read, then comes the end."""
        self._end(Exit("lost", detail=f"{self._channel.guest} stopped answering: {reason}"))

    def _end(self, how: Exit) -> None:
        self._exit = self._exit or how
        for sink in self._sinks.values():
            with contextlib.suppress(OSError):
                sink.close()
        self._begun.set()
        if how.reason == "lost":
            self._gone.set()


def exit_of(result: Mapping[str, Any]) -> Exit:
    """A RESULT of `exec` as an Exit."""
    if result["oom"]:
        return Exit("oom", signal=result["signal"], detail="memory.events of its cgroup in the guest")
    if result["signal"] is not None:
        return Exit("signalled", signal=result["signal"])
    return Exit("exited", code=result["code"])
