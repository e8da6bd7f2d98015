"""JSON for github-action-benchmark with `tool: customSmallerIsBetter`.

A list of `{name, unit, value, range, extra}`. That action alerts on the quotient of two runs, which on shared
runners are two machines; so each ratio to the pinned reference, measured in one job, is published as well.
"""

from __future__ import annotations

from typing import Any

from bench.exchange import Starts
from bench.exchange._reading import bounds, summaries, to_reference
from bench.exchange._text import clean, dumps
from bench.model import Comparison, Interval

TITLE = "github-action-benchmark (customSmallerIsBetter)"
SUFFIX = ".json"


def write(comparison: Comparison, starts: Starts) -> str:
    """The medians, then the ratios to the reference; `starts` is not needed."""
    found = []
    for (arm, metric), one in summaries(comparison).items():
        found.append(
            _entry(f"{arm} {metric}", clean(one.unit), one.median, f"n={one.n}, failed={one.failed}")
        )
    for (arm, metric), ratio in to_reference(comparison).items():
        extra = f"within blocks, against {clean(ratio.against)}; reference: {clean(comparison.reference)}"
        found.append(_entry(f"{arm} {metric} / reference", "ratio", ratio.ratio, extra))
    return dumps([entry for entry in found if entry])


def _entry(name: str, unit: str, interval: Interval | None, extra: str) -> dict[str, Any] | None:
    """One entry; None where the number is missing. `range` is the larger half of the interval."""
    value, low, high = bounds(interval)
    if value is None:
        return None
    entry: dict[str, Any] = {"name": name, "unit": unit, "value": value, "extra": extra}
    if low is not None and high is not None:
        entry["range"] = f"± {max(high - value, value - low):.4g}"
        entry["extra"] += f"; interval [{low:.6g}, {high:.6g}]"
    return entry
