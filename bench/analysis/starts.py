"""A run of starts in, findings out: what each phase took in each runtime, and how many times the process's.

The values of a phase are seconds since the request, or since the end was asked for. Shown is the median
with its exact interval: starts have long tails, which a mean would follow. Runtimes are compared within
blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.analysis.silence import silence
from bench.analysis.stats import quantile
from bench.analysis.wording import runtime_name
from bench.comparison import estimate
from bench.factors import factor
from bench.frames import Run
from bench.model import ENTRY, GRACE, HOOKS, Case, Experiment, Finding, Interval, TrialRecord

CONFIDENCE = 0.95
BASELINE = "process"
PHASES: Mapping[str, str] = {
    "start.first": "From the request to the first output",
    "start.ready": "From the request to the first answer",
    "stop.ended": "From the kill to the end",
    "stop.removed": "From the kill until nothing is left",
}
"""The phases that are findings, in words; the others are drawn and stand as evidence."""
HEADLINE = "start.ready"
STOP = "term.ended"
ENTERED = {"exec": "the payload in the shell's place", "shell": "the payload behind a shell"}
"""How the sandbox of a stop was entered, in words."""
STEPS = ("start.created", "start.started", "start.first", "start.listening", "start.ready")
"""In the order they come in; the time between two neighbours is a phase of its own."""


def analyse(run: Run) -> list[Finding]:
    """Findings by experiment, phase, and runtime of the plan; skipped runtimes with their cause."""
    return [
        finding
        for experiment in _plain(run)
        for phase, words, entry in _phases(experiment)
        for finding in _Phase(run, experiment, phase, words, entry).findings()
    ]


def counted(run: Run) -> list[TrialRecord]:
    """The starts that count: those of the blocks after the warm-up."""
    return [r for r in run.records if r.block >= run.plan.suite.warmup]


def unvaried(run: Run) -> list[TrialRecord]:
    """Those of them that are starts and nothing else: no stops, no hooks, and nothing is varied."""
    return [r for r in counted(run) if not r.params]


def seconds(record: TrialRecord, metric: str) -> float | None:
    """The value of one phase of one start; None where the start did not come that far."""
    found = (o.value for t in record.tenants for o in t.observations if o.metric == metric)
    return next(found, None)


def durations(record: TrialRecord) -> dict[str, float]:
    """Seconds between neighbouring steps of one start, by the step that ends them; {} for a failed one."""
    if record.status != "ok":
        return {}
    result, before = {}, 0.0
    for step in STEPS:
        at = seconds(record, step)
        if at is not None:
            result[step], before = at - before, at
    return result


def _plain(run: Run) -> list[Experiment]:
    """The experiments whose phases are findings; `analysis.factors` and `moments` have the others."""
    asked = run.plan.suite.experiments
    return [e for e in asked if not factor(e.params) and HOOKS not in e.params]


class _Phase:
    """One phase of one experiment in every runtime."""

    def __init__(self, run: Run, experiment: Experiment, phase: str, words: str, entry: str | None) -> None:
        self.run, self.experiment, self.phase, self.entry = run, experiment, phase, entry
        alike = [e for e in _plain(run) if (ENTRY in e.params) == (ENTRY in experiment.params)]
        self.title = f"{experiment.title}: {words}" if len(alike) > 1 else words
        self.cases = {c.id: c for c in run.plan.cases if self._mine(c)}
        self.skipped = {s.case.id: s for s in run.plan.skipped if self._mine(s.case)}

    def _mine(self, of: Case | TrialRecord) -> bool:
        return of.experiment == self.experiment.name and of.params.get(ENTRY) == self.entry

    def findings(self) -> list[Finding]:
        return [f for runtime in self.run.plan.runtimes for f in self._of(runtime)]

    def _of(self, runtime: str) -> list[Finding]:
        skipped = [
            replace(self._blank(runtime, case), verdict=s.verdict, reason=s.cause, fix=s.fix)
            for case, s in self.skipped.items()
            if s.case.runtime == runtime
        ]
        return [*skipped, *(self._measured(c) for c in self.cases.values() if c.runtime == runtime)]

    def _measured(self, case: Case) -> Finding:
        blank = self._blank(case.runtime, case.id)
        records = [r for r in counted(self.run) if r.case == case.id]
        good = [r for r in records if r.status == "ok"]
        values = {r.block: v for r in good if (v := seconds(r, self.phase)) is not None}
        failed = len(records) - len(good)
        if not values:
            return replace(blank, verdict="not testable", reason=silence(records, "starts"),
                           fix=f"bench run --resume {self.run.path.name}")  # fmt: skip
        told = [r for r in good if r.block in values]
        listed = list(values.values())
        middle, times = estimate.median_interval(listed, CONFIDENCE), self._times(case.runtime, values)
        less = times and Interval(times.estimate - 1, _less(times.low), _less(times.high), times.n)
        return replace(
            blank,
            measured=middle,
            deviation=less,
            values=tuple(listed),
            trials=tuple(r.index for r in told),
            reason=_sentence(times, len(values), failed) if self.entry is None else _stops(told, failed),
            evidence={"failed": failed, "p95": quantile(listed, 0.95)},
        )

    def _times(self, runtime: str, values: Mapping[int, float]) -> Interval | None:
        """How many times the baseline's, paired by block; None for the baseline itself and without it."""
        if runtime == BASELINE:
            return None
        base = {
            r.block: v
            for r in counted(self.run)
            if r.runtime == BASELINE and self._mine(r) and r.status == "ok"
            and (v := seconds(r, self.phase)) is not None
        }  # fmt: skip
        logs = [math.log(v / base[b]) for b, v in values.items() if base.get(b, 0) > 0 and v > 0]
        return ratio(logs)

    def _blank(self, runtime: str, case: str) -> Finding:
        return Finding(
            id=f"{self.phase}/{case}", experiment=self.title, section=self.experiment.section,
            runtime=runtime, label="", limit=None, control=False, requested=None,
            effective=None, effective_source="", expected=None, measured=None, deviation=None,
            scale="relative", tolerance=None, unit="s", verdict=None, reason="", case=case,
            emulated=runtime in self.run.plan.emulated,
        )  # fmt: skip


