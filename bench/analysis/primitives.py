"""A run of primitives in, findings out: what each takes to make and to unmake, the slowest first.

Shown is the median with its exact interval. Namespaces that hold a process are compared with the bare process
within blocks; nothing else is, as nothing else holds one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.analysis.silence import silence
from bench.analysis.starts import CONFIDENCE, counted, ratio, seconds
from bench.comparison import estimate
from bench.frames import Run
from bench.model import Case, Finding, Interval, TrialRecord

STEPS: Mapping[str, str] = {"create": "To make it", "destroy": "To unmake it"}
BASELINE = "process"


def analyse(run: Run) -> list[Finding]:
    """Findings by step, the slowest primitive first, those without a number last."""
    found = []
    for step in STEPS:
        of = [_measured(run, case, step) for case in run.plan.cases]
        of += [
            replace(_blank(s.case, step), verdict=s.verdict, reason=s.cause, fix=s.fix)
            for s in run.plan.skipped
        ]
        found += sorted(of, key=lambda f: -f.measured.estimate if f.measured else 1.0)
    return found


def _measured(run: Run, case: Case, step: str) -> Finding:
    blank = _blank(case, step)
    records = [r for r in counted(run) if r.case == case.id]
    values = _values(records, step)
    failed = sum(r.status != "ok" for r in records)
    if not values:
        return replace(blank, verdict="not testable", reason=silence(records),
                       fix=f"bench run --resume {run.path.name}")  # fmt: skip
    base = _values([r for r in counted(run) if r.params.get("primitive") == BASELINE], step)
    logs = [math.log(v / base[b]) for b, v in values.items() if base.get(b, 0) > 0 and v > 0]
    times = ratio(logs) if _holds_a_process(str(case.params["primitive"])) else None
    return replace(
        blank,
        measured=estimate.median_interval(list(values.values()), CONFIDENCE),
        deviation=times and _less_one(times),
        values=tuple(values.values()),
        trials=tuple(r.index for r in records if r.status == "ok" and r.block in values),
        reason=f"the median of {len(values)}" + (f"; {failed} failed" if failed else ""),
    )


def _holds_a_process(name: str) -> bool:
    """Whether that primitive is made around the bare process, so that a ratio to it says something."""
    return name.startswith("namespace.") and name != "namespace.time"


def _values(records: Sequence[TrialRecord], step: str) -> dict[int, float]:
    """Seconds by block of the trials that came to an end."""
    good = [r for r in records if r.status == "ok"]
    return {r.block: v for r in good if (v := seconds(r, step)) is not None}


def _less_one(times: Interval) -> Interval:
    low, high = (None if end is None else end - 1 for end in (times.low, times.high))
    return Interval(times.estimate - 1, low, high, times.n)


def _blank(case: Case, step: str) -> Finding:
    return Finding(
        id=f"{step}/{case.id}", experiment=STEPS[step], section="primitives", runtime=case.runtime,
        label=str(case.params["primitive"]), limit=None, control=False, requested=None, effective=None,
        effective_source="", expected=None, measured=None, deviation=None, scale="relative", tolerance=None,
        unit="s", verdict=None, reason="", case=case.id,
    )  # fmt: skip


def conclusion(findings: Sequence[Finding]) -> str:
    """What is slowest to make and to unmake, with the median. Medians taken alone are not added up."""
    said = []
    for step, words in (("create", "to make"), ("destroy", "to unmake")):
        known = [f for f in findings if f.id.startswith(f"{step}/") and f.measured]
        if known:
            slowest = max(known, key=lambda f: f.measured.estimate if f.measured else 0.0)
            assert slowest.measured
            said.append(f"slowest {words} is {slowest.label} ({slowest.measured.estimate * 1e3:.3g} ms)")
    if not said:
        return "No primitive was measured."
    return f"Alone and with warm caches, {' and '.join(said)}."
