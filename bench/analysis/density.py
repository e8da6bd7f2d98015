"""A run on density in, findings out: what one more instance takes, by every way of counting it.

A trial is a row of levels; its slope is Theil and Sen's, the unit is the trial, and intervals are Student's
over them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from bench.analysis import crowds
from bench.analysis.crowds import (
    AVAILABLE,
    CGROUP,
    DISK,
    ENGINE,
    KERNEL,
    MEASURES,
    MONITOR,
    PSS,
    RSS,
    START,
    USS,
    Crowd,
)
from bench.analysis.silence import silence
from bench.analysis.starts import counted
from bench.analysis.stats import interval
from bench.analysis.wording import runtime_name
from bench.frames import Run
from bench.model import Finding, Scalar

WORDS: Mapping[str, str] = {
    AVAILABLE: "memory that the host has less (MemAvailable, without what other programs took)",
    PSS: "its processes, shared pages divided (PSS)",
    RSS: "its processes, shared pages counted by each (RSS)",
    USS: "its processes, private pages alone (USS)",
    CGROUP: "what its control group is charged with",
    KERNEL: "the kernel's own memory: slab, stacks, page tables, per-CPU",
    MONITOR: "processes beside it, such as a shim (PSS)",
    ENGINE: "the engine's daemons (PSS)",
    DISK: "disk that holds what it wrote",
    START: "its start takes longer for every resident",
}
"""What a measure counts, in the order of a report."""
NOTE = (
    "The memory of an emulated machine is real memory: the guest's, QEMU's, and that of the translated code."
)


def analyse(run: Run) -> list[Finding]:
    """Findings by section and measure, in the order of the runtimes; what could not run with its cause."""
    found = crowds.crowds(run)
    titles: dict[str, str] = {}
    for experiment in run.plan.suite.experiments:
        titles.setdefault(experiment.section, experiment.title)
    result = []
    for section, title in titles.items():
        made = []
        for measure in MEASURES:
            for runtime in run.plan.runtimes:
                of = [c for c in found if (c.runtime, c.section) == (runtime, section)]
                one = _finding(run, f"{title}: {WORDS[measure]}", section, runtime, measure, of)
                made += [one] if one else []
        result += made
        result += _without(run, section, f"{title}: {WORDS[AVAILABLE]}", {f.runtime for f in made})
    return result


def _finding(
    run: Run, title: str, section: str, runtime: str, measure: str, of: Sequence[Crowd]
) -> Finding | None:
    known = {c.block: v for c in of if (v := c.slope(measure)) is not None}
    of = [c for c in of if c.block in known]
    if not of:
        return None
    blank = _blank(run, title, section, runtime, f"{measure}/{section}/{runtime}")
    return replace(
        blank,
        measured=interval(list(known.values())),
        unit="s" if measure == START else "bytes",
        values=tuple(known.values()),
        trials=tuple(c.trial for c in of),
        reason=_sentence(of, measure),
        evidence=_evidence(of) if measure == AVAILABLE else {},
    )


def _sentence(of: Sequence[Crowd], measure: str) -> str:
    tops = sorted({max(c.levels) for c in of})
    upto = f"{tops[0]}" if len(tops) == 1 else f"{tops[0]} to {tops[-1]}"
    parts = [f"the mean slope of {len(of)} trials of up to {upto} instances"]
    firsts = [v for c in of if measure != START and (v := c.first(measure)) is not None]
    if firsts:
        parts.append(f"the first took {_mib(median(firsts))}")
    early = {c.stopped for c in of if not c.stopped.startswith("all ")}
    return "; ".join([*parts, *sorted(early)])


def _evidence(of: Sequence[Crowd]) -> dict[str, Scalar | None]:
    returned = [v for c in of if (v := c.returned) is not None]
    own, raw = ([v for c in of if (v := c.slope(name)) is not None] for name in ("self", "raw"))
    r2 = [c.lines[AVAILABLE].r2 for c in of if AVAILABLE in c.lines]
    return {
        "instances": max(max(c.levels) for c in of),
        "R²": round(median(r2), 3) if r2 else None,
        "available again afterwards, share": round(median(returned), 3) if returned else None,
        "MemAvailable as it is, MiB an instance": round(median(raw) / 2**20, 3) if raw else None,
        "this program itself, MiB an instance": round(median(own) / 2**20, 3) if own else None,
    }


def _without(run: Run, section: str, title: str, known: set[str]) -> list[Finding]:
    """Runtimes that could not run, or of which no trial has a slope."""
    of = {e.name for e in run.plan.suite.experiments if e.section == section}
    found = [
        replace(
            _blank(run, title, section, s.case.runtime, s.case.id),
            verdict=s.verdict,
            reason=s.cause,
            fix=s.fix,
        )
        for s in run.plan.skipped
        if s.case.experiment in of
    ]
    for case in run.plan.cases:
        if case.experiment in of and case.runtime not in known:
            reason = silence([r for r in counted(run) if r.case == case.id])
            found.append(
                replace(
                    _blank(run, title, section, case.runtime, case.id),
                    verdict="not testable",
                    reason=reason,
                    fix=f"bench run --resume {run.path.name}",
                )
            )
    return found


def _blank(run: Run, title: str, section: str, runtime: str, id_: str) -> Finding:
    return Finding(
        id=id_,
        experiment=title,
        section=section,
        runtime=runtime,
        label="",
        limit=None,
        control=False,
        requested=None,
        effective=None,
        effective_source="",
        expected=None,
        measured=None,
        deviation=None,
        scale="relative",
        tolerance=None,
        unit="bytes",
        verdict=None,
        reason="",
        emulated=runtime in run.plan.emulated,
    )


def conclusion(findings: Sequence[Finding]) -> str:
    """What one more idle instance takes of the host, least first; apart those that may take nothing."""
    of = [f for f in findings if f.id.startswith(f"{AVAILABLE}/idle/") and f.measured]
    if not of:
        return "No instance was added."
    ordered = sorted(of, key=lambda f: f.measured.estimate if f.measured else 0.0)
    told, lost = [], []
    for finding in ordered:
        assert finding.measured
        found, name = finding.measured, runtime_name(finding)
        if found.low is None or found.high is None or found.low > 0:
            told.append(f"{_mib(found.estimate)} in {name}")
        else:
            lost.append(f"{name} (below {_mib(max(found.high, 0.0))})")
    said = "One more idle instance takes of the host's available memory"
    parts = [f"{said} {', '.join(told)}." if told else "", _unseen(said, lost, alone=not told)]
    note = NOTE if any(f.emulated for f in findings) else ""
    return " ".join(filter(None, [*parts, note]))


def _unseen(said: str, lost: Sequence[str], *, alone: bool) -> str:
    if not lost:
        return ""
    return f"{said if alone else 'It takes'} nothing that was measurable in {', '.join(lost)}."


def _mib(size: float) -> str:
    return f"{size / 2**20:.3g} MiB".replace("-", "−")
