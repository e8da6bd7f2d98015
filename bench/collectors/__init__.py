"""The contract of a collector, and the registry: a module `NAME.py` here is the collector `NAME`.

A collector keeps descriptors open and `pread`s them; nothing is parsed until the trial is over.
Third parties add collectors through the entry-point group `bench.collectors`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from bench.model import Missing
    from bench.runtimes import Sandbox


class Reader(Protocol):
    """An open source of readings of one sandbox, or of the host."""

    def read(self) -> Any:
        """One raw reading, cheap: bytes or a tuple of bytes; None inside for what could not be read."""

    def parse(self, raw: Any) -> Mapping[str, float | None]:
        """That reading as numbers in SI, by metric; None for a field this kernel does not offer."""

    def close(self) -> None:
        """Close what `open` opened. Idempotent."""


@dataclass(frozen=True, slots=True)
class Counter:
    """What a collector says of a metric it can give: unit, and whether it only grows."""

    unit: str
    kind: Literal["counter", "gauge", "peak"]
    title: str


@runtime_checkable
class Collector(Protocol):
    """A source of samples. The class in a plug-in module is called `Collector`."""

    name: ClassVar[str]
    title: ClassVar[str]
    scope: ClassVar[Literal["tenant", "host"]]
    interval: ClassVar[float]
    """Seconds between readings, a multiple of 0.1; readings at the start and the end come besides."""
    metrics: ClassVar[Mapping[str, Counter]]

    def requires(self) -> Sequence[Missing]:
        """What this host lacks for this collector, each with its fix."""

    def open(self, sandbox: Sandbox | None) -> Reader | None:
        """A reader for that sandbox (None: the host), or None where it has nothing to read there."""


def names() -> list[str]:
    """Names of all collectors, those of third parties included."""
    found = {m.name for m in pkgutil.iter_modules(__path__)}
    return sorted(found | {e.name for e in entry_points(group="bench.collectors")})


def load(name: str) -> Collector:
    """The collector of that name."""
    for entry in entry_points(group="bench.collectors"):
        if entry.name == name:
            collector: Collector = entry.load()()
            return collector
    loaded: Collector = importlib.import_module(f"{__name__}.{name}").Collector()
    return loaded


def metric_units() -> dict[str, str]:
    """Unit of every metric any collector can give, for column metadata."""
    return {metric: c.unit for name in names() for metric, c in load(name).metrics.items()}


__all__ = ["Collector", "Counter", "Reader", "load", "metric_units", "names"]
