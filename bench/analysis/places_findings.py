"""Where files lie, as findings: one for each kind of work in each runtime and each place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.analysis import places, places_words
from bench.analysis.places import SECTION, Spot, Work
from bench.analysis.steps import Step, less_one
from bench.model import PLACE, Finding, Scalar

if TYPE_CHECKING:
    from bench.frames import Run

PREFIX = "places/"


def findings(run: Run) -> list[Finding]:
    """Every spot in the order of the suite, the ladder and the places; what could not run once a trial."""
    found = [(work, spot) for work in places.works(run) for spot in work.spots]
    told = [(work, spot) for work, spot in found if spot.skipped is None or _main(work)]
    return [_finding(work, spot, run.path.name) for work, spot in told]


def _main(work: Work) -> bool:
    """Whether its number is the one that the experiment is about."""
    return work.metric == work.experiment.verdict.metric


def identity(work: Work, spot: Spot) -> str:
    """The id of the finding on that spot; a further number of the same trials has its metric in it."""
    return f"{PREFIX}{spot.case}" + ("" if _main(work) else f"/{work.metric}")


def _finding(work: Work, spot: Spot, run: str) -> Finding:
    blank = Finding(
        id=identity(work, spot), experiment=work.experiment.name, section=SECTION, runtime=spot.runtime,
        label=f"{work.title.removesuffix(', by place').lower()}, {places_words.title(spot)}", limit=None,
        control=spot.control, requested=None, effective=None, effective_source="", expected=None,
        measured=spot.measured, deviation=None, scale="relative", tolerance=None, unit=work.unit,
        verdict=None, reason=places_words.of_spot(spot), params={PLACE: spot.place}, case=spot.case,
        emulated=spot.emulated, durable=spot.durable,
    )  # fmt: skip
    if spot.skipped is not None:
        return replace(blank, verdict=spot.skipped.verdict, fix=spot.skipped.fix)
    if not spot.values:
        return replace(blank, verdict="not testable", fix=f"bench run --resume {run}")
    return replace(
        blank,
        deviation=less_one(spot.total.ratio) if spot.total else None,
        values=tuple(spot.values.values()),
        trials=spot.trials,
        evidence=evidence(work, spot),
    )


def evidence(work: Work, spot: Spot) -> dict[str, Scalar | None]:
    """The numbers behind a spot; None where there is none.

    `host.share` is its speed as a share of that of the raw process in a host directory: the inverse of
    `total.ratio`, which is of times.
    """
    found: dict[str, Scalar | None] = {
        "metric": work.metric, "place": spot.place, **work.control.evidence(),
        "place.type": spot.seen.kind or None, "place.mount": spot.seen.mount or None,
        "place.number": spot.seen.number or None, "place.behind": spot.seen.behind or None,
    }  # fmt: skip
    if spot.seen.format:
        found |= {"place.format": spot.seen.format, "place.cache": spot.seen.cache}
    if spot.durability:
        found |= {"fsync.of.host": spot.durability.ratio, "durable": spot.durable}
    for name, step in (("total", spot.total), ("alike", spot.alike)):
        found |= _numbers(name, step)
    if spot.total:
        ratio = spot.total.ratio
        found |= {
            "host.share": 1 / ratio.estimate, "host.share.low": 1 / ratio.high if ratio.high else None,
            "host.share.high": 1 / ratio.low if ratio.low else None,
        }  # fmt: skip
    return found


def _numbers(name: str, step: Step | None) -> dict[str, Scalar | None]:
    if step is None:
        return {}
    return {
        f"{name}.against": step.against, f"{name}.ratio": step.ratio.estimate, f"{name}.low": step.ratio.low,
        f"{name}.high": step.ratio.high, f"{name}.word": step.word, f"{name}.bound": step.bound,
        f"{name}.detectable": step.detectable, f"{name}.p": step.p,
    }  # fmt: skip
