"""Which blocks the machine spoilt. Only readings of the machine come in: nothing is dropped by its value.

A bad block is left out with all its arms. Measured were the limits of CPU pressure (a stall share above 0.3
flags 98 % of the blocks that took 1.5 times their median), of the CPU time of others (at most 0.19 on a quiet
host, 0.66 and more beside two busy programs) and of the loop; the others are proposals without support.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from bench.comparison.blocks import Mask, Numbers


@dataclass(frozen=True, slots=True)
class Reading:
    """What the machine did during one block. Shares are of its time, 0 to 1; None where unreadable."""

    seconds: float
    """Duration of the block."""
    cpu_pressure: float | None = None
    """Share of time in which some task waited for a CPU (PSI some)."""
    io_pressure: float | None = None
    """Share in which all tasks waited for I/O (PSI full)."""
    memory_pressure: float | None = None
    steal: float | None = None
    """Of all CPU time."""
    throttled: float | None = None
    """Seconds; None as well where the arm itself sets the quota, for there it is the measurement."""
    foreign: float | None = None
    """CPU time of others, as a share of all CPU time."""
    spin: float | None = None
    """The calibration loop of this block over the median of the loops until then (`relative_spin`)."""
    swapped_in: int | None = None
    """Pages."""


@dataclass(frozen=True, slots=True)
class Guards:
    """What a block may show at most, and how many may be bad."""

    cpu_pressure: float = 0.3
    io_pressure: float = 0.1
    memory_pressure: float = 0.1
    steal: float = 0.05
    throttled: float = 0.0
    foreign: float = 0.2
    spin: float = 1.5
    """At 1.2 it left out 21 % of the blocks of a quiet shared host and narrowed the rest by 10 %: no gain."""
    swapped_in: int = 0
    repeated: float = 0.3
    """Share of all blocks that may be repeated."""
    flagged: float = 0.5
    """Share of bad blocks above which the whole comparison is invalid."""
    mean_foreign: float = 0.25
    """Over the whole comparison; `steal` holds for it as well."""
    throttled_blocks: float = 0.01


NAMES = {
    "cpu_pressure": "CPU pressure",
    "io_pressure": "I/O pressure",
    "memory_pressure": "memory pressure",
    "steal": "stolen CPU time",
    "throttled": "throttled seconds",
    "foreign": "CPU time of others",
    "spin": "calibration loop",
    "swapped_in": "pages swapped in",
}
"""What a field of a reading is called in the reason why a block is left out, in the order they are asked."""


def reason(reading: Reading, guards: Guards) -> str:
    """Why this block is left out, or "". Without the value, so that blocks can be counted by reason."""
    for name, title in NAMES.items():
        value, limit = getattr(reading, name), getattr(guards, name)
        if value is not None and value > limit:
            return f"{title} above {limit:g}"
    return ""


def relative_spin(earlier: Sequence[float], now: float) -> float | None:
    """The calibration loop of a block over the median of those before it; None before the fifth."""
    return now / median(earlier) if len(earlier) >= 5 else None


def counted(blocks: int, excluded: int, guards: Guards) -> int:
    """How many of `blocks` count towards the policy's maximum: an excluded one does not, for it is repeated.

    Beyond the share that may be repeated, excluded blocks count; so measuring ends, with fewer valid blocks.
    """
    return blocks - min(excluded, int(guards.repeated * blocks))


def environment(readings: Sequence[Reading], guards: Guards) -> str:
    """Why no result of this comparison can be trusted, or "": over all its blocks, bad ones included.

    The spread and trend of the calibration loop are no such reason: a drift of the whole machine by a factor
    of 1.9 leaves every within-block ratio as it is (there is a test that shows it).
    """
    if not readings:
        return ""
    bad = sum(bool(reason(one, guards)) for one in readings) / len(readings)
    if bad > guards.flagged:
        return f"{100 * bad:.0f} % of all blocks were disturbed; at most {100 * guards.flagged:.0f} % may be"
    steal = _mean([(one.steal, one.seconds) for one in readings])
    if steal > guards.steal:
        return f"the hypervisor took {100 * steal:.1f} % of the CPU time"
    foreign = _mean([(one.foreign, one.seconds) for one in readings])
    if foreign > guards.mean_foreign:
        return f"others used {100 * foreign:.0f} % of the CPU time"
    throttled = fmean(one.throttled is not None and one.throttled > guards.throttled for one in readings)
    if throttled > guards.throttled_blocks:
        return f"{100 * throttled:.0f} % of all blocks ran into a CPU quota around the measurement"
    return ""


def _mean(shares: Sequence[tuple[float | None, float]]) -> float:
    """Mean share, weighted by the duration of the blocks that have one; 0 without any."""
    known = [(share, seconds) for share, seconds in shares if share is not None]
    total = sum(seconds for _, seconds in known)
    return sum(share * seconds for share, seconds in known) / total if total > 0 else 0.0


def carry_over(logs: Numbers, first: Mask, margin: float) -> str:
    """A warning where the ratio depends on which arm came first in the block, or "". It excludes nothing.

    `logs` are log ratios, `first` where the candidate ran before the reference. Yuen's (1974) test of trimmed
    means at 1 %, and a difference beyond the margin.
    """
    import math

    one, other = logs[first], logs[~first]
    if min(one.size, other.size) < 10:
        return ""
    from scipy.stats import trim_mean, ttest_ind

    apart = float(trim_mean(one, 0.2) - trim_mean(other, 0.2))
    if abs(apart) <= math.log1p(margin):
        return ""
    p = float(ttest_ind(one, other, equal_var=False, trim=0.2).pvalue)
    return f"going first changes the ratio by {100 * math.expm1(apart):+.1f} %" if p < 0.01 else ""
