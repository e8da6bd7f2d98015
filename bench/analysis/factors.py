"""What changes a start: the time to the first answer by network, concurrency, residents and page cache.

Each level of a factor is compared with the factor's first in the same runtime, within blocks. The trial is
the unit: of starts requested at once the median counts, and every single one is drawn.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from bench import factors
from bench.analysis.silence import silence
from bench.analysis.starts import CONFIDENCE, HEADLINE, counted, ratio, seconds
from bench.analysis.stats import quantile
from bench.comparison import estimate
from bench.frames import Run
from bench.model import CACHE, Case, Experiment, Finding, Interval, Scalar, Skipped, TrialRecord
from bench.plan import quickened

PREFIX = "factor/"
"""Of the ids of these findings."""
STILL_CACHED = 0.05
"""Share of the program's pages in the page cache from which on a start is not called cold."""


def analyse(run: Run) -> list[Finding]:
    """Findings by experiment, level, and runtime of the plan; what could not run with its cause."""
    return [
        finding
        for experiment in run.plan.suite.experiments
        if factors.factor(experiment.params)
        for finding in _Factor(run, experiment).findings()
    ]


def answers(record: TrialRecord) -> list[float]:
    """Seconds to the first answer of every start of a trial."""
    return [o.value for t in record.tenants for o in t.observations if o.metric == HEADLINE and o.value]


def values(run: Run, experiment: str, runtime: str, level: Scalar) -> dict[int, float]:
    """By block the median of the starts of the good trial at that level; blocks without one are left out."""
    return {
        r.block: median(found)
        for r in counted(run)
        if (r.experiment, r.runtime, r.status) == (experiment, runtime, "ok")
        and _level(r) == level
        and (found := answers(r))
    }


def times(above: Mapping[int, float], below: Mapping[int, float]) -> Interval | None:
    """How many times `below` it takes `above`, paired by block; None without a common block."""
    return ratio([math.log(v / below[b]) for b, v in above.items() if b in below])


def _level(of: Case | TrialRecord) -> Scalar | None:
    name = factors.factor(of.params)
    return of.params[name] if name else None