def ratio(logs: Sequence[float]) -> Interval | None:
    """The ratio whose logarithms, one a block, these are: trimmed mean and interval; None without any."""
    if not logs:
        return None
    found = estimate.trimmed(logs, CONFIDENCE)
    if found.half_width is None:
        return Interval(math.exp(found.estimate), None, None, found.n)
    low, high = found.estimate - found.half_width, found.estimate + found.half_width
    return Interval(math.exp(found.estimate), math.exp(low), math.exp(high), found.n)


def _less(end: float | None) -> float | None:
    return None if end is None else end - 1


def _sentence(times: Interval | None, n: int, failed: int) -> str:
    parts = [f"the median of {n} starts"]
    if times is not None and times.low is not None and times.high is not None:
        ends = f"{times.low:.3g} … {times.high:.3g}"
        parts.append(f"{times.estimate:.3g} times the process's (95 % {ends}, within blocks)")
    if failed:
        parts.append(f"{failed} starts failed")
    return "; ".join(parts)


def _phases(experiment: Experiment) -> list[tuple[str, str, str | None]]:
    """Metric, words and entry of each finding of an experiment: its phases, or the stop by each entry."""
    entries = experiment.params.get(ENTRY, ())
    if entries:
        return [(STOP, f"From SIGTERM to the end, {ENTERED[str(e)]}", str(e)) for e in entries]
    return [(phase, words, None) for phase, words in PHASES.items()]


def _stops(records: Sequence[TrialRecord], failed: int) -> str:
    """How the stops of one case went: how many ended by SIGKILL, and what outlived the first process."""
    n, killed = len(records), sum(1 for r in records if seconds(r, "term.killed"))
    parts = [f"the median of {n} stops"]
    grace = " and ".join(sorted({f"{r.params[GRACE]:g} s" for r in records}))
    needed = f"{killed} of {n} ended by SIGKILL only, after the grace period of {grace}"
    parts.append(needed if killed else "none needed SIGKILL")
    left = sum(1 for r in records if seconds(r, "term.left"))
    if left:
        parts.append(f"in {left} of {n} the payload outlived the shell, and nobody told it to end")
    if failed:
        parts.append(f"{failed} stops failed")
    return "; ".join(parts)


def spell(value: float) -> str:
    """Seconds for a sentence: "10.2 s", "3.4 ms"."""
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def conclusion(findings: Sequence[Finding]) -> str:
    """Who is ready how soon, fastest first; emulated machines apart, and what failed."""
    ready = [f for f in findings if f.id.startswith(HEADLINE) and f.measured]
    if not ready:
        return "No start came to its first answer."
    ordered = sorted(ready, key=lambda f: f.measured.estimate if f.measured else 0.0)
    native = [f for f in ordered if not f.emulated]
    parts = []
    if native:
        parts.append("Ready to answer after " + ", ".join(_ready(f) for f in native))
    machines = [f for f in ordered if f.emulated]
    if machines:
        parts.append("In emulated machines, whose speed says nothing about virtual machines, after "
                     + ", ".join(_ready(f) for f in machines))  # fmt: skip
    lost = [f"{runtime_name(f)} {f.evidence['failed']}" for f in ready if f.evidence.get("failed")]
    if lost:
        parts.append(f"Starts that failed: {', '.join(lost)}")
    return ". ".join(parts) + "."


def _ready(finding: Finding) -> str:
    assert finding.measured
    text = f"{spell(finding.measured.estimate)} ({finding.runtime}"
    if finding.deviation is not None and not finding.emulated:
        text += f", {finding.deviation.estimate + 1:.3g} ×"
    return text + ")"
