"""Talking to a program in a guest: its output, its messages line by line, and the wish to stop it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import click

from bench.commands.testbed import ENVIRONMENT, Testbed
from bench.errors import SandboxError
from bench.model import Exit
from bench.sandboxes.console import last_words

PATIENCE = 120.0
"""Seconds an interrupted program has to clean up inside before it is killed."""
SILENCE = 180.0
"""Seconds without a word after which the guest is asked whether it still lives; no trial lasts as long."""
ANSWER = 60.0


def said(line: str) -> None:
    """A line on standard error."""
    click.echo(line, err=True)


@dataclass
class Stop:
    """The wish to stop. Until `gently` it is a KeyboardInterrupt, so that a boot can be broken off."""

    asked: bool = False
    gently: bool = False
    at: float = 0.0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """The handler of a signal."""
        first, self.asked = not self.asked, True
        if first:
            self.at = time.monotonic()
            if not self.gently:
                raise KeyboardInterrupt


@contextlib.contextmanager
def stopping() -> Iterator[Stop]:
    """SIGINT and SIGTERM are taken note of; the clean-up is never cut short by a second one."""
    stop = Stop()
    before: dict[int, Any] = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def converse(bed: Testbed, argv: Sequence[str], stop: Stop, take: Callable[[bytes], None]) -> int:
    """Run a program inside, its output to `take`, its messages to standard error; its exit status.

    A wish to stop is passed on as SIGINT. SandboxError where the guest or the program is lost.
    """
    process = bed.channel.exec(argv, dict(ENVIRONMENT), "/", "run")
    told = killed = False
    lines = _Lines()
    streams: dict[int, Callable[[bytes], None]] = {process.stdout: take, process.stderr: lines.feed}
    heard = time.monotonic()
    try:
        while streams or process.poll() is None:
            for fd in select.select(list(streams), [], [], 0.1)[0]:
                heard = time.monotonic()
                if data := os.read(fd, 1 << 16):
                    streams[fd](data)
                else:
                    del streams[fd]
            if stop.asked and not told:
                told = True
                process.signal(signal.SIGINT)
            if told and not killed and time.monotonic() - stop.at > PATIENCE:
                killed = True
                process.kill()
            if time.monotonic() - heard > SILENCE:
                heard += bed.channel.ping(ANSWER) + SILENCE
        lines.end()
        return _status(process.poll(), bed)
    finally:
        process.close()


def _status(ended: Exit | None, bed: Testbed) -> int:
    if ended is not None and ended.reason == "exited" and ended.code is not None:
        return ended.code
    why = "it does not end"
    if ended is not None:
        why = ended.detail or (f"signal {ended.signal}" if ended.signal else ended.reason)
    raise SandboxError(f"the run inside {bed.kind} broke off: {why}{last_words(bed.serial)}")


class _Lines:
    """Passes on whole lines, marked as the guest's."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            said(f"│ {line.decode(errors='replace')}")

    def end(self) -> None:
        if self._rest:
            self.feed(b"\n")
