"""By what means a neighbour was felt: pressure, throttling and stolen CPU time of the victim meanwhile.

All are counters that collectors read from the host; between two readings they are taken to grow evenly.
"""

from __future__ import annotations

import numpy as np

from bench.analysis.series import GUEST, Series
from bench.model import VICTIM

RESOURCES = ("cpu", "memory", "io")
STALLS = tuple(f"{resource}.pressure.{kind}" for resource in RESOURCES for kind in ("some", "full"))
"""Shares of the time in which at least one task, or all tasks of the victim waited for a resource."""
THROTTLED = "cpu.throttled.periods"
"""Share of the victim's CFS periods in which it was held back."""
STEAL = "guest.cpu.steal"
"""CPUs' worth of time that the victim's own machine says it did not get."""


def felt(trial: int, span: tuple[float, float] | None, series: Series) -> dict[str, float]:
    """What was read of the victim while the aggressor was on; what was not read is not in it."""
    if span is None:
        return {}
    found = {m: rate for m in STALLS if (rate := grown(trial, m, span, series)) is not None}
    periods, held = (grown(trial, f"cpu.nr_{what}", span, series) for what in ("periods", "throttled"))
    if periods and held is not None:
        found[THROTTLED] = held / periods
    stolen = grown(trial, f"{GUEST}host.cpu.steal", span, series)
    return found if stolen is None else {**found, STEAL: stolen}


def grown(trial: int, metric: str, span: tuple[float, float], series: Series) -> float | None:
    """Growth of a counter of the victim a second, over the part of the span in which it was read.

    None where it was not read around it: a victim that was killed early leaves its readings until then.
    """
    read = series.get(trial, VICTIM, metric)
    if read is None:
        return None
    begin, end = max(span[0], read[0][0]), min(span[1], read[0][-1])
    if end <= begin:
        return None
    first, last = np.interp((begin, end), read[0], read[1])
    return max(float(last - first), 0.0) / float(end - begin)
