"""Many channels over one byte stream: flow control, and descriptors joined to channels.

The host and the agent's Python run this; the agent has its own, agent/line.c and agent/lane.c. The thread of
the loop owns it; `Loop.post` is the only door for others.
"""

from __future__ import annotations

import os

from bench.guest import wire

TYPE_CHECKING = False  # see `wire`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bench.guest.loop import Loop

    Call = Callable[[], None]

CHUNK = 64 * 1024
READ = 512 * 1024
BACKLOG = 512 * 1024
"""Bytes waiting for the stream beyond which no more is read from sources."""


class Line:
    """The stream itself: frames in, bytes out, and what waits until the stream takes more."""

    def __init__(
        self,
        loop: Loop,
        fds: tuple[int, int],
        on_frame: Callable[[int, int, bytes], None],
        on_end: Callable[[str], None],
    ) -> None:
        """`fds` are the descriptors to read and to write, maybe the same; `on_end` hears why it ended."""
        self.loop = loop
        self._in, self._out = fds
        self._on_frame, self._on_end = on_frame, on_end
        self._framer = wire.Framer()
        self._queue: list[bytes] = []
        self._queued = 0
        self._waiting: list[Call] = []
        self.open = True
        for fd in set(fds):
            os.set_blocking(fd, False)
        loop.reader(self._in, self._read)

    @property
    def room(self) -> bool:
        """Whether sources may be read."""
        return self._queued < BACKLOG

    def when_room(self, call: Call) -> None:
        """Call this once when sources may be read again."""
        self._waiting.append(call)

    def send(self, data: bytes) -> None:
        """Send encoded frames, in the order of the calls; what does not go at once is queued."""
        if not self.open:
            return
        self._queue.append(data)
        self._queued += len(data)
        if len(self._queue) == 1:
            self._write()

    def end(self, reason: str) -> None:
        """Stop using the stream and say why. Idempotent; the descriptors stay with their owner."""
        if not self.open:
            return
        self.open = False
        self.loop.reader(self._in, None)
        self.loop.writer(self._out, None)
        self._queue, self._queued = [], 0
        self._on_end(reason)

    def _read(self) -> None:
        try:
            data = os.read(self._in, READ)
        except BlockingIOError:
            return
        except OSError as error:
            self.end(error.strerror or str(error))
            return
        if not data:
            self.end("it was cut off in the middle of a frame" if self._framer.partial else "it was closed")
            return
        for channel, kind, payload in self._framer.feed(data):
            if not self.open:
                return
            self._on_frame(channel, kind, payload)

    def _write(self) -> None:
        try:
            while self._queue:
                # Many small frames go in one call; a port of virtio takes 32 KiB at most.
                data = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
                count = os.write(self._out, data)
                self._queued -= count
                self._queue = [data[count:]] if count < len(data) else []
        except BlockingIOError:
            pass
        except OSError as error:
            self.end(error.strerror or str(error))
            return
        self.loop.writer(self._out, self._write if self._queue else None)
        if self.room:
            self._released()

    def _released(self) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()


class Lane:
    """One channel at one end: what it may still send, and whom its frames concern."""

    def __init__(self, line: Line, channel: int) -> None:
        self.line, self.channel = line, channel
        self.credit = wire.WINDOW
        self._eaten = 0
        self._waiting: list[Call] = []

    def send(self, kind: int, payload: bytes = b"") -> None:
        """Send a frame. DATA and ERR must be within `credit`, which they use up."""
        if kind in (wire.DATA, wire.ERR):
            self.credit -= len(payload)
        self.line.send(wire.encode(self.channel, kind, payload))

    def say(self, kind: int, value: dict[str, Any]) -> None:
        """Send a frame whose payload is JSON."""
        self.send(kind, wire.dumps(value))

    def ate(self, count: int) -> None:
        """That many bytes received on this channel have been passed on: give credit for them."""
        self._eaten += count
        if self._eaten >= wire.WINDOW // 4:
            self.line.send(wire.credit(self.channel, self._eaten))
            self._eaten = 0

    def credited(self, payload: bytes) -> None:
        """A CREDIT frame arrived."""
        self.credit += wire.credit_of(payload)
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    def when_credit(self, call: Call) -> None:
        """Call this once when there is credit again."""
        self._waiting.append(call)


class Source:
    """Copies a descriptor into a channel until its end, then says EOF, as credit and stream allow."""

    def __init__(self, lane: Lane, fd: int, kind: int, done: Call | None = None, owns: bool = True) -> None:
        self._lane, self._fd, self._kind, self._done, self._owns = lane, fd, kind, done, owns
        self.open = True
        os.set_blocking(fd, False)
        lane.line.loop.reader(fd, self._read)

    def _read(self) -> None:
        lane = self._lane
        if lane.credit <= 0 or not lane.line.room:
            lane.line.loop.reader(self._fd, None)
            (lane.when_credit if lane.credit <= 0 else lane.line.when_room)(self._resume)
            return
        try:
            data = os.read(self._fd, min(CHUNK, lane.credit))
        except BlockingIOError:
            return
        except OSError:  # a socket whose other end broke off has no more to say either
            data = b""
        if data:
            lane.send(self._kind, data)
            return
        self.close()
        lane.send(wire.EOF, bytes([self._kind]))
        if self._done:
            self._done()

    def _resume(self) -> None:
        if self.open:
            self._lane.line.loop.reader(self._fd, self._read)

    def close(self) -> None:
        """Stop reading, and close the descriptor where it is its own. Idempotent; says nothing."""
        if self.open:
            self.open = False
            self._lane.line.loop.reader(self._fd, None)
            if self._owns:
                os.close(self._fd)


class Sink:
    """Copies bytes of a channel into a descriptor and gives credit for what went through.

    Where nobody reads the other end any more, the rest is dropped.
    """

    def __init__(self, lane: Lane, fd: int, done: Call | None = None, owns: bool = True) -> None:
        self._lane, self._fd, self._done, self._owns = lane, fd, done, owns
        self._queue: list[bytes] = []
        self._ending = False
        self.open = True
        os.set_blocking(fd, False)

    def feed(self, data: bytes) -> None:
        """Take bytes that arrived."""
        if not self.open or self._ending:
            self._lane.ate(len(data))
            return
        self._queue.append(data)
        if len(self._queue) == 1:
            self._write()

    def finish(self) -> None:
        """No more will come: close once all is written."""
        self._ending = True
        if self.open and not self._queue:
            self.close()

    def _write(self) -> None:
        try:
            while self._queue:
                data = self._queue[0]
                count = os.write(self._fd, data)
                self._queue[:1] = [data[count:]] if count < len(data) else []
                self._lane.ate(count)  # may find the stream dead and close this
        except BlockingIOError:
            pass
        except OSError:
            left = sum(len(data) for data in self._queue)
            self.close()
            self._lane.ate(left)
            return
        if not self.open:
            return
        if self._queue:
            self._lane.line.loop.writer(self._fd, self._write)
            return
        self._lane.line.loop.writer(self._fd, None)
        if self._ending:
            self.close()

    def close(self) -> None:
        """Drop what waits, and close the descriptor where it is its own. Idempotent."""
        if self.open:
            self.open = False
            self._queue = []
            self._lane.line.loop.writer(self._fd, None)
            if self._owns:
                os.close(self._fd)
            if self._done:
                self._done()
