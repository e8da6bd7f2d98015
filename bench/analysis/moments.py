"""A run of starts in, the moments within them out: what engines, hooks and hypervisors did, and when.

Every moment is on this host's monotonic clock, in seconds since the request. A guest's own clock is a series
of its own and is never set against it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from bench.analysis.effort import is_plain
from bench.analysis.silence import silence
from bench.analysis.starts import CONFIDENCE, HEADLINE, STEPS, counted, ratio, seconds, spell
from bench.analysis.wording import runtime_name
from bench.comparison import estimate
from bench.frames import Run
from bench.model import HOOKS, Case, Experiment, Finding, Interval, TrialRecord

REMOVED = "stop.removed"
UPTIME = "guest.uptime"
HOOKED = "start.hooked"
WORDS: Mapping[str, str] = {
    "start.created": "sandbox made",
    "start.started": "start call is back",
    "start.first": "first output",
    "start.listening": "payload listens",
    "start.ready": "first answer",
    "start.api.created": "create call is back",
    "start.api.attached": "attach call is back",
    "start.engine.create": "engine: created",
    "start.engine.init": "engine: initialised",
    "start.engine.attach": "engine: attached",
    "start.engine.connect": "engine: network joined",
    "start.engine.start": "engine: started",
    "start.oci.created": "create has ended",
    "start.hook.createRuntime": "hook createRuntime",
    "start.hook.createContainer": "hook createContainer",
    "start.hook.startContainer": "hook startContainer",
    "start.hook.poststart": "hook poststart",
    "start.domain.asked": "libvirt is asked",
    "start.domain.resumed": "virtual CPUs run",
    "start.domain.started": "domain has started",
}
"""What a picture calls them; a moment without a word goes by its name."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The median of one moment over the good starts of a case, in seconds since the request."""

    metric: str
    at: Interval

    @property
    def word(self) -> str:
        """What it is called."""
        return WORDS.get(self.metric, self.metric.removeprefix("start."))


@dataclass(frozen=True, slots=True)
class Timeline:
    """The moments of one case up to the first answer, in their order."""

    runtime: str
    hooked: bool
    moments: tuple[Moment, ...]


def timelines(run: Run) -> list[Timeline]:
    """One for every case of which more is known than the five steps; those with hooks last."""
    plain = [c for e in _plain(run) for c in run.plan.cases if c.experiment == e.name]
    hooked = [c for c in run.plan.cases if c.params.get(HOOKS)]
    found = []
    for case in (*plain, *hooked):
        seen = moments(_good(run, case.id))
        if any(one.metric not in STEPS for one in seen):
            found.append(Timeline(case.runtime, case in hooked, tuple(seen)))
    return found


def moments(records: Sequence[TrialRecord]) -> list[Moment]:
    """Those up to the first answer that at least half of the starts have, in the order of their medians.

    In one start two moments that lie close may come the other way round.
    """
    values: dict[str, list[float]] = {}
    for record in records:
        answer = seconds(record, HEADLINE)
        for name, at in _named(record):
            if answer is not None and at <= answer:
                values.setdefault(name, []).append(at)
    known = [
        Moment(name, found)
        for name, listed in values.items()
        if 2 * len(listed) >= len(records) and (found := estimate.median_interval(listed, CONFIDENCE))
    ]
    steps = {name: i for i, name in enumerate(STEPS)}
    return sorted(known, key=lambda one: (one.at.estimate, steps.get(one.metric, -1)))


def attached(run: Run, findings: Iterable[Finding]) -> list[Finding]:
    """Those findings, the medians of further moments among the evidence of the answer and of the removal."""
    cases = {c.id for e in _plain(run) for c in run.plan.cases if c.experiment == e.name}
    return [_attached(run, f) if f.case in cases and f.measured else f for f in findings]


def _attached(run: Run, finding: Finding) -> Finding:
    records = _good(run, finding.case)
    if finding.id.startswith(f"{HEADLINE}/"):
        more = {m.metric: m.at.estimate for m in moments(records) if m.metric not in STEPS}
    elif finding.id.startswith(f"{REMOVED}/"):
        more = _endings(records)
    else:
        return finding
    return replace(finding, evidence={**finding.evidence, **more})


def _endings(records: Sequence[TrialRecord]) -> dict[str, float]:
    """Median seconds since the payload was told to end, of what others stamped after that."""
    values: dict[str, list[float]] = {}
    for record in records:
        told = record.tenants[0].ended
        for name, at in _named(record):
            if name not in STEPS and at >= told:
                values.setdefault(f"stop.{name.removeprefix('start.')}", []).append(at - told)
    return {name: median(listed) for name, listed in values.items()}


