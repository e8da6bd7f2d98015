"""The network that a case asks for, for sandboxes whose network namespace is made by this program."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.model import NETWORK

if TYPE_CHECKING:
    from bench.runtimes import Arena


@contextlib.contextmanager
def joined(arena: Arena) -> Iterator[Path | None]:
    """A network namespace with a link to the run's bridge; None where the case asks for no network."""
    if arena.params.get(NETWORK, "none") == "none":
        yield None
        return
    from bench.host import bridge

    with bridge.joined(arena.ledger, arena.run) as path:
        yield path
