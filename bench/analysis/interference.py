"""What a neighbour makes a tenant feel: a run of victims and aggressors in, findings out.

One finding a cell (victim beside aggressor, control, placement, runtime), one for what each control saves,
and one for the place of each runtime. Losses are shares of the victim's work; the deviation is that of its
p99.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.analysis.neighbours import LIMITED, SECTION, Cell, cells
from bench.analysis.protection import HARMFUL, UNPROTECTED, judged
from bench.analysis.standing import Gain, Standing, gains, ranking
from bench.analysis.wording import named
from bench.model import Finding, Interval, Scalar
from bench.neighbours import UNCONTROLLED, WITHOUT

if TYPE_CHECKING:
    from bench.analysis.series import Series
    from bench.frames import Run

PREFIX = "interference/"
"""Of the ids of these findings."""
GAIN, RANK = f"{PREFIX}gain/", f"{PREFIX}rank/"
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


def title(cell: Cell) -> str:
    """The pair: "spawn beside forks"."""
    return f"{cell.key.victim} beside {cell.key.aggressor}"


def setting(cell: Cell) -> str:
    """Control and placement: "limits, same core", "no control"."""
    control = "no control" if cell.key.control == UNCONTROLLED else cell.key.control
    return f"{control}, {_place(cell.key.placement)}" if cell.key.placement else control


def _place(placement: str) -> str:
    return {"same": "same core", "other": "other core", "free": "not pinned"}.get(placement, placement)


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
    calm = (
        "" if gain.calmer is None else f"; the p99 latency is {_times(gain.calmer)} that with it, without it"
    )
    shown = "" if gain.clear else "; no better than without it, as far as this run can tell"
    return replace(
        blank,
        measured=gain.saved,
        deviation=_less_one(gain.calmer),
        reason=f"beside {gain.pairs} neighbours {percent(gain.free.estimate)} of the work is lost without "
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
        reason=f"place {place} over the {standing.pairs} pairs that all have, {control}{apart}",
        evidence={
            "place": place, "pairs": standing.pairs, "control": standing.control, "apart": standing.apart,
        },
    )  # fmt: skip


def _less_one(ratio: Interval | None) -> Interval | None:
    if ratio is None:
        return None
    low, high = (None if end is None else end - 1 for end in (ratio.low, ratio.high))
    return Interval(ratio.estimate - 1, low, high, ratio.n)


def sentence(cell: Cell) -> str:
    """What happened in one cell, in words."""
    assert cell.loss is not None
    parts = [f"{percent(cell.loss.estimate)} of the work lost{_ends(cell.loss)}"]
    if cell.dnr:
        parts.append(f"the victim did not respond (DNR) in {cell.dnr} of {len(cell.judged)} trials")
    if cell.p99 is not None:
        parts.append(f"p99 latency {_times(cell.p99)} that alone")
    if cell.quiet:
        parts.append("its neighbour sleeps: this is what chance does")
    elif cell.chance:
        names = {"loss": "work", "p99": "p99 latency"}
        felt = " and ".join(names[n] for n in names if n in cell.worse)
        parts.append(f"beyond chance in {felt}" if felt else "not beyond chance")
    if cell.protection:
        parts.append(cell.protection)
    ended = [e.ended for e in cell.effects if e.ended]
    if ended:
        parts.append(f"the victim ended early in {len(ended)} trials ({', '.join(dict.fromkeys(ended))})")
    if WITHOUT in cell.case.params:
        parts.append(f"without {cell.case.params[WITHOUT]}, which this runtime does not offer")
    if cell.broken:
        parts.append(f"{cell.broken} trials broke")
    return "; ".join(parts)


def evidence(cell: Cell) -> dict[str, Scalar | None]:
    """The numbers that stand beside a loss; None where `Cell.reasons` says why."""
    scores = [score for e in cell.judged for score in e.scores]
    windows = sum(len(e.windows) for e in cell.judged)
    found: dict[str, Scalar | None] = {
        "dnr": cell.dnr,
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


def percent(share: float) -> str:
    """A share for a sentence: "4.2 %", "0 %"."""
    value = round(100 * share, 1 if abs(share) < 0.0995 else 0) + 0.0
    return f"{value:g} %".replace("-", "−")


def _ends(found: Interval) -> str:
    if found.low is None or found.high is None:
        return ""
    return f" (95 % {percent(found.low).removesuffix(' %')} … {percent(found.high)})"


def _times(found: Interval) -> str:
    """ "3.1 times (95 % 2.8 … 3.4)"."""
    ends = "" if found.low is None or found.high is None else f" (95 % {found.low:.3g} … {found.high:.3g})"
    return f"{found.estimate:.3g} times{ends}"


def conclusion(found: Sequence[Finding]) -> str:
    """What neighbours take without control and with limits, who protects best, and who did not respond.

    Emulated machines are left out of it; "" for a run without neighbours.
    """
    mine = [f for f in found if f.id.startswith(PREFIX) and f.measured is not None]
    if not mine:
        return ""
    native = [f for f in mine if not f.emulated]
    cell = [f for f in native if not f.id.startswith((GAIN, RANK))]
    said = [_said_of_limits(native), _said_of_ranks(native), _said_of_silence(cell), _said_of_failure(cell)]
    emulated = list(dict.fromkeys(named(f.runtime, True) for f in mine if f.emulated))
    if emulated:
        said.append(f"What {', '.join(emulated)} did is shown and takes no part in this")
    return " ".join(f"{text}." for text in said if text)


def _said_of_limits(found: Sequence[Finding]) -> str:
    of = [f for f in found if f.id.startswith(GAIN) and f.label == LIMITED]
    if not of:
        return _said_without_limits(found)
    clear = [f for f in of if f.evidence["clear"]]
    texts = [f"{percent(_number(f, 'loss.held'))} in {f.runtime} ({percent(_number(f, 'loss.free'))} without)"
             for f in of]  # fmt: skip
    idle = [f.runtime for f in of if f not in clear]
    note = f"; in {_listed(idle)} limits are not better than none as far as this run can tell" if idle else ""
    return f"With limits a neighbour takes {_listed(texts)} of its victim's work{note}"


def _said_without_limits(found: Sequence[Finding]) -> str:
    cell = [
        f for f in found if f.params.get("control") == UNCONTROLLED and f.params.get("aggressor") != "sleep"
    ]
    texts = []
    for runtime in dict.fromkeys(f.runtime for f in cell):
        losses = [f.measured.estimate for f in cell if f.runtime == runtime and f.measured]
        texts.append(f"{percent(sum(losses) / len(losses))} in {runtime}")
    return f"Without control a neighbour takes {_listed(texts)} of its victim's work" if texts else ""


def _said_of_ranks(found: Sequence[Finding]) -> str:
    of = [f for f in found if f.id.startswith(RANK)]
    if not of:
        return ""
    texts = [f"{f.runtime} ({_placed(f)})" for f in of]
    doubt = [f.runtime for f in of if f.evidence.get("apart") is False]
    note = f" (not told apart from the next: {_listed(doubt)})" if doubt else ""
    return f"Least work is lost in {', then '.join(texts)}{note}"


def _placed(finding: Finding) -> str:
    assert finding.measured
    ends = _ends(finding.measured).strip(" ()")
    return ", ".join(filter(None, (percent(finding.measured.estimate), ends, finding.label)))


def _said_of_silence(cell: Sequence[Finding]) -> str:
    of = [f for f in cell if f.evidence.get("dnr")]
    times = {f.id: f" ({f.evidence['dnr']} of {len(f.values)})" for f in of}
    return f"Did not respond (DNR): {_by_pair(of, times)}" if of else ""


def _said_of_failure(cell: Sequence[Finding]) -> str:
    of = [f for f in cell if f.evidence.get("protection") in (UNPROTECTED, HARMFUL)]
    return f"Not protected in spite of a control: {_by_pair(of, {})}" if of else ""


def _by_pair(found: Sequence[Finding], notes: Mapping[str, str], most: int = 3) -> str:
    """Pairs with the runtimes in which it was so: "spawn beside forks, no control, in process and docker"."""
    pairs: dict[str, list[str]] = {}
    for f in found:
        pairs.setdefault(f"{f.experiment}, {f.label}", []).append(f"{f.runtime}{notes.get(f.id, '')}")
    texts = [f"{pair}, in {_listed(runtimes)}" for pair, runtimes in pairs.items()]
    return "; ".join([*texts[:most], *([f"and {len(texts) - most} more"] if len(texts) > most else [])])


def _number(finding: Finding, name: str) -> float:
    return float(finding.evidence[name] or 0.0)


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
