"""A Unix socket on the host that stands for one inside a guest."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import HostError, SandboxError
from bench.guest import wire
from bench.guest.duplex import Duplex
from bench.guest.mux import Lane

if TYPE_CHECKING:
    from bench.host.vm.channel import Channel

BACKLOG = 128


def dial(channel: Channel, guest_path: str) -> socket.socket:
    """A stream to that unix socket of the guest; it ends at once where nobody listens there."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    theirs.setblocking(False)

    def join() -> None:
        _join(channel, guest_path, theirs)

    channel.do(join)
    return ours


def _join(channel: Channel, guest_path: str, stream: socket.socket) -> _Connection | None:
    """In the channel's thread: join a stream of this host to the guest's socket; None where it is dead."""
    asked = {"op": "connect", "unix": guest_path}
    try:
        connection = channel.open(asked, lambda lane: _Connection(channel, lane, stream))
    except SandboxError:
        stream.close()
        return None
    if not connection.over:  # the stream died meanwhile, and this with it
        connection.join()
    return connection


class Forwarder:
    """Listens on `host_path`, which only this user may use, and joins each connection to `guest_path`."""

    def __init__(self, channel: Channel, guest_path: str, host_path: Path) -> None:
        self._channel, self._guest_path, self._path = channel, guest_path, host_path
        self._connections: set[_Connection] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            before = os.umask(0o177)  # from its first moment, nobody else's
            try:
                self._listener.bind(str(host_path))
            finally:
                os.umask(before)
            self._listener.listen(BACKLOG)
        except OSError as error:
            self._listener.close()
            raise HostError(
                f"cannot listen on {host_path}: {error.strerror}",
                fix="choose another path, of at most 107 bytes",
            ) from error
        channel.do(self._listen)

    def _listen(self) -> None:
        self._channel.loop.reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            stream, _ = self._listener.accept()
        except OSError:  # it went away again
            return
        connection = _join(self._channel, self._guest_path, stream)
        if connection:
            self._connections = {c for c in self._connections if not c.over} | {connection}

    def lost(self) -> None:
        """The channel died, in its thread: nobody would accept those who wait or come from now on."""
        self._channel.loop.reader(self._listener.fileno(), None)
        self._listener.close()

    def close(self) -> None:
        """Stop listening, break off what is open, remove the socket. Idempotent."""
        stopped = threading.Event()

        def stop() -> None:
            self._channel.loop.reader(self._listener.fileno(), None)
            for connection in self._connections:
                connection.give_up()
            stopped.set()

        if self._channel.failure is None:
            self._channel.do(stop)
            stopped.wait(5)
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


class _Connection:
    """One accepted connection and its channel."""

    def __init__(self, channel: Channel, lane: Lane, stream: socket.socket) -> None:
        self.lane = lane
        self._channel, self._stream = channel, stream
        self._duplex: Duplex | None = None
        self.over = False

    def join(self) -> None:
        """Start copying both ways."""
        self._duplex = Duplex(self.lane, self._stream, self._done, lambda: self.lane.send(wire.CLOSE))

    def _done(self) -> None:
        self.over = True

    def frame(self, kind: int, payload: bytes) -> None:
        """Bytes and their end; RESULT or CLOSE where the guest's end is over."""
        if self._duplex is None:
            return
        if kind in (wire.RESULT, wire.CLOSE):
            self._channel.forget(self)
            self._duplex.end()
        else:
            self._duplex.frame(kind, payload)

    def give_up(self) -> None:
        """Break it off at both ends."""
        if not self.over:
            self.lane.send(wire.CLOSE)
            self.lost("")

    def lost(self, reason: str) -> None:
        """The stream died: so has this connection."""
        self.over = True
        if self._duplex:
            self._duplex.close()
        else:
            self._stream.close()
