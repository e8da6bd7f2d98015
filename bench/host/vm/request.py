"""One question to the agent and its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from bench.errors import SandboxError
from bench.guest import wire
from bench.guest.mux import Lane, Sink, Source

if TYPE_CHECKING:
    from bench.host.vm.channel import Channel


class Operation(Protocol):
    """What the channel tells of one of its lanes; all of it in the channel's thread."""

    lane: Lane

    def frame(self, kind: int, payload: bytes) -> None:
        """A frame of the guest."""

    def lost(self, reason: str) -> None:
        """The stream died; no frame will come."""


class Request:
    """An operation whose bytes are kept in `data` until its RESULT."""

    def __init__(self, channel: Channel, lane: Lane) -> None:
        self.channel, self.lane = channel, lane
        self.data = bytearray()
        self.result: Mapping[str, Any] | None = None
        self._lost = False
        self._over = threading.Event()

    def wait(self, deadline: float) -> Mapping[str, Any]:
        """The RESULT; SandboxError where it is an error, where it takes longer than that many seconds, or
        where the stream dies.
        """
        if not self._over.wait(deadline):
            self.cancel()
            raise SandboxError(
                f"{self.channel.guest}: its agent took longer than {deadline:g} s",
                fix="raise the deadline, or look at the guest's serial log",
            )
        if self.result is None:
            raise self.channel.trouble()
        if "error" in self.result:
            raise SandboxError(f"in {self.channel.guest}: {self.result['error']}", fix=self.result.get("fix"))
        return self.result

    def cancel(self) -> None:
        """Give it up; the agent ends what it had begun."""
        self.channel.do(lambda: self.lane.send(wire.CLOSE))

    def frame(self, kind: int, payload: bytes) -> None:
        """DATA, RESULT, or the CLOSE that answers a `cancel`."""
        if kind == wire.DATA:
            self.took(payload)
        elif kind in (wire.RESULT, wire.CLOSE):
            self.result = wire.loads(payload) if kind == wire.RESULT else {"error": "it was given up"}
            self.channel.forget(self)
            self._end()

    def took(self, payload: bytes) -> None:
        """Bytes that arrived."""
        self.data += payload
        self.lane.ate(len(payload))

    def lost(self, reason: str) -> None:
        """The stream died."""
        self._end()

    def _end(self) -> None:
        self.ended()
        self._over.set()

    def ended(self) -> None:
        """It is over, one way or the other."""


class Upload(Request):
    """A request that sends what comes out of a descriptor, which it closes."""

    _source: Source | None = None
    _done = False

    def begin(self, fd: int) -> None:
        """Send from there until its end."""
        self._call(lambda: self._begin(fd))

    def _call(self, call: Callable[[], None]) -> None:
        self.channel.do(call)

    def _begin(self, fd: int) -> None:
        self._source = Source(self.lane, fd, wire.DATA)
        if self._done:
            self._source.close()

    def ended(self) -> None:
        """Whoever still writes into the pipe gets EPIPE."""
        self._done = True
        if self._source:
            self._source.close()


class Download(Request):
    """A request whose bytes go into a descriptor, which it closes at their end."""

    sink: Sink

    def took(self, payload: bytes) -> None:
        """Pass bytes on as fast as they are read there."""
        self.sink.feed(payload)

    def ended(self) -> None:
        """The reader finds the end after what is still under way; after a loss, at once."""
        if self.result is None:
            self.sink.close()
        else:
            self.sink.finish()