def analyse(run: Run) -> list[Finding]:
    """What hooks cost, by runtime; and how long guests had run by their own clocks at the first answer."""
    found = []
    for experiment in run.plan.suite.experiments:
        cases = [c for c in run.plan.cases if c.experiment == experiment.name]
        if HOOKS in experiment.params:
            with_hooks = [c for c in cases if c.params.get(HOOKS)]
            found += [f for case in with_hooks if (f := _hooked(run, experiment, case, cases))]
            found += [
                replace(_blank(run, experiment, s.case, HOOKED, experiment.title),
                        verdict=s.verdict, reason=s.cause, fix=s.fix)
                for s in run.plan.skipped
                if s.case.experiment == experiment.name and s.case.params.get(HOOKS)
            ]  # fmt: skip
        elif is_plain(experiment):
            found += [f for case in cases if (f := _uptime(run, experiment, case))]
    return found


def conclusion(findings: Sequence[Finding]) -> str:
    """What hooks cost, for a run of nothing else; "" for any other."""
    ids = {f.id.partition("/")[0] for f in findings}
    if ids != {HOOKED}:
        return ""
    return ". ".join(f"{runtime_name(f)} with hooks: {f.reason}" for f in findings) + "."


def _hooked(run: Run, experiment: Experiment, case: Case, cases: Sequence[Case]) -> Finding | None:
    without = next((c for c in cases if c.runtime == case.runtime and not c.params.get(HOOKS)), None)
    stamped = {r.block: v for r in _good(run, case.id) if (v := seconds(r, HEADLINE))}
    bare = {r.block: v for r in _good(run, without.id) if (v := seconds(r, HEADLINE))} if without else {}
    blank = _blank(run, experiment, case, HOOKED, experiment.title)
    if not stamped:
        why = silence([r for r in counted(run) if r.case == case.id], "starts")
        return replace(blank, verdict="not testable", reason=why, fix=f"bench run --resume {run.path.name}")
    reason = f"the median of {len(stamped)} starts with a hook at every step"
    if bare:
        times = ratio([math.log(v / bare[b]) for b, v in stamped.items() if b in bare])
        reason += f"; without hooks {spell(median(bare.values()))}"
        if times and times.low is not None and times.high is not None:
            ends = f"{times.low:.3g} … {times.high:.3g}"
            reason += f"; with them {times.estimate:.3g} times as long (95 % {ends}, within blocks)"
    seen = moments(_good(run, case.id))
    return replace(
        blank,
        measured=estimate.median_interval(list(stamped.values()), CONFIDENCE),
        values=tuple(stamped.values()),
        trials=tuple(r.index for r in _good(run, case.id)),
        reason=reason,
        evidence={m.metric: m.at.estimate for m in seen if m.metric not in STEPS},
    )


def _uptime(run: Run, experiment: Experiment, case: Case) -> Finding | None:
    records = _good(run, case.id)
    said = {r.index: r.tenants[0].facts.get(UPTIME) for r in records}
    values = {i: float(v) for i, v in said.items() if isinstance(v, (int, float))}
    if not values:
        return None
    return replace(
        _blank(run, experiment, case, UPTIME, "Uptime of the guest after the first answer, by its own clock"),
        measured=estimate.median_interval(list(values.values()), CONFIDENCE),
        values=tuple(values.values()),
        trials=tuple(values),
        reason=f"the median of {len(values)} starts, in steps of 10 ms, as the guest's kernel tells it; "
        "a clock of its own, that is not set against the host's",
    )


def _plain(run: Run) -> list[Experiment]:
    return [e for e in run.plan.suite.experiments if is_plain(e)]


def _good(run: Run, case: str) -> list[TrialRecord]:
    return [r for r in counted(run) if r.case == case and r.status == "ok" and len(r.tenants) == 1]


def _named(record: TrialRecord) -> list[tuple[str, float]]:
    observed = record.tenants[0].observations
    return [(o.metric, o.value) for o in observed if o.metric.startswith("start.") and o.value is not None]


def _blank(run: Run, experiment: Experiment, case: Case, metric: str, title: str) -> Finding:
    return Finding(
        id=f"{metric}/{case.id}", experiment=title, section=experiment.section, runtime=case.runtime,
        label="", limit=None, control=False, requested=None, effective=None, effective_source="",
        expected=None, measured=None, deviation=None, scale="relative", tolerance=None, unit="s",
        verdict=None, reason="", case=case.id, emulated=case.runtime in run.plan.emulated,
    )  # fmt: skip
