"""The first answer of a payload: over its unix socket, and through a published port where there is one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from socket import socket

from bench.errors import BenchError
from bench.model import PORT
from bench.runtimes import Publishing, Sandbox

SOCKET = "ready"
"""Name of the payload's socket in the tenant's scratch directory."""
QUESTION = b"?"
PAUSE = 0.001
"""Seconds between two questions through a port that does not answer yet."""


class FailedStartError(BenchError):
    """The payload did not come to its first answer; what was stamped until then is kept."""


def ask(sandbox: Sandbox, left: float) -> None:
    """One question and its answer over the payload's socket, within `left` seconds."""
    with contextlib.closing(sandbox.reach(SOCKET)) as stream:
        _question(stream, left)


def reach(sandbox: Publishing, left: Callable[[], float]) -> None:
    """The same through the published port: tried until it answers, as the way there may be made late."""
    while True:
        try:
            with contextlib.closing(sandbox.dial(PORT)) as stream:
                return _question(stream, left())
        except (FailedStartError, OSError) as error:
            if left() <= 0:
                raise FailedStartError(f"no answer came through the published port: {error}") from error
        time.sleep(PAUSE)


def _question(stream: socket, left: float) -> None:
    stream.settimeout(max(0.01, left))
    try:
        stream.sendall(QUESTION)
        answer = stream.recv(16)
    except TimeoutError as error:
        raise FailedStartError("the payload listens and did not answer within the deadline") from error
    if answer != QUESTION:
        raise FailedStartError(f"the payload answered {answer!r} to {QUESTION!r}")
