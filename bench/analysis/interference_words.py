"""What is said of neighbours: a sentence for each cell, and the whole section in a few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.analysis.neighbours import LIMITED, QUIET, Cell
from bench.analysis.protection import HARMFUL, UNPROTECTED
from bench.analysis.wording import named
from bench.model import Finding, Interval
from bench.neighbours import UNCONTROLLED, WITHOUT

PREFIX = "interference/"
"""Of the ids of these findings."""
GAIN, RANK = f"{PREFIX}gain/", f"{PREFIX}rank/"
"""Of those on what a control saves, and on the place of a runtime."""


def title(cell: Cell) -> str:
    """The pair: "spawn beside forks"."""
    return f"{cell.key.victim} beside {cell.key.aggressor}"


def setting(cell: Cell) -> str:
    """Control and placement: "limits, same core", "no control"."""
    control = "no control" if cell.key.control == UNCONTROLLED else cell.key.control
    return f"{control}, {_place(cell.key.placement)}" if cell.key.placement else control


def _place(placement: str) -> str:
    return {"same": "same core", "other": "other core", "free": "not pinned"}.get(placement, placement)


def sentence(cell: Cell) -> str:
    """What happened in one cell, in words."""
    assert cell.loss is not None
    parts = [f"{percent(cell.loss.estimate)} of the work lost{_ends(cell.loss)}"]
    if cell.dnr:
        parts.append(f"the victim did not respond (DNR) in {cell.dnr} of {len(cell.judged)} trials")
    if cell.p99 is not None:
        parts.append(f"p99 latency {times(cell.p99)} that alone")
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


def percent(share: float) -> str:
    """A share for a sentence: "4.2 %", "0 %"."""
    value = round(100 * share, 1 if abs(share) < 0.0995 else 0) + 0.0
    return f"{value:g} %".replace("-", "−")


def _ends(found: Interval) -> str:
    if found.low is None or found.high is None:
        return ""
    return f" (95 % {percent(found.low).removesuffix(' %')} … {percent(found.high)})"


def times(found: Interval) -> str:
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
        f for f in found if f.params.get("control") == UNCONTROLLED and f.params.get("aggressor") != QUIET
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
