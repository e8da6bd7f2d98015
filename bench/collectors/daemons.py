"""The collector `daemons`: what the engines of this host use, beside the sandboxes they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bench.collectors import Counter
from bench.host.daemons import KINDS, Daemons, Kind, Meter, find
from bench.model import Missing

if TYPE_CHECKING:
    from bench.runtimes import Sandbox

METRICS: dict[str, Counter] = {
    metric: Counter("s", "counter", title)
    for kind in KINDS
    for metric, title in (
        (f"engine.{kind}.cpu", f"CPU time of {kind}'s daemons and of the children they waited for"),
        (f"engine.{kind}.group", f"CPU time of the control groups of {kind}'s services"),
    )
}


class _Reader:
    def __init__(self, meters: Mapping[Kind, Meter]) -> None:
        self._meters = meters

    def read(self) -> list[Any]:
        return [meter.read() for meter in self._meters.values()]

    def parse(self, raw: list[Any]) -> Mapping[str, float | None]:
        found: dict[str, float | None] = {}
        for (kind, meter), one in zip(self._meters.items(), raw, strict=True):
            found[f"engine.{kind}.cpu"], found[f"engine.{kind}.group"] = meter.parse(one)
        return found

    def close(self) -> None:
        for meter in self._meters.values():
            meter.close()


class Collector:
    """CPU time of every engine's daemons; they are found once, and again where one was restarted."""

    name: ClassVar[str] = "daemons"
    title: ClassVar[str] = "daemons of engines"
    scope: ClassVar[Literal["tenant", "host"]] = "host"
    interval: ClassVar[float] = 1.0
    metrics: ClassVar[Mapping[str, Counter]] = METRICS

    def __init__(self) -> None:
        self._known: dict[Kind, Daemons] = {}

    def requires(self) -> Sequence[Missing]:
        """Nothing: where no engine runs there is nothing to read."""
        return []

    def open(self, sandbox: Sandbox | None) -> _Reader | None:
        """A reader of all engines; None where there is none."""
        meters = {kind: Meter(found) for kind in KINDS if (found := self._daemons(kind))}
        return _Reader(meters) if meters else None

    def _daemons(self, kind: Kind) -> Daemons | None:
        known = self._known.get(kind)
        if known is None or not known.alive():
            known = find(kind)
            self._known.pop(kind, None)
            if known is not None:
                self._known[kind] = known
        return known
