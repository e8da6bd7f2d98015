"""Watching a trial: readers of all collectors on one schedule, raw until the trial is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.collectors import Collector, Reader
from bench.model import Sample
from bench.runtimes import Sandbox

TICK = 0.1
"""Seconds between ticks. Equal to the CFS period, so that a slope over ticks has no phase error."""


@dataclass(slots=True)
class _Source:
    collector: str
    tenant: str
    reader: Reader
    every: int
    raw: list[tuple[float, Any]] = field(default_factory=list)
    closed: bool = False


class Sampler:
    """Reads all sources that are due; the caller decides when by `next_tick` and `tick`.

    `clock` gives seconds of the host's monotonic clock; times in samples count from `origin`.
    """

    def __init__(self, origin: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._origin = origin
        self._sources: list[_Source] = []
        self._tick = 0
        self._start = origin
        self.cost = 0.0
        """CPU seconds this thread spent in reading."""

    def add(self, collectors: Iterable[Collector], sandboxes: Mapping[str, Sandbox]) -> None:
        """Open a reader of every collector for every sandbox, or once for the host."""
        for collector in collectors:
            scopes: dict[str, Sandbox | None] = {"": None} if collector.scope == "host" else {**sandboxes}
            for tenant, sandbox in scopes.items():
                reader = collector.open(sandbox)
                if reader is not None:
                    every = max(1, round(collector.interval / TICK))
                    self._sources.append(_Source(collector.name, tenant, reader, every))

    def begin(self) -> None:
        """Start the schedule now and take the first reading of everything."""
        self._start = self._clock()
        self.read_all()

    @property
    def next_tick(self) -> float:
        """Monotonic time of the next due tick."""
        return self._start + (self._tick + 1) * TICK

    def tick(self, *, read: bool = True) -> None:
        """Read what is due at this tick, or let it pass; ticks that were missed are skipped, not made up."""
        self._tick = max(self._tick + 1, int((self._clock() - self._start) / TICK))
        if read:
            self._read(s for s in self._sources if self._tick % s.every == 0)

    def read_all(self, tenant: str | None = None) -> None:
        """One reading of every source, or of those of one tenant (before its counters vanish)."""
        self._read(s for s in self._sources if tenant is None or s.tenant == tenant)

    def _read(self, sources: Iterable[_Source]) -> None:
        before = time.thread_time()
        for source in sources:
            raw = source.reader.read()
            source.raw.append((self._clock() - self._origin, raw))
        self.cost += time.thread_time() - before

    def close(self) -> None:
        """Close all readers; what was read stays."""
        for source in self._sources:
            if not source.closed:
                source.reader.close()
                source.closed = True

    def samples(self) -> Iterator[Sample]:
        """Everything that was read, parsed now."""
        for source in self._sources:
            for moment, raw in source.raw:
                for metric, value in source.reader.parse(raw).items():
                    yield Sample(moment, source.tenant, source.collector, metric, value)
        yield Sample(self._clock() - self._origin, "", "self", "self.sampling", self.cost)
