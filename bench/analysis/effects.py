"""What a neighbour did to a victim in one trial: pure formulas, and the numbers of one trial from them.

Alone, beside the neighbour, and alone again lie within one trial (A-B-A), so that drift of the host takes no
part. A rate counts in units of the `target`, the victim's own mean rate in the phase `before` of the same
trial: what an open-loop victim is asked for does not grow, and what it catches up afterwards is late work.
Sources: the isolation score and the latency impact are those of resctl-bench; degradation, the aggressor's
own and DNR those of the Isolation Benchmark Suite (Matthews et al. 2007).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.analysis import windows as seen
from bench.analysis.windows import Schedule, Window
from bench.model import AGGRESSOR, VICTIM, TrialRecord

SILENT = 0.95
"""Loss of work above which a victim counts as one that did not respond (DNR)."""
RECOVERED = 0.05
"""How near to the target a window must be for the victim to be back, as a share of the target."""


def score(rate: float, target: float) -> float:
    """Isolation score of one window: min(1, rate / target); `target` above 0."""
    return min(1.0, max(rate, 0.0) / target)


def loss(during: float, before: float, after: float | None) -> float:
    """Degradation D = 1 − T_B / mean(T_A1, T_A2) of rates or scores; at most 1, below 0 for a gain.

    `after` None: the victim never was undisturbed again, and T_A1 alone is what it could do. `before` above
    0.
    """
    alone = before if after is None else (before + after) / 2
    return 1.0 - during / alone


def excess(lost: float, fair: float) -> float:
    """D_x = max(0, D − D_fair): to lose what was only borrowed is no violation."""
    return max(0.0, lost - fair)


def fair_loss(entitled: float, demand: float) -> float:
    """D_fair = max(0, 1 − entitled / demand), both in CPUs; `demand` above 0."""
    return max(0.0, 1.0 - entitled / demand)


def recovery(after: Sequence[float], target: float, window: float) -> float | None:
    """Seconds from the aggressor's end to the first window within ±5 % of the target; None if there is none.

    To whole windows: 0 means that the first window was normal already. A window in which the victim catches
    up lies above the target, and is not normal yet.
    """
    for place, rate in enumerate(after):
        if abs(rate / target - 1) <= RECOVERED:
            return place * window
    return None


def impact(during: float, before: float, after: float | None) -> float:
    """Latency beside the neighbour as a multiple of that without: during / mean(before, after); `before` >
    0."""
    return during / (before if after is None else (before + after) / 2)


@dataclass(frozen=True, slots=True)
class Effect:
    """One trial. Losses are shares of work, ratios of latency multiples, times seconds.

    `scores`: of the windows during, outside settling; a missing window is 0. `missing`: how many of all
    windows were not printed. `dnr`: it did not respond. `undisturbed`, `beside`: the aggressor's own rates,
    alone and beside the victim. `reasons`: why a number is None, by its name.
    """

    trial: int
    block: int
    target: float | None = None
    asked: float | None = None
    """Completions per second that the victim says it asks for; the target is less where it cannot keep up."""
    windows: tuple[Window, ...] = ()
    scores: tuple[float, ...] = ()
    missing: int = 0
    loss: float | None = None
    p50: float | None = None
    p99: float | None = None
    dnr: bool = False
    recovery: float | None = None
    aggressor_loss: float | None = None
    undisturbed: float | None = None
    beside: float | None = None
    ended: str = ""
    """How the victim ended, where that was not by itself."""
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def isolation(self) -> float | None:
        """Mean isolation score of the phase `during`; None without a target."""
        return math.fsum(self.scores) / len(self.scores) if self.scores else None


def effect(record: TrialRecord, plan: Schedule | None) -> Effect:
    """The numbers of one trial that ran to an end; a victim that was killed on its way is a result."""
    blank = Effect(record.index, record.block)
    victim = seen.of(record, VICTIM)
    if plan is None or victim is None:
        why = "the plan states no phases" if plan is None else "the trial has no victim"
        return Effect(record.index, record.block, reasons={"loss": why})
    windows = seen.victim_windows(victim, plan)
    before = seen.counted(windows, "before")
    target = math.fsum(before) / len(before) if before else 0.0
    ended = _ended(record)
    if target <= 0:
        why = "the victim completed nothing alone" if before else "no window of the phase before has settled"
        why += f" ({ended})" if ended else ""
        return Effect(blank.trial, blank.block, windows=windows, ended=ended, reasons={"loss": why})
    reasons: dict[str, str] = {}
    back = recovery([w.rate for w in windows if w.phase == "after"], target, plan.window)
    if back is None:
        reasons["recovery"] = f"not back within {RECOVERED:.0%} of its rate in the {plan.after:g} s after"
    scores = {phase: [score(r, target) for r in seen.counted(windows, phase)] for phase in seen.OWN}
    lost = _loss(scores["during"], scores["before"], scores["after"] if back is not None else [])
    silent = not seen.answered(windows, "during") or (lost is not None and lost > SILENT)
    if lost is None:
        reasons["loss"] = "no window of the phase during has settled"
    p50, p99 = (_impact(record, name, reasons, back is not None) for name in ("p50", "p99"))
    mine, undisturbed, beside = _aggressor(record, plan, reasons)
    return Effect(
        record.index, record.block, target, seen.stated(victim, "victim.target"), windows,
        tuple(scores["during"]), sum(not w.said for w in windows), lost, p50, p99, silent, back,
        mine, undisturbed, beside, ended, reasons,
    )  # fmt: skip


def _loss(during: Sequence[float], before: Sequence[float], after: Sequence[float]) -> float | None:
    if not during:
        return None
    b, a1, a2 = (math.fsum(scores) / len(scores) if scores else None for scores in (during, before, after))
    assert b is not None
    assert a1 is not None
    return loss(b, a1, a2)


def _impact(record: TrialRecord, name: str, reasons: dict[str, str], back: bool) -> float | None:
    victim = seen.of(record, VICTIM)
    assert victim is not None
    metric = f"victim.latency.{name}"
    before, during, after = (seen.stated(victim, metric, phase) for phase in seen.OWN)
    if not before or during is None:
        reasons[name] = "no latency was reported alone" if not before else "nothing was completed beside it"
        return None
    return impact(during, before, after if back else None)


def _aggressor(
    record: TrialRecord, plan: Schedule, reasons: dict[str, str]
) -> tuple[float | None, float | None, float | None]:
    """Its own loss, its rate alone, and that beside the victim; a loss is 1 − during / alone."""
    tenant = seen.of(record, AGGRESSOR)
    if tenant is None:
        reasons["aggressor_loss"] = "the trial has no aggressor"
        return None, None, None
    beside, alone = (seen.aggressor_rate(tenant, phase, plan) for phase in seen.WORKED)
    if beside is None:
        reasons["aggressor_loss"] = "the aggressor reports no work"
        return None, alone, None
    if not alone:
        ended = tenant.exit.reason
        reasons["aggressor_loss"] = (
            "the aggressor did no work alone" if ended == "exited" else f"the aggressor ended early ({ended})"
        )
        return None, None, beside
    return 1.0 - beside / alone, alone, beside


def _ended(record: TrialRecord) -> str:
    victim = seen.of(record, VICTIM)
    if victim is None or (victim.exit.reason == "exited" and victim.exit.code == 0):
        return ""
    exit_ = victim.exit
    if exit_.reason == "exited":
        return f"exit code {exit_.code}"
    return f"signal {exit_.signal}" if exit_.reason == "signalled" else exit_.reason
