"""Published figures on the scale of a number measured here: as multiples, or in bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.published import Figure, figures

BYTES: Mapping[str, float] = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20}
MIDDLE = "p50..p99"
"""A metric whose lower end is a median, which is what a median measured here is compared with."""


@dataclass(frozen=True, slots=True)
class Span:
    """From the lowest to the highest number of one figure; `year` is that of the publication."""

    low: float
    high: float
    verified: bool
    year: int


def spans(alike: Sequence[tuple[str, str]], scale: str) -> tuple[Span, ...]:
    """Each of the figures that a claim calls alike, on that scale: "times", "rate" or "bytes".

    A pair is one figure divided by another; "" stands for the number that was published with the other one,
    and a figure divided by itself for its upper end over its lower. Change in percent is 1 + share.
    """
    return tuple(_span(one, other, scale) for one, other in alike)


def _span(one: str, other: str, scale: str) -> Span:
    known = figures()
    if not one:
        below = known[other]
        low, high = _ends(below)
        return Span(_paired(below) / high, _paired(below) / low, below.verified, below.year)
    above = known[one]
    low, high = _ends(above)
    if scale == "bytes":
        factor = BYTES[above.unit]
        return Span(low * factor, high * factor, above.verified, above.year)
    if one == other:
        return Span(high / low, high / low, above.verified, above.year)
    if other:
        below = known[other]
        least, most = _ends(below)
        return Span(low / most, high / least, above.verified and below.verified, above.year)
    if above.unit == "x":
        return Span(low, high, above.verified, above.year)
    if above.unit == "%":
        return Span(1 + low / 100, 1 + high / 100, above.verified, above.year)
    return Span(low / _paired(above), high / _paired(above), above.verified, above.year)


def _ends(figure: Figure) -> tuple[float, float]:
    if figure.low is None:
        raise ValueError(f"{figure.id} has no number")
    high = figure.low if figure.high is None or figure.metric == MIDDLE else figure.high
    return figure.low, high


def _paired(figure: Figure) -> float:
    if figure.paired is None:
        raise ValueError(f"{figure.id} was published without the number it is held against")
    return figure.paired
