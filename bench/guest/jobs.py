"""Operations that a forked copy of the agent's Python carries out: calls, files, watching.

So one that takes long, a large tree or a slow answer, delays no other. A job reads the channel's bytes on
descriptor 0, writes bytes to 1, and its RESULT to 3.
"""

from __future__ import annotations

import os

from bench.guest import wire
from bench.guest.child import Child, ordinarily
from bench.guest.mux import Lane, Sink, Source
from bench.guest.operation import Operation, trouble

TYPE_CHECKING = False  # see `wire`
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from bench.guest.operation import Session

    Body = Callable[[dict[str, Any]], dict[str, Any]]

MODULES = {
    "call": "bench.guest.calls",
    "write": "bench.guest.files",
    "read": "bench.guest.files",
    "put": "bench.guest.files",
    "get": "bench.guest.files",
    "watch": "bench.guest.watch",
}
"""Where the function that carries out an operation is; it has the operation's name."""


class Job(Operation):
    """A function in a child, its bytes and its result."""

    def __init__(self, session: Session, lane: Lane) -> None:
        super().__init__(session, lane)
        self._child: Child | None = None
        self._sink: Sink | None = None
        self._sources: list[Source] = []
        self._answer = b""
        self._result = -1
        self._open_ends = 2
        self._status: int | None = None
        self._closing = False

    def start(self, asked: dict[str, Any]) -> None:
        """Fork. What it needs is imported here, once for all jobs."""
        asked = dict(asked)
        name = asked.pop("op")
        if name not in MODULES:
            raise ValueError(f"unknown operation '{name}'")
        ordinarily(lambda: _body(name))
        into, out, result = (os.pipe2(os.O_CLOEXEC) for _ in range(3))
        theirs = (into[0], out[1], 2, result[1])
        try:
            self._child = Child(self.loop, lambda: _carry_out(name, asked), theirs, self._ended)
        finally:
            for fd in (into[0], out[1], result[1]):
                os.close(fd)
        self._sink = Sink(self.lane, into[1])
        self._sources = [Source(self.lane, out[0], wire.DATA, self._end)]
        os.set_blocking(result[0], False)
        self._result = result[0]
        self.loop.reader(self._result, self._read_result)

    def _read_result(self) -> None:
        try:
            data = os.read(self._result, 65536)
        except BlockingIOError:
            return
        self._answer += data
        if not data:
            self.loop.close(self._result)
            self._end()

    def _ended(self, status: int, usage: Any) -> None:
        self._status = status
        self._end(0)

    def _end(self, ends: int = 1) -> None:
        """Report once the child is gone and all it wrote has been sent."""
        self._open_ends -= ends
        if self._open_ends or self._status is None:
            return
        if self._sink:
            self._sink.close()
        if self._closing:
            self.closed()
        elif self._answer:
            self.finish(wire.loads(self._answer))
        else:
            self.finish({"error": f"the agent's own process broke: wait status {self._status:#x}"})

    def frame(self, kind: int, payload: bytes) -> None:
        """Bytes for the job; EOF after them; or the word that the program it watches has ended."""
        assert self._sink
        if kind == wire.DATA:
            self._sink.feed(payload)
        elif kind == wire.EOF:
            self._sink.finish()
        elif kind == wire.SIGNAL and payload == b"last":
            self._sink.feed(b"L")

    def close(self) -> None:
        """Kill it; the CLOSE follows when it is gone."""
        self._closing = True
        for source in self._sources:
            if source.open:
                source.close()
                self._open_ends -= 1
        if self._child:
            self._child.kill()
        self._end(0)


def _body(operation: str) -> Body:
    import importlib

    body: Body = getattr(importlib.import_module(MODULES[operation]), operation)
    return body


def warm(names: Iterable[str]) -> None:
    """Import the modules of all operations and of those collectors."""
    ordinarily(lambda: _import(names))


def _import(names: Iterable[str]) -> None:
    for operation in MODULES:
        _body(operation)
    from bench import collectors

    for name in names:
        collectors.load(name)
    try:
        import psutil  # noqa: F401
    except ImportError:  # then the collectors that need it will say so
        return


def _carry_out(name: str, asked: dict[str, Any]) -> None:
    """In the child: run the function; its result, or the error that ended it, goes to descriptor 3."""
    try:
        result = _body(name)(asked)
    except Exception as error:  # every error is the asker's to see
        result = trouble(error)
    os.write(3, wire.dumps(result))
