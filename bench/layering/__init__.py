"""What a layered file system takes, measured on mounts of the run's own: the contract of a probe, and the
registry.

A case names its probe by the param `probe`; all its other params are the probe's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from bench.errors import UsageError
from bench.limits import nearest
from bench.model import Missing, Scalar

if TYPE_CHECKING:
    from bench.primitives import Place

_MODULES = ("copyup", "lookup", "whiteout", "mix", "economy")
PARAM = "probe"
Clock = Callable[[], float]


@runtime_checkable
class Probe(Protocol):
    """One measurement, with its params, in a process and a mount namespace of its trial alone."""

    @property
    def title(self) -> str:
        """What a report calls it."""

    @property
    def units(self) -> Mapping[str, str]:
        """The unit of every number that is not in seconds."""

    def requires(self) -> Missing | None:
        """Why this host cannot do it with these params, with what would help; None where it can."""

    def measure(self, place: Place, clock: Clock) -> Mapping[str, float]:
        """The numbers by name. What it makes ends with the process, lies in `place`, or is in the ledger."""


def probes() -> Mapping[str, Callable[[Mapping[str, Scalar]], Probe]]:
    """All probes by name, each made from the params of a case."""
    return {name: importlib.import_module(f"{__name__}.{name}").Probe for name in _MODULES}


def find(params: Mapping[str, Scalar]) -> Probe:
    """The probe that those params name; UsageError where there is none such, or a param means nothing to
    it."""
    known, name = probes(), str(params.get(PARAM))
    if name not in known:
        raise UsageError(
            f"unknown probe '{name}'{nearest(name, known)}", fix=f"the probes are: {', '.join(known)}"
        )
    try:
        return known[name](params)
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"the probe '{name}' cannot be made of {dict(params)}: {error}",
            fix="see bench/suites/layers.toml",
        ) from error


def allocated(path: Path) -> int:
    """Bytes that the file or the tree `path` takes on its file system, each inode once (st_blocks of
    stat(2))."""
    seen: dict[tuple[int, int], int] = {}
    for one in (path, *(path.rglob("*") if path.is_dir() else ())):
        found = one.lstat()
        seen[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(seen.values())
