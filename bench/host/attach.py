"""The output of a container: the engine's one multiplexed stream taken apart into two pipes.

Format (Docker Engine API, "Attach to a container"): an 8-byte header, byte 0 the stream (1 stdout,
2 stderr), bytes 4 to 7 the payload's length, big-endian, then the payload.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading

_HEADER = struct.Struct(">BxxxI")
_CHUNK = 65536


class Demultiplexer:
    """Bytes in, in any portions; (stream, payload) pieces out, each as soon as it is there."""

    def __init__(self) -> None:
        self._head = b""
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """What `data` completes or continues, in order; a payload may come in several pieces."""
        pieces = []
        while data:
            if self._left == 0:
                need = _HEADER.size - len(self._head)
                self._head, data = self._head + data[:need], data[need:]
                if len(self._head) == _HEADER.size:
                    self._stream, self._left = _HEADER.unpack(self._head)
                    self._head = b""
                continue
            piece, data = data[: self._left], data[self._left :]
            self._left -= len(piece)
            pieces.append((self._stream, piece))
        return pieces


class Pump:
    """A thread that copies a container's stream into two pipes until it ends.

    `stdout` and `stderr` are non-blocking read ends. Nothing is dropped: when a pipe is full the
    thread waits, so does the engine, and in the end the workload, as with a pipe of its own.
    """

    def __init__(self, source: int) -> None:
        """`source` is the descriptor of the attached stream; the pump owns and closes it."""
        self._source = source
        self.stdout, out = os.pipe2(os.O_CLOEXEC)
        self.stderr, err = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(source, True)
        for end in (self.stdout, self.stderr):
            os.set_blocking(end, False)
        self._ended = threading.Event()
        self.failure: str | None = None
        """Why the stream broke, None where it ended in order."""
        self._thread = threading.Thread(
            target=self._run, args=(out, err), name="container output", daemon=True
        )
        self._thread.start()
        self._closed = False

    @property
    def ended(self) -> bool:
        """Whether the stream has ended and everything of it is in the pipes."""
        return self._ended.is_set()

    def close(self) -> None:
        """Close both read ends; a thread that waits to write gives up on its own. Idempotent."""
        if not self._closed:
            self._closed = True
            os.close(self.stdout)
            os.close(self.stderr)

    def _run(self, out: int, err: int) -> None:
        ends = {1: out, 2: err}
        demultiplexer = Demultiplexer()
        try:
            while data := os.read(self._source, _CHUNK):
                for stream, payload in demultiplexer.feed(data):
                    _write_all(ends.get(stream), payload)
        except BrokenPipeError:
            pass  # the reader has seen enough and closed its ends
        except OSError as error:
            self.failure = str(error)
        finally:
            for fd in (self._source, out, err):
                with contextlib.suppress(OSError):
                    os.close(fd)
            self._ended.set()


def _write_all(fd: int | None, payload: bytes) -> None:
    while fd is not None and payload:
        payload = payload[os.write(fd, payload) :]