class _Factor:
    """One experiment: its levels in every runtime."""

    def __init__(self, run: Run, experiment: Experiment) -> None:
        self.run, self.experiment = run, quickened(experiment) if run.plan.quick else experiment
        name = factors.factor(experiment.params)
        assert name
        self.name, self.levels = name, self.experiment.params[name]

    def findings(self) -> list[Finding]:
        found: list[Finding] = []
        for level, runtime in itertools.product(self.levels, self.run.plan.runtimes):
            found += [self._skipped(s) for s in self.run.plan.skipped if self._is(s.case, runtime, level)]
            found += [self._measured(c, level) for c in self.run.plan.cases if self._is(c, runtime, level)]
        return found

    def _is(self, case: Case, runtime: str, level: Scalar) -> bool:
        return (case.experiment, case.runtime, _level(case)) == (self.experiment.name, runtime, level)

    def _skipped(self, skipped: Skipped) -> Finding:
        blank = self._blank(skipped.case)
        return replace(blank, verdict=skipped.verdict, reason=skipped.cause, fix=skipped.fix)

    def _measured(self, case: Case, level: Scalar) -> Finding:
        blank = self._blank(case)
        records = [r for r in counted(self.run) if r.case == case.id]
        good = [r for r in records if r.status == "ok"]
        found = values(self.run, self.experiment.name, case.runtime, level)
        failed = len(records) - len(good)
        if not found:
            return replace(blank, verdict="not testable", reason=silence(records),
                           fix=f"bench run --resume {self.run.path.name}")  # fmt: skip
        cached = _medians(good, ("cache.payload",)).get("cache.payload")
        if self.name == CACHE and level == "cold" and cached is not None and cached > STILL_CACHED:
            reason = f"{cached:.0%} of the program could not be taken out of the page cache"
            return replace(blank, verdict="not testable", reason=reason, fix="put the image on a disk")
        first = self.levels[0]
        than = times(found, values(self.run, self.experiment.name, case.runtime, first))
        than = than if level != first else None
        return replace(
            blank,
            measured=estimate.median_interval(list(found.values()), CONFIDENCE),
            deviation=than and _less_one(than),
            values=tuple(found.values()),
            trials=tuple(r.index for r in good if r.block in found),
            reason=self._sentence(good, than, failed),
            evidence=self._evidence(good, failed),
        )

    def _evidence(self, good: Sequence[TrialRecord], failed: int) -> dict[str, Scalar | None]:
        every = [value for record in good for value in answers(record)]
        found: dict[str, Scalar | None] = {"failed": failed, "p95": quantile(every, 0.95)}
        return {**found, **_medians(good, self.experiment.verdict.evidence)}

    def _sentence(self, good: Sequence[TrialRecord], than: Interval | None, failed: int) -> str:
        several = max(len(r.tenants) for r in good)
        parts = [f"the median of {len(good)} " + ("trials' medians" if several > 1 else "starts")]
        if than is not None and than.low is not None and than.high is not None:
            first = factors.LEVELS[self.name](self.levels[0])
            ends = f"95 % {than.low:.3g} … {than.high:.3g}, within blocks"
            parts.append(f"{than.estimate:.3g} times that of {first} ({ends})")
        if several > 1:
            known = [n for r in good if (n := seconds(r, "start.outstanding")) is not None]
            parts.append(
                f"at least {min(known):.0f} of {several} had no answer yet when the last was requested"
                if len(known) == len(good)
                else "how many had no answer yet when the last was requested is not known"
            )
        if failed:
            parts.append(f"{failed} trials failed")
        return "; ".join(parts)

    def _blank(self, case: Case) -> Finding:
        return Finding(
            id=f"{PREFIX}{case.id}", experiment=f"{self.experiment.title}: {factors.level(case.params)}",
            section=self.experiment.section, runtime=case.runtime, label="", limit=None, control=False,
            requested=None, effective=None, effective_source="", expected=None, measured=None, deviation=None,
            scale="relative", tolerance=None, unit="s", verdict=None, reason="", params=dict(case.params),
            case=case.id, emulated=case.runtime in self.run.plan.emulated,
        )  # fmt: skip


def _medians(records: Sequence[TrialRecord], metrics: Sequence[str]) -> dict[str, float]:
    """The median of each metric that those trials observed, over all of their starts."""
    found: dict[str, list[float]] = {}
    for record in records:
        for tenant in record.tenants:
            for o in tenant.observations:
                if o.metric in metrics and o.value is not None:
                    found.setdefault(o.metric, []).append(o.value)
    return {metric: median(found[metric]) for metric in metrics if metric in found}


def _less_one(than: Interval) -> Interval:
    low, high = (None if end is None else end - 1 for end in (than.low, than.high))
    return Interval(than.estimate - 1, low, high, than.n)


def conclusion(findings: Sequence[Finding]) -> str:
    """What the last level of each factor does to the start, where it shows; "" where nothing was compared."""
    last: dict[tuple[str, str], Finding] = {}
    for f in findings:
        if f.id.startswith(PREFIX) and f.deviation is not None and not f.emulated:
            last[factors.factor(f.params) or "", f.runtime] = f
    changed: dict[str, list[str]] = {}
    for f in last.values():
        assert f.deviation
        texts = changed.setdefault(factors.level(f.params), [])
        if (f.deviation.low or 0.0) * (f.deviation.high or 0.0) > 0:  # the interval does not hold 1
            texts.append(f"{f.deviation.estimate + 1:.3g} × in {f.runtime}")
    seen = "; ".join(f"{level}: {', '.join(texts)}" for level, texts in changed.items() if texts)
    unseen = ", ".join(level for level, texts in changed.items() if not texts)
    said = [f"What changes a start: {seen}."] if seen else []
    return " ".join([*said, f"No sure change by: {unseen}."] if unseen else said)
