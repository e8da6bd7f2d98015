"""A connected socket joined to a channel: both ways, each closed on its own."""

from __future__ import annotations

from bench.guest import wire
from bench.guest.mux import Lane, Sink, Source

TYPE_CHECKING = False  # see `wire`
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    Call = Callable[[], None]


class Duplex:
    """The host's half of a connection; what the agent does with the other half is in agent/connect.c."""

    def __init__(self, lane: Lane, stream: socket.socket, done: Call, gone: Call = lambda: None) -> None:
        """`done` is called once, when both directions are over; `gone` where the peer closed both at once."""
        self.done = done
        self._lane, self._stream, self._gone = lane, stream, gone
        self._reading = self._writing = True
        self._sink = Sink(lane, stream.fileno(), self._written, owns=False)
        self._source = Source(lane, stream.fileno(), wire.DATA, self._read, owns=False)

    def frame(self, kind: int, payload: bytes) -> None:
        """Bytes for the socket, or their end."""
        if kind == wire.DATA:
            self._sink.feed(payload)
        elif kind == wire.EOF:
            self._sink.finish()

    def _read(self) -> None:
        """The peer says no more: it may still listen, or have gone altogether, which shows as a hang-up."""
        self._reading = False
        if self._writing:
            self._lane.line.loop.hangup(self._stream.fileno(), self._hung_up)
        self._settle()

    def _hung_up(self) -> None:
        self._gone()
        self._sink.close()

    def _written(self) -> None:
        try:
            self._stream.shutdown(1)
        except OSError:
            pass  # the peer has gone already, which says the same
        self._writing = False
        self._settle()

    def end(self) -> None:
        """The other end of the channel is over: read no more, and write what has arrived."""
        self._source.close()
        self._reading = False
        self._sink.finish()
        self._settle()

    def _settle(self) -> None:
        if not self._reading and not self._writing and self._stream.fileno() >= 0:
            self._lane.line.loop.hangup(self._stream.fileno(), None)
            self._stream.close()
            self.done()

    def close(self) -> None:
        """Break off at once. Idempotent; `done` is not called."""
        self.done = lambda: None
        self._source.close()
        self._reading = False
        self._sink.close()
        self._settle()
