"""What the host did during each block of starts: samples taken around every start, as readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from bench.comparison.guards import Reading, relative_spin
from bench.frames import Run
from bench.model import TrialRecord

if TYPE_CHECKING:
    from pandas import DataFrame

PRESSURE = {
    "cpu_pressure": "psi.cpu.some",
    "io_pressure": "psi.io.full",
    "memory_pressure": "psi.memory.full",
}
"""Readings of a block by the counter, in seconds, that they are the share of."""
TICK = 0.01
"""Seconds of CPU time that /proc/stat counts at once (USER_HZ)."""
TICKS = 200
"""Fewer of them than this in a block tell nothing: a share of them is off by up to 0.5/√n, 0.035 here."""

Block = Mapping[str, TrialRecord]
Grown = Mapping[tuple[int, str], float]
"""By trial and metric: how much the counter grew."""


def readings(run: Run, blocks: Sequence[Block]) -> list[Reading]:
    """One reading a block, in order. Counters are summed over the starts of the block."""
    ends = of_host(run)
    if ends.empty:
        return [Reading(sum(r.duration for r in block.values())) for block in blocks]
    keys = [(int(trial), str(metric)) for trial, metric in ends.index]
    grown = growth(ends)
    loops = {t: float(v) for (t, m), v in zip(keys, ends["first"], strict=True) if m == "spin.loop"}
    spins = relative([[loops[r.index] for r in b.values() if r.index in loops] for b in blocks])
    return [_reading(block, grown, one) for block, one in zip(blocks, spins, strict=True)]


def of_host(run: Run) -> DataFrame:
    """First and last reading and number of readings of the host, by trial and metric; empty without any."""
    frame = run.samples
    host = frame[frame["tenant"] == ""]
    return host.groupby(["trial", "metric"], observed=True)["value"].agg(["first", "last", "count"])


def growth(ends: DataFrame) -> Grown:
    """By how much each counter grew; without those that were not read twice."""
    twice = ends[ends["count"] >= 2]
    keys = ((int(trial), str(metric)) for trial, metric in twice.index)
    return dict(zip(keys, map(float, twice["last"] - twice["first"]), strict=True))


def relative(loops: Sequence[Sequence[float]]) -> list[float | None]:
    """The median of the calibration loops of each block over that of the blocks before; None without."""
    earlier: list[float] = []
    found: list[float | None] = []
    for block in loops:
        now = median(block) if block else None
        found.append(None if now is None else relative_spin(earlier, now))
        if now is not None:
            earlier.append(now)
    return found


def foreign(
    total: float | None,
    exact: float | None,
    idle: float | None,
    steal: float | None,
    own: Sequence[tuple[float | None, float | None, float | None]],
) -> float | None:
    """CPU time of others as a share of all CPU time, 0 to 1; None where it cannot be told.

    Seconds: `total` and `idle` as /proc/stat has them, `exact` what all tasks used, where that is known.
    `own` has (this program, its ended children, the sandboxes) of each start. A sandbox that is a child as
    well is in both of the latter, so the larger of the two counts.
    """
    if not total or not own:
        return None
    used = exact
    if used is None and idle is not None and steal is not None and total >= TICKS * TICK:
        used = total - idle - steal
    if used is None:
        return None
    ours = 0.0
    for program, children, sandboxes in own:
        if program is None or children is None:
            return None
        ours += program + max(children, sandboxes or 0.0)
    return min(max((used - ours) / total, 0.0), 1.0)


def _reading(block: Block, grown: Grown, spin: float | None) -> Reading:
    trials = [record.index for record in block.values()]
    spent = sum(record.duration for record in block.values())

    def one(trial: int, metric: str) -> float | None:
        value = grown.get((trial, metric))
        return value if value == value else None

    def total(metric: str) -> float | None:
        known = [v for t in trials if (v := one(t, metric)) is not None]
        return sum(known) if known else None

    def share(part: float | None, whole: float | None) -> float | None:
        return None if part is None or not whole else part / whole

    pressure = {name: share(total(metric), spent) for name, metric in PRESSURE.items()}
    cpu, steal, swapped = total("host.cpu.total"), total("host.cpu.steal"), total("host.swap.in")
    own = [tuple(one(t, m) for m in ("self.process", "self.children", "cpuacct.tenants")) for t in trials]
    others = foreign(
        cpu, total("cpuacct.host"), total("host.cpu.idle"), steal, [(a, b, c) for a, b, c in own]
    )
    return Reading(
        spent,
        steal=share(steal, cpu),
        throttled=total("throttling.throttled"),
        foreign=others if all(_descends(record) for record in block.values()) else None,
        spin=spin,
        swapped_in=None if swapped is None else int(swapped),
        **pressure,
    )


def _descends(record: TrialRecord) -> bool:
    """Whether the sandbox was started by this program itself.

    What an engine's daemons and helpers do for a sandbox cannot be told apart from the work of others.
    """
    return all("parked.cpu" in tenant.facts for tenant in record.tenants)
