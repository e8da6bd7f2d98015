"""Bencher Metric Format: `{"ARM/METRIC": {MEASURE: {value, lower_value, upper_value}}}`.

Seconds are published as the measure `latency`, in nanoseconds as Bencher has it; other units as a measure
named after the metric; ratios to the pinned reference as the measure `ratio-to-reference`.
"""

from __future__ import annotations

from bench.exchange import Starts
from bench.exchange._reading import SECONDS, bounds, summaries, to_reference
from bench.exchange._text import clean, dumps, finite
from bench.model import Comparison, Interval

TITLE = "Bencher Metric Format"
SUFFIX = ".json"

NANOSECONDS = 1e9


def write(comparison: Comparison, starts: Starts) -> str:
    """Medians and ratios with their intervals; `starts` is not needed."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for key, one in summaries(comparison).items():
        seconds = one.unit in SECONDS
        metric = _metric(one.median, NANOSECONDS if seconds else 1.0)
        if metric:
            found.setdefault(_name(*key), {})["latency" if seconds else clean(one.metric) or "value"] = metric
    for key, ratio in to_reference(comparison).items():
        metric = _metric(ratio.ratio, 1.0)
        if metric:
            found.setdefault(_name(*key), {})["ratio-to-reference"] = metric
    return dumps(found)


def _name(arm: str, metric: str) -> str:
    """Name of a benchmark: only the slash between arm and metric is one."""
    return f"{arm.replace('%', '%25').replace('/', '%2F')}/{metric}"


def _metric(interval: Interval | None, factor: float) -> dict[str, float]:
    """The numbers that are there; empty where there is no value."""
    numbers = (finite(n * factor) if n is not None else None for n in bounds(interval))
    named = dict(zip(("value", "lower_value", "upper_value"), numbers, strict=True))
    if named["value"] is None:
        return {}
    return {name: number for name, number in named.items() if number is not None}
