"""P06, P18, P19 and P20: what others say of neighbours, held against the cells of a run.

Every part of a predicate is a claim of its own, in every runtime with hardware of its own: an emulated
machine stands for no virtual machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.analysis.claims import MACHINES, Cited, Evaluated, Word, bound
from bench.analysis.effects import excess
from bench.analysis.neighbours import LIMITED, WEIGHTED, Cell, exponential, lost, slowed
from bench.analysis.significance import LEAST
from bench.analysis.standing import averaged, paired
from bench.analysis.stats import interval
from bench.model import Interval
from bench.neighbours import UNCONTROLLED
from bench.published import rows

BOMBS = ("cpu", "memory", "forks")
"""The aggressors that hard limits are said to stop."""
Outcome = tuple[Word, Interval | None, str]
Cells = Sequence[Cell]


@dataclass(frozen=True, slots=True)
class Said:
    """One claim; `judge` holds it against the cells of one runtime, or of all where it compares runtimes."""

    id: str
    text: str
    cited: Cited
    judge: Callable[[Cells], Outcome]
    across: bool = False


@dataclass(frozen=True, slots=True)
class Here:
    """A claim on one runtime."""

    said: Said
    runtime: str
    short: str = ""

    @property
    def id(self) -> str:
        """Number of the predicate."""
        return self.said.id

    @property
    def cited(self) -> Cited:
        """Who published it."""
        return self.said.cited

    @property
    def text(self) -> str:
        """The claim as a sentence."""
        return f"in {self.runtime} {self.said.text}" if self.runtime else self.said.text


def evaluate(cells: Cells) -> list[Evaluated]:
    """Every claim in every runtime that has the cells for it; one "not applicable" where none has."""
    native = [c for c in cells if not c.emulated and c.judged]
    return [one for said in CLAIMS for one in _everywhere(said, native)] if cells else []


def _everywhere(said: Said, native: Cells) -> Iterator[Evaluated]:
    runtimes = [""] if said.across else list(dict.fromkeys(c.key.runtime for c in native))
    found = []
    for runtime in runtimes:
        of = [c for c in native if not runtime or c.key.runtime == runtime]
        word, ratio, reason = said.judge(of)
        found.append(Evaluated(Here(said, runtime), word, ratio, reason))
    applied = [one for one in found if one.word != "not applicable"]
    if applied:
        yield from applied
    else:
        reason = found[0].reason if found else "no runtime of this run has a native CPU"
        yield Evaluated(Here(said, ""), "not applicable", None, reason)


def _pick(cells: Cells, control: str, aggressors: Sequence[str], victims: Sequence[str] = ()) -> list[Cell]:
    return [
        c for c in cells
        if c.key.control == control and c.key.aggressor in aggressors
        and (not victims or c.key.victim in victims)
    ]  # fmt: skip


def _outcome(found: Interval | None, missing: str, unit: str, *, least: float | None = None,
             most: float | None = None, note: str = "") -> Outcome:  # fmt: skip
    word = bound(found, least, most)
    if found is None:
        return word, None, missing
    if found.low is None or found.high is None:
        return word, found, f"{_show(found.estimate, unit)}; too few blocks for an interval{note}"
    low, high = (_show(end, unit).removesuffix(f" {unit}") for end in (found.low, found.high))
    ends = f"95 % {low} … {high}{' %' if unit == '%' else ''}"
    return word, found, f"{_show(found.estimate, unit)}, {ends}, {found.n} blocks{note}"


def _show(value: float, unit: str) -> str:
    return f"{100 * value:.3g} %".replace("-", "−") if unit == "%" else f"{value:.3g} times"


def _silent(cells: Cells) -> str:
    dnr, n = sum(c.dnr for c in cells), _tried(cells)
    return f"; did not respond in {dnr} of {n} trials" if dnr else ""


def _tried(cells: Cells) -> int:
    """Trials that can be judged."""
    return sum(len(c.judged) for c in cells)


def _mostly_silent(cells: Cells) -> bool:
    return 2 * sum(c.dnr for c in cells) > _tried(cells)


# --- P06: tasks ---------------------------------------------------------------------------------

_NO_FORKS = "spawn beside forks was not measured with limits"


def _forks_held(cells: Cells) -> Outcome:
    held = _pick(cells, LIMITED, ["forks"], ["spawn"])
    if _mostly_silent(held):
        word: Word = "inverted" if _tried(held) >= LEAST else "inconclusive"
        return word, None, f"with limits{_silent(held).replace(';', ' it', 1)}"
    found = exponential(interval(averaged(held, slowed)))
    return _outcome(found, _NO_FORKS, "times", most=1.5, note=_silent(held))


def _forks_free(cells: Cells) -> Outcome:
    free, held = (_pick(cells, control, ["forks"], ["spawn"]) for control in (UNCONTROLLED, LIMITED))
    if not _tried(free) or not _tried(held):
        missing = _NO_FORKS if _tried(free) else "spawn beside forks was not measured without limits"
        return "not applicable", None, missing
    if _mostly_silent(free) != _mostly_silent(held):
        word: Word = "reproduced" if _mostly_silent(free) else "inverted"
        word = word if min(_tried(free), _tried(held)) >= LEAST else "inconclusive"
        return word, None, f"without limits {_dnr(free)}, with limits {_dnr(held)}"
    found = exponential(interval(paired(free, held, slowed)))
    return _outcome(found, "no block has a latency of both", "times", least=1.0,
                    note=_silent(free))  # fmt: skip


def _dnr(cells: Cells) -> str:
    return f"{sum(c.dnr for c in cells)} of {_tried(cells)} trials did not respond"


# --- P18: hard limits ---------------------------------------------------------------------------

_NO_BOMBS = "no victim was measured beside cpu, memory or forks with limits"


def beyond_fair(cell: Cell) -> dict[int, float]:
    """Excess loss of every trial by block; the whole loss where no fair share is defined, which is not
    less."""
    fair = cell.fair or 0.0
    return {block: excess(value, fair) for block, value in lost(cell).items()}


def given_up(cell: Cell) -> dict[int, float]:
    """The aggressor's own loss less the victim's, of every trial that has both, by block."""
    mine = lost(cell)
    return {e.block: e.aggressor_loss - mine[e.block] for e in cell.judged if e.aggressor_loss is not None}


def _bombs_held(cells: Cells) -> Outcome:
    held = _pick(cells, LIMITED, BOMBS)
    return _outcome(interval(averaged(held, beyond_fair)), _NO_BOMBS, "%", most=0.10, note=_silent(held))


def _bombs_pay(cells: Cells) -> Outcome:
    held = _pick(cells, LIMITED, BOMBS)
    chance = max((c.floor["loss"] for c in held if "loss" in c.floor), default=0.0)
    found = interval(averaged([c for c in held if given_up(c)], given_up))
    missing = "no aggressor reports its work alone" if held else _NO_BOMBS
    return _outcome(found, missing, "%", least=-chance, note=f"; by chance {_show(chance, '%')}")


def _bombs_free(cells: Cells) -> Outcome:
    free, held = (_pick(cells, control, BOMBS) for control in (UNCONTROLLED, LIMITED))
    found = interval(paired(free, held, lost))
    word, found, reason = _outcome(
        found, "the same pairs were not measured with limits and without", "%", least=0
    )
    if word == "reproduced" and found is not None and found.low == 0:
        word = "inconclusive"  # strictly worse is claimed
    return word, found, reason


# --- P19: disk ----------------------------------------------------------------------------------


def _of_machines(cells: Cells, machines: bool) -> list[Cell]:
    return [c for c in cells if c.key.runtime.startswith(MACHINES) is machines]


def _disk(cells: Cells, control: str) -> list[Cell]:
    return _pick(cells, control, ["disk"], ["disk"])


def _disk_free(cells: Cells) -> Outcome:
    found = exponential(interval(averaged(_disk(_of_machines(cells, False), UNCONTROLLED), slowed)))
    return _outcome(
        found, "disk beside disk was not measured in a container without control", "times", least=2
    )


def _disk_held(cells: Cells) -> Outcome:
    free, held = (_disk(_of_machines(cells, False), control) for control in (UNCONTROLLED, LIMITED))
    found = exponential(interval(paired(free, held, slowed)))
    missing = "disk beside disk was not measured in a container with limits and without"
    return _outcome(found, missing, "times", least=2)


def _disk_machines(cells: Cells) -> Outcome:
    sides = [_disk(_of_machines(cells, machines), UNCONTROLLED) for machines in (False, True)]
    if not all(sides):
        return "not applicable", None, "no container and virtual machine with a native CPU to compare"
    by_block = [_blocks(side) for side in sides]
    logs = [by_block[0][b] - by_block[1][b] for b in sorted(by_block[0].keys() & by_block[1].keys())]
    return _outcome(exponential(interval(logs)), "no block has a latency of both", "times", least=1)


def _blocks(cells: Cells) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for cell in cells:
        for block, value in slowed(cell).items():
            found.setdefault(block, []).append(value)
    return {b: math.fsum(values) / len(values) for b, values in found.items()}


# --- P20: weights -------------------------------------------------------------------------------

_NO_WEIGHTS = "cpu beside cpu was not measured with weights"


def _weights_share(cells: Cells) -> Outcome:
    held, free = (_pick(cells, control, ["cpu"], ["cpu"]) for control in (WEIGHTED, UNCONTROLLED))
    gained, works = interval(paired(free, held, lost)), [c.work.estimate for c in held if c.work]
    saved = "" if gained is None else f"; {_show(gained.estimate, '%')} of the work saved by weights"
    work = f"; work conservation {_show(math.fsum(works) / len(works), '%')}" if works else ""
    return _outcome(interval(averaged(held, lost)), _NO_WEIGHTS, "%", most=0.05, note=saved + work)


def _weights_tail(cells: Cells) -> Outcome:
    held = _pick(cells, WEIGHTED, ["cpu"], ["cpu"])
    return _outcome(exponential(interval(averaged(held, slowed))), _NO_WEIGHTS, "times", least=2)


_BOMBS = "cpu, memory and forks"
_TASKS = Cited(rows("KER-10 SHA-07..08 XAV-13..16 MAT-07..12"), severity="must")
_BOMBS_HELD = Cited(rows("MAT-01..18 SHA-09..10 XAV-01..08"))
_DISK = Cited(rows("SHA-11..12 XAV-09..12 MAT-19..24"))
_DISK_LIMIT = Cited(rows("SHA-11..12 IOC-03..04"))
_WEIGHTS = Cited(rows("IOC-01..02 IOC-05 IOC-07"))
_TAIL = Cited(rows("IOC-07"))
CLAIMS = (
    Said("P06", "spawn beside a fork bomb takes at most 1.5 times as long at p99 with limits",
         _TASKS, _forks_held),
    Said("P06", "spawn beside a fork bomb takes longer at p99 without limits than with them",
         _TASKS, _forks_free),
    Said("P18", f"victims beside {_BOMBS} lose at most 10 % beyond their fair share with limits",
         _BOMBS_HELD, _bombs_held),
    Said("P18", f"with limits {_BOMBS} lose no less of their own work than their victims",
         _BOMBS_HELD, _bombs_pay),
    Said("P18", f"victims beside {_BOMBS} lose more without limits than with them",
         _BOMBS_HELD, _bombs_free),
    Said("P19", "disk beside disk takes at least twice as long at p99 without an IO limit",
         _DISK, _disk_free),
    Said("P19", "an IO limit at least halves the p99 of disk beside disk", _DISK_LIMIT, _disk_held),
    Said("P19", "the p99 of disk beside disk grows at least as much in containers as in virtual machines",
         _DISK, _disk_machines, across=True),
    Said("P20", "with a CPU weight of 100:1 cpu beside cpu loses at most 5 % of its work",
         _WEIGHTS, _weights_share),
    Said("P20", "with a CPU weight of 100:1 the p99 of cpu beside cpu is at least twice that alone",
         _TAIL, _weights_tail),
)  # fmt: skip
