"""A run of primitives in, findings out: what each takes to make and to unmake, the slowest first.

Shown is the median with its exact interval; compared with the bare process within blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.analysis.starts import CONFIDENCE, counted, ratio, seconds
from bench.comparison import estimate
from bench.frames import Run
from bench.model import Case, Finding, Interval, TrialRecord

STEPS: Mapping[str, str] = {"create": "To make it", "destroy": "To unmake it"}
BASELINE = "process"
ALONE = {"process": 1, "spawn": 1, "fork": 1, "netlink": 1}
"""Primitives that are baselines, and part of no container's start."""
LAYERS = "overlay.10"
"""The overlay mount that stands for an image in the sum of a start."""


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
        why = next((r.reason.splitlines()[0] for r in records if r.reason), "")
        reason = f"all {failed} trials failed: {why}" if failed else "no trial has finished"
        return replace(blank, verdict="not testable", reason=reason,
                       fix=f"bench run --resume {run.path.name}")  # fmt: skip
    base = _values([r for r in counted(run) if r.params.get("primitive") == BASELINE], step)
    logs = [math.log(v / base[b]) for b, v in values.items() if base.get(b, 0) > 0 and v > 0]
    times = ratio(logs) if case.params["primitive"] != BASELINE else None
    return replace(
        blank,
        measured=estimate.median_interval(list(values.values()), CONFIDENCE),
        deviation=times and _less_one(times),
        values=tuple(values.values()),
        trials=tuple(r.index for r in records if r.status == "ok"),
        reason=f"the median of {len(values)}" + (f"; {failed} failed" if failed else ""),
    )


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


def parts(findings: Sequence[Finding]) -> dict[str, float]:
    """Seconds that each part of a container's start adds, by primitive, the longest first.

    Namespaces less the bare process that is in each, links less the question to the kernel; one overlay
    mount stands for the image. User and time namespaces are left out: containers have none by default.
    """
    made = {f.label: f.measured.estimate for f in findings if f.id.startswith("create/") and f.measured}
    result = {}
    for name, took in made.items():
        area = name.partition(".")[0]
        if name in ALONE or name in ("namespace.user", "namespace.time"):
            continue
        if area == "overlay" and name != LAYERS:
            continue
        base = {"namespace": "process", "veth": "netlink", "bridge": "netlink", "port": "netlink"}.get(area)
        # A bridge is made once a host, not once a container.
        if name != "bridge":
            result[name] = max(0.0, took - made.get(base or "", 0.0))
    return dict(sorted(result.items(), key=lambda item: -item[1]))


def conclusion(findings: Sequence[Finding]) -> str:
    """Which parts make up most of a start put together from these, and what they sum up to."""
    found = parts(findings)
    total = sum(found.values())
    if not total:
        return "No part of a container's start was measured."
    leading, share = [], 0.0
    for name, took in found.items():
        leading.append(f"{name} ({took * 1e3:.3g} ms)")
        share += took / total
        if share >= 0.5:
            break
    verb = "makes" if len(leading) == 1 else "make"
    return (
        f"Of the {len(found)} parts of a start measured here, which take {total * 1e3:.3g} ms one by "
        f"one, {', '.join(leading)} {verb} up {share * 100:.0f} %. "
        "An engine's own work is not among them."
    )
