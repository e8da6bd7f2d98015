"""A run directory on its way between machines: its files as one stream, each sent once it is whole.

A file is a JSON line `{"path", "size"}` and then that many bytes. What arrives is not trusted: only names
that a run directory has are taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from bench.errors import RunFormatError
from bench.store import RunDirectory

LARGEST = 256 << 20
"""Bytes of the largest file taken; raw output is capped far below, samples come near 1 MiB."""
_LINE = 4096
_PATH = re.compile(r"(?:host|run)\.json|(?:trials|samples|output)/[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,200}")


class Sender:
    """Writes files of `run` to `stream` as they become whole. Each is flushed at once."""

    def __init__(self, run: RunDirectory, stream: BinaryIO) -> None:
        self._run = run
        self._stream = stream

    def begin(self) -> None:
        """Send what the run directory begins with: facts of the host, and the plan."""
        self._send("host.json")
        self.plan()

    def plan(self) -> None:
        """Send the plan and the notes as they are now."""
        self._send("run.json")

    def trial(self, index: int) -> None:
        """Send all of one finished trial; its record last, so that it stands for the others."""
        for name in sorted(path.name for path in self._run.logs.glob(f"{index:05d}.*")):
            self._send(f"output/{name}")
        if (self._run.path / f"samples/{index:05d}.parquet").exists():
            self._send(f"samples/{index:05d}.parquet")
        self._send(f"trials/{index:05d}.json")

    def _send(self, path: str) -> None:
        content = (self._run.path / path).read_bytes()
        self._stream.write(json.dumps({"path": path, "size": len(content)}).encode() + b"\n" + content)
        self._stream.flush()


class Receiver:
    """Takes the stream in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: tuple[str, int] | None = None

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """(path below the run directory, content) of each file that is whole now.

        RunFormatError on what is no file of a run directory.
        """
        self._buffer += data
        while True:
            if self._waiting is None and not self._header():
                return
            assert self._waiting is not None
            path, size = self._waiting
            if len(self._buffer) < size:
                return
            content = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._waiting = None
            yield path, content

    @property
    def torn(self) -> bool:
        """Whether the stream has broken off within a file."""
        return bool(self._buffer) or self._waiting is not None

    def _header(self) -> bool:
        end = self._buffer.find(b"\n", 0, _LINE)
        if end < 0:
            if len(self._buffer) >= _LINE:
                raise _foreign(bytes(self._buffer[:80]))
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            head = json.loads(line)
            path, size = str(head["path"]), int(head["size"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise _foreign(line[:80]) from error
        if not _PATH.fullmatch(path) or not 0 <= size <= LARGEST:
            raise _foreign(line[:200])
        self._waiting = (path, size)
        return True


def _foreign(line: bytes) -> RunFormatError:
    return RunFormatError(
        f"the stream of the run holds what is no file of a run directory: {line.decode(errors='replace')!r}",
        fix="the finished trials are safe; go on with: bench run --resume RUN",
    )
