"""Letting the tenants of a trial begin together, however long each took to start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.model import Exit

if TYPE_CHECKING:
    from bench.runtimes import Sandbox

NAME = "gate"
"""File name of the gate in each tenant's scratch directory."""
READY = b'{"event": "ready"}'
"""What a workload prints when its timed work could begin."""
PATIENCE = 30.0
"""Seconds after which tenants that are ready no longer wait for one that does not say so."""


class Waiting(Protocol):
    """A tenant as the gate sees it."""

    ready: bool
    exit: Exit | None


class Gate:
    """Lets the tenants of a trial begin together: a file in each one's scratch directory.

    Containers take a while to start, and a tenant that is busy already makes the next one's start
    slower still. So each says that it is ready, and waits until the file appears.
    """

    def __init__(self, openers: Sequence[Callable[[], None]], clock: Callable[[], float]) -> None:
        """`openers` make the file appear, one for each tenant."""
        self._openers = openers
        self._clock = clock
        self._since = clock()
        self._open = False

    def open_when_ready(self, tenants: Sequence[Waiting]) -> None:
        """Open it once every tenant is ready or has ended, or patience is over."""
        waiting = any(not one.ready and one.exit is None for one in tenants)
        if self._open or (waiting and self._clock() - self._since < PATIENCE):
            return
        self._open = True
        for let_go in self._openers:
            let_go()


def openers(
    sandboxes: Iterable[Sandbox], letters: Callable[[], Mapping[str, bytes]] | None = None
) -> list[Callable[[], None]]:
    """What opens the gate of each sandbox, and before that puts the files into all that `letters` returns."""
    of = list(sandboxes)

    def deliver() -> None:
        for name, content in (letters() if letters else {}).items():
            for sandbox in of:
                sandbox.put(name, content)

    return [*([deliver] if letters else []), *(partial(sandbox.put, NAME, b"") for sandbox in of)]


def put(directory: Path, name: str, content: bytes) -> None:
    """Make a file appear in a tenant's scratch directory on this host, where that still exists."""
    if directory.is_dir():
        (directory / name).write_bytes(content)
