"""What figures are drawn from: findings by section, representative trials, their readings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bench.analysis.series import Series
from bench.frames import Run
from bench.model import Case, Finding, Observation, TrialRecord
from bench.render import palette
from bench.render.matrix import Column

Line = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
MOST_POINTS = 160
"""No line in a figure has more points; a report stays small however long a run was."""


@dataclass
class Material:
    """One run, prepared for drawing."""

    run: Run
    series: Series
    columns: Sequence[Column]
    looks: dict[str, palette.Look] = field(init=False)
    names: dict[str, str] = field(init=False)
    """What a runtime is called in a picture: "libvirt (emulated)"."""

    def __post_init__(self) -> None:
        controls = frozenset(c.runtime for c in self.columns if c.control)
        self.names = {c.runtime: c.name for c in self.columns}
        self.looks = palette.looks([c.runtime for c in self.columns], controls)

    @cached_property
    def records(self) -> dict[int, TrialRecord]:
        """Finished trials by index."""
        return {r.index: r for r in self.run.records}

    @cached_property
    def cases(self) -> dict[str, Case]:
        """Planned cases by id."""
        return {c.id: c for c in self.run.plan.cases}

    def limited(self, findings: Iterable[Finding]) -> list[Finding]:
        """Measured findings of runtimes that limit, in column order."""
        order = {c.runtime: i for i, c in enumerate(self.columns)}
        kept = [f for f in findings if not f.control and f.measured is not None]
        return sorted(kept, key=lambda f: order.get(f.runtime, 99))

    def representative(self, finding: Finding) -> TrialRecord | None:
        """The trial whose value lies nearest to the estimate, so that no lucky trial is shown."""
        if finding.measured is None or not finding.trials:
            return None
        pairs = list(zip(finding.values, finding.trials, strict=False))
        if not pairs:
            return self.records.get(finding.trials[0])
        centre = finding.measured.estimate
        return self.records.get(min(pairs, key=lambda p: (abs(p[0] - centre), p[1]))[1])

    def samples(self, record: TrialRecord, metric: str) -> Line:
        """Times and values of one metric of the first tenant of a trial; empty where there are none."""
        return self.series.get(record.index, record.tenants[0].name, metric) or (np.empty(0), np.empty(0))

    def observed(self, record: TrialRecord, metric: str) -> list[Observation]:
        """The observations of one metric by the first tenant of a trial, without missing values."""
        return [o for o in record.tenants[0].observations if o.metric == metric and o.value is not None]


def thinned(line: Line) -> Line:
    """The line with at most MOST_POINTS points, first and last kept."""
    times, values = line
    if len(times) <= MOST_POINTS:
        return line
    chosen = np.unique(np.linspace(0, len(times) - 1, MOST_POINTS).round().astype(int))
    return times[chosen], values[chosen]


def slope(line: Line, shortest: float = 0.08) -> Line:
    """The rate of a counter between readings at least `shortest` seconds apart, at their midpoints."""
    times, values = line
    kept = [0] if len(times) else []
    for i in range(1, len(times)):
        if times[i] - times[kept[-1]] >= shortest:
            kept.append(i)
    t, v = times[kept], values[kept]
    return (t[1:] + t[:-1]) / 2, np.diff(v) / np.diff(t)
