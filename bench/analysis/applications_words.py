"""What is said of applications: a sentence for each place of a server, one for the run, and the findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.analysis.applications import SECTION, Application, Place, applications
from bench.analysis.overhead_words import EMULATED, change, said, span
from bench.analysis.steps import Step, less_one
from bench.analysis.wording import sentence
from bench.model import Finding, Scalar
from bench.modes import REFERENCE, Mode

if TYPE_CHECKING:
    from bench.frames import Run

PREFIX = "applications/"
OVER = "over the raw process on the loopback"
CONTROL = "the control, at the start and at the end of every block"


def findings(run: Run) -> list[Finding]:
    """Every application in every place of its server, in the order of the suite and of the modes."""
    return [_finding(a, p, run.path.name) for a in applications(run) for p in a.places]


def identity(application: Application, place: Place) -> str:
    """The id of the finding on that place."""
    return f"{PREFIX}{application.experiment.name}/{place.mode.name}"


def title(mode: Mode) -> str:
    """What the place of a server is called: the mode, and "raw process" where nothing is in between."""
    return "raw process" if mode.name == REFERENCE else mode.title


def of_place(place: Place) -> str:
    """One place in a sentence: what a request costs there, and by which way it comes."""
    parts = [CONTROL if place.control and place.values else ""]
    parts.append(f"a request: {_said(place.step)}" if place.step else "")
    parts += [place.why, f"by way of {place.mode.passes}" if place.values else ""]
    parts.append(EMULATED if place.emulated else "")
    parts.append(f"{place.broken} trials broke" if place.broken else "")
    return sentence(parts)


def _said(step: Step) -> str:
    """What a step costs, as a clause; an undecided one has its interval too, however few the blocks were."""
    if step.word == "inconclusive" and span(step):
        return f"undecided: {change(step.ratio.estimate)} {OVER} ({span(step)})"
    return said(step, OVER)


def conclusion(found: Sequence[Application]) -> str:
    """What a request to each application costs where it costs most; "" where nothing was compared."""
    parts = [text for one in found if (text := _of(one))]
    return f"Applications, by the time of a request: {'; '.join(parts)}." if parts else ""


def _of(one: Application) -> str:
    compared = [(p, p.step) for p in one.places if p.step and not p.emulated]
    title = one.experiment.title
    if not compared:
        return ""
    sure = [(p, s) for p, s in compared if s.word == "costs"]
    if not sure:
        undecided = sum(s.word == "inconclusive" for _, s in compared)
        rest = f" ({undecided} of {len(compared)} places are undecided)" if undecided else ""
        return f"{title} surely costs more in no place{rest}"
    worst, step = max(sure, key=lambda pair: pair[1].ratio.estimate)
    low, high = step.ratio.low, step.ratio.high
    ends = "" if low is None or high is None else f", 95 % {change(low)} … {change(high)}"
    return f"{title} {change(step.ratio.estimate)} ({worst.mode.title}{ends})"


def _finding(one: Application, place: Place, run: str) -> Finding:
    blank = Finding(
        id=identity(one, place), experiment=one.experiment.name, section=SECTION, runtime=place.case.runtime,
        label=title(place.mode), limit=None, control=place.control, requested=None, effective=None,
        effective_source="", expected=None, measured=place.measured, deviation=None, scale="relative",
        tolerance=None, unit=one.experiment.verdict.unit, verdict=None, reason=of_place(place),
        params=dict(place.case.params), case=place.case.id, emulated=place.emulated,
    )  # fmt: skip
    if place.skipped is not None:
        return replace(blank, verdict=place.skipped.verdict, fix=place.skipped.fix)
    if not place.values:
        return replace(blank, verdict="not testable", fix=f"bench run --resume {run}")
    return replace(
        blank,
        deviation=less_one(place.step.ratio) if place.step else None,
        values=tuple(place.values.values()),
        trials=place.trials,
        evidence=evidence(one, place),
    )


def evidence(one: Application, place: Place) -> dict[str, Scalar | None]:
    """The numbers behind a place; None where there is none. `deviation` of the finding is of times."""
    found: dict[str, Scalar | None] = {
        **one.control.evidence(),
        "latency.p50": place.latency, "latency.p99": place.tail,
        "request.cpu.server": place.server, "request.cpu.engine": place.engine,
    }  # fmt: skip
    if place.step:
        step = place.step
        found |= {
            "step.ratio": step.ratio.estimate, "step.low": step.ratio.low, "step.high": step.ratio.high,
            "step.word": step.word, "step.bound": step.bound, "step.p": step.p,
        }  # fmt: skip
    return found
