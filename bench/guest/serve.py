"""The Python of the agent: its child, which carries out the operations that are the harness's own functions.

The agent (agent/*.c) starts it with the first of them, passes the frames of their channels on as they are,
and speaks the protocol of `wire` with it over a socket that is its standard input and output.
"""

from __future__ import annotations

import os

from bench.guest import child, jobs, wire
from bench.guest.loop import Loop
from bench.guest.mux import Lane, Line
from bench.guest.operation import Operation, trouble

TYPE_CHECKING = False  # see `wire`
if TYPE_CHECKING:
    from typing import Any


class Server:
    """Serves a stream until it ends."""

    def __init__(self) -> None:
        self.loop = Loop()
        self._operations: dict[int, Operation] = {}
        self._line: Line | None = None

    def serve(self, fds: tuple[int, int]) -> None:
        """Serve over these descriptors until the agent is gone, and end all that it had asked for."""
        self._line = line = Line(self.loop, fds, self._frame, lambda reason: None)
        try:
            while line.open:
                self.loop.once()
        finally:
            for operation in list(self._operations.values()):
                operation.close()

    def _frame(self, channel: int, kind: int, payload: bytes) -> None:
        assert self._line
        if kind == wire.HELLO:
            self._line.send(wire.hello(payload[: wire.TOKEN], {"version": wire.VERSION}))
        elif kind == wire.GARBAGE:
            self._line.end(f"garbage on the line: {payload.decode(errors='replace')}")
        elif kind == wire.OPEN:
            self._open(channel, payload)
        elif channel in self._operations:
            operation = self._operations[channel]
            if kind == wire.CREDIT:
                operation.lane.credited(payload)
            elif kind == wire.CLOSE:
                operation.close()
            else:
                operation.frame(kind, payload)
        elif kind == wire.CLOSE:  # the operation ended by itself meanwhile
            self._line.send(wire.encode(channel, wire.CLOSE, b"{}"))

    def _open(self, channel: int, payload: bytes) -> None:
        assert self._line
        lane = Lane(self._line, channel)
        try:
            asked = wire.loads(payload)
            operation: Operation = (_Warm if asked["op"] == "warm" else jobs.Job)(self, lane)
        except Exception as error:  # whatever it was, the host asked for it and is told
            lane.say(wire.RESULT, trouble(error))
            return
        self._operations[channel] = operation
        try:
            operation.start(asked)
        except Exception as error:
            operation.finish(trouble(error))

    def forget(self, operation: Operation) -> None:
        """Its channel is over."""
        self._operations.pop(operation.lane.channel, None)


class _Warm(Operation):
    def start(self, asked: dict[str, Any]) -> None:
        """Import now what calls and collectors need, so that no timed path waits for it later."""
        jobs.warm(asked.get("collectors", ()))
        self.finish({})


def boot() -> str | None:
    """How this guest was booted, by the kernel's command line; None where it is no guest of ours."""
    with open("/proc/cmdline", encoding="utf-8", errors="replace") as file:
        for word in file.readline().split():
            if word.startswith("isobench.boot="):
                return word.partition("=")[2]
    return None


def main() -> None:
    """Serve the agent, as urgent as it is itself, over the standard streams."""
    if boot() is not None and os.geteuid() == 0:
        child.urgent_if_allowed()
        with open("/proc/self/oom_score_adj", "w", encoding="utf-8") as file:
            file.write("-1000")
    line = os.dup(0)
    for fd in (0, 1):  # so that nothing printed by mistake gets between the frames
        os.dup2(2, fd)
    Server().serve((line, line))
