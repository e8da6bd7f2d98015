"""Trials on density, read from a run: what the host and the sandboxes take at every level, and the slopes of
it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.analysis.lines import Line, theil_sen
from bench.analysis.starts import counted
from bench.frames import Run
from bench.model import TrialRecord

Level = Mapping[str, float | None]
AVAILABLE, PSS, RSS, USS, CGROUP, KERNEL, MONITOR, ENGINE, DISK, START = MEASURES = (
    "available",
    "pss",
    "rss",
    "uss",
    "cgroup",
    "kernel",
    "monitor",
    "engine",
    "disk",
    "start",
)
_KERNEL = ("host.slab", "host.kernelstack", "host.pagetables", "host.percpu")


def _sum(*metrics: str) -> Callable[[Level], float | None]:
    def add(level: Level) -> float | None:
        found = [level.get(m) for m in metrics]
        known = [v for v in found if v is not None]
        return sum(known) if len(known) == len(found) else None

    return add


def _gone(level: Level) -> float | None:
    left = level.get("host.available")
    return None if left is None else -left


def lost(level: Level) -> float | None:
    """Bytes that the host has less, but for what other programs hold: what is left is the sandboxes'."""
    gone, others = _gone(level), level.get("others.anon")
    return None if gone is None or others is None else gone - others


_OF: Mapping[str, Callable[[Level], float | None]] = {
    AVAILABLE: lost,
    PSS: _sum("sum.pss"),
    RSS: _sum("sum.rss"),
    USS: _sum("sum.uss"),
    CGROUP: _sum("sum.cgroup"),
    KERNEL: _sum(*_KERNEL),
    MONITOR: _sum("monitor.pss"),
    ENGINE: _sum("engine.pss"),
    DISK: _sum("disk.written"),
    "raw": _gone,
    "self": _sum("self.pss"),
}
"""Bytes of one level by measure, more where more is taken."""


@dataclass(frozen=True)
class Crowd:
    """One trial: levels by number of sandboxes, and the seconds of every start by residents beside it."""

    trial: int
    block: int
    runtime: str
    section: str
    levels: Mapping[int, Level]
    after: Level
    starts: tuple[tuple[int, float], ...]
    stopped: str

    def points(self, measure: str) -> list[tuple[float, float]]:
        """Number of sandboxes and value, from the first sandbox on; of `START` residents and seconds."""
        if measure == START:
            return [(float(n), took) for n, took in self.starts]
        found = ((float(n), _OF[measure](level)) for n, level in sorted(self.levels.items()) if n > 0)
        return [(n, v) for n, v in found if v is not None]

    @cached_property
    def lines(self) -> Mapping[str, Line]:
        """The Theil–Sen line of every measure: its slope is what one more sandbox takes."""
        found = {}
        for measure in (*MEASURES, "raw", "self"):
            points = self.points(measure)
            line = theil_sen(*zip(*points, strict=True)) if len(points) >= 3 else None
            if line is not None:
                found[measure] = line
        return found

    def slope(self, measure: str) -> float | None:
        """What one more sandbox takes; None where it was not read at three levels."""
        line = self.lines.get(measure)
        return None if line is None else line.slope

    def first(self, measure: str) -> float | None:
        """What the first sandbox takes: the value with it less the one before it."""
        if 0 not in self.levels or 1 not in self.levels:
            return None
        before, with_it = (_OF[measure](self.levels[n]) for n in (0, 1))
        return None if before is None or with_it is None else with_it - before

    @property
    def returned(self) -> float | None:
        """Share of the memory taken at the highest level that was available again after all were removed."""
        start, top, end = (lost(one) for one in (self.levels[0], self.levels[max(self.levels)], self.after))
        if start is None or top is None or end is None or top <= start:
            return None
        return (top - end) / (top - start)


def crowds(run: Run) -> list[Crowd]:
    """Every trial that came to an end and told of its first level, in the order of the run."""
    sections = {e.name: e.section for e in run.plan.suite.experiments}
    good = (r for r in counted(run) if r.status == "ok" and r.tenants)
    return [c for r in good if 0 in (c := _crowd(r, sections[r.experiment])).levels]


def _crowd(record: TrialRecord, section: str) -> Crowd:
    tenant = record.tenants[0]
    levels: dict[int, dict[str, float | None]] = {}
    after: dict[str, float | None] = {}
    starts = []
    for o in tenant.observations:
        level = o.labels.get("instances")
        if level == "after":
            after[o.metric] = o.value
        elif level is not None:
            levels.setdefault(int(level), {})[o.metric] = o.value
        elif "residents" in o.labels and o.value is not None:
            starts.append((int(o.labels["residents"]), o.value))
    return Crowd(
        record.index,
        record.block,
        record.runtime,
        section,
        levels,
        after,
        tuple(starts),
        str(tenant.facts.get("stopped") or ""),
    )


def slopes(found: Sequence[Crowd], runtime: str, section: str, measure: str) -> dict[int, float]:
    """What one more takes, by block."""
    of = [c for c in found if (c.runtime, c.section) == (runtime, section)]
    return {c.block: v for c in of if (v := c.slope(measure)) is not None}
