"""What a neighbour makes a tenant feel: a run of victims and aggressors in, findings out.

One finding a cell (victim beside aggressor, control, placement, runtime), one for what each control saves,
and one for the place of each runtime. Losses are shares of the victim's work; the deviation is that of its
p99.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.analysis.interference_words import (
    GAIN,
    PREFIX,
    RANK,
    conclusion,
    percent,
    sentence,
    setting,
    times,
    title,
)
from bench.analysis.neighbours import SECTION, Cell, cells
from bench.analysis.protection import judged
from bench.analysis.standing import Gain, Standing, gains, ranking
from bench.analysis.stats import mean
from bench.model import Finding, Interval, Scalar
from bench.neighbours import UNCONTROLLED

if TYPE_CHECKING:
    from bench.analysis.series import Series
    from bench.frames import Run

__all__ = ["analyse", "conclusion", "evidence", "matrix"]
FIX = "bench run --resume {}"


def matrix(run: Run, series: Series | None = None) -> list[Cell]:
    """Every cell of a run, judged; [] for a run without neighbours. Pass `series` where one was built
    already."""
    if not any(e.section == SECTION for e in run.plan.suite.experiments):
        return []
    from bench.analysis import series as readings

    return judged(cells(run, series or readings.of(run)))


def analyse(run: Run) -> list[Finding]:
    """What the controls save, the places of the runtimes, then every cell in the order of the suite."""
    found = matrix(run)
    return [
        *(_of_gain(g) for g in gains(found)),
        *(_of_standing(s, place) for place, s in enumerate(ranking(found), 1)),
        *(_of_cell(c, run.path.name) for c in found),
    ]


def _blank(id_: str, experiment: str, runtime: str, label: str, emulated: bool) -> Finding:
    return Finding(
        id=id_, experiment=experiment, section=SECTION, runtime=runtime, label=label, limit=None,
        control=False,
        requested=None, effective=None, effective_source="", expected=None, measured=None, deviation=None,
        scale="relative", tolerance=None, unit="share", verdict=None, reason="", emulated=emulated,
    )  # fmt: skip


def _of_cell(cell: Cell, run_name: str) -> Finding:
    blank = replace(
        _blank(f"{PREFIX}{cell.case.id}", title(cell), cell.key.runtime, setting(cell), cell.emulated),
        params=dict(cell.case.params), case=cell.case.id,
    )  # fmt: skip
    if cell.skipped is not None:
        return replace(blank, verdict=cell.skipped.verdict, reason=cell.skipped.cause, fix=cell.skipped.fix)
    if cell.loss is None:
        why = cell.reasons.get("loss", "no trial has a loss")
        return replace(
            blank, verdict="not testable", reason=why, fix="" if cell.effects else FIX.format(run_name)
        )
    return replace(
        blank,
        measured=cell.loss,
        deviation=_less_one(cell.p99),
        values=tuple(1.0 if e.dnr else e.loss for e in cell.judged if e.loss is not None),
        trials=tuple(e.trial for e in cell.judged),
        reason=sentence(cell),
        evidence=evidence(cell),
    )


def _of_gain(gain: Gain) -> Finding:
    blank = _blank(
        f"{GAIN}{gain.runtime}/{gain.control}",
        "Work saved by a control",
        gain.runtime,
        gain.control,
        gain.emulated,
    )
    calm = "" if gain.calmer is None else f"; without it the p99 latency is {times(gain.calmer)} that with it"
    shown = "" if gain.clear else "; no better than without it, as far as this run can tell"
    return replace(
        blank,
        measured=gain.saved,
        deviation=_less_one(gain.calmer),
        reason=f"over {_pairs(gain.pairs)} {percent(gain.free.estimate)} of the work is lost without "
        f"control and {percent(gain.held.estimate)} with {gain.control}{calm}{shown}",
        evidence={
            "pairs": gain.pairs, "loss.free": gain.free.estimate, "loss.held": gain.held.estimate,
            "clear": gain.clear, "blocks": gain.saved.n,
        },
    )  # fmt: skip


def _of_standing(standing: Standing, place: int) -> Finding:
    control = "without control" if standing.control == UNCONTROLLED else f"with {standing.control}"
    apart = {True: "; the next loses more", False: "; not told apart from the next", None: ""}[standing.apart]
    blank = _blank(
        f"{RANK}{standing.runtime}", "Work lost beside a neighbour", standing.runtime, control, False
    )
    return replace(
        blank,
        measured=standing.loss,
        deviation=_less_one(standing.p99),
        reason=f"place {place} over {_pairs(standing.pairs)} that all have, {control}{apart}",
        evidence={
            "place": place, "pairs": standing.pairs, "control": standing.control, "apart": standing.apart,
        },
    )  # fmt: skip


def _pairs(n: int) -> str:
    return "1 pair" if n == 1 else f"{n} pairs"


def _less_one(ratio: Interval | None) -> Interval | None:
    if ratio is None:
        return None
    low, high = (None if end is None else end - 1 for end in (ratio.low, ratio.high))
    return Interval(ratio.estimate - 1, low, high, ratio.n)


def evidence(cell: Cell) -> dict[str, Scalar | None]:
    """The numbers that stand beside a loss; None where `Cell.reasons` says why."""
    scores = [score for e in cell.judged for score in e.scores]
    windows = sum(len(e.windows) for e in cell.judged)
    found: dict[str, Scalar | None] = {
        "dnr": cell.dnr,
        "rate.alone": mean([e.target for e in cell.judged if e.target is not None]),
        "rate.asked": mean([e.asked for e in cell.judged if e.asked is not None]),
        "isolation.mean": _middle(cell.isolation),
        "isolation.worst": min(scores, default=None),
        "latency.p50": _middle(cell.p50),
        "latency.p99": _middle(cell.p99),
        "loss.excess": _middle(cell.excess),
        "loss.fair": cell.fair,
        "loss.aggressor": _middle(cell.aggressor_loss),
        "recovery": _middle(cell.recovery),
        "work.conserved": _middle(cell.work),
        "windows.missing": sum(e.missing for e in cell.judged) / windows if windows else None,
        **{f"chance.{name}": p for name, p in cell.chance.items()},
        **cell.felt,
    }
    if cell.protection:
        found["protection"] = cell.protection
    return found


def _middle(found: Interval | None) -> float | None:
    return None if found is None else found.estimate
