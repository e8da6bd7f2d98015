"""One plain sentence for each finding: what was asked, what was got, and what confirms it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.limits import LIMITS, show
from bench.model import Finding, Interval, Judgement, Scalar

_SHOWN_AS = {"bytes": "memory", "cores": "cpu", "bytes/s": "io.write"}
_EVENTS = {
    "cpu.nr_throttled": "throttled in {value} of {cpu.nr_periods} periods",
    "memory.events.max": "ran into the limit {value} times",
    "memory.events.high": "throttled above memory.high {value} times",
    "pids.events.max": "forks refused: {value}",
    "fact:net.overlimits": "held back {value} times by the shaper",
}


def amount(value: float, judgement: Judgement) -> str:
    """A measured value in human units: 0.4983 cores, 127.8 MiB, 99.8 %, 95.6 Mbit/s."""
    limit, unit = judgement.limit or "", judgement.unit
    if unit.startswith("share"):
        return f"{_round(value * 100, 4):g} %"
    if unit in _SHOWN_AS:
        kind = LIMITS[limit].kind if limit in LIMITS else ""
        name = limit if kind == unit else _SHOWN_AS[unit]
        return show(name, _round(value, 4))
    if unit == "1/s" and limit.endswith("_iops"):
        return show(limit, _round(value, 4))
    return f"{_round(value, 5):g} {unit}".strip()


def change(value: float, judgement: Judgement) -> str:
    """A signed deviation: "−0.4 %", "+1.2 points" of a share, "+3 tasks", "× 40" from tenfold on."""
    if judgement.scale == "relative":
        if value >= 9:
            return f"× {_round(1 + value, 3):g}"
        return f"{_signed(value * 100, 1)} %"
    if judgement.unit.startswith("share"):
        return f"{_signed(value * 100, 2)} points"
    return f"{_signed(value, 3)} {judgement.unit}".strip()


def got(measured: Interval, deviation: Interval | None, judgement: Judgement) -> str:
    """ "0.498 cores (−0.4 %, 95 % −0.9 … +0.1 %)"; the interval is left out where all trials agree."""
    text = amount(measured.estimate, judgement)
    if deviation is None:
        return text
    inner = change(deviation.estimate, judgement)
    if deviation.low is not None and deviation.high is not None and deviation.low < deviation.high:
        low, high = change(deviation.low, judgement), change(deviation.high, judgement)
        if low != high:
            inner += f", 95 % {low if low[0] == '×' else low.partition(' ')[0]} … {high}"
    return f"{text} ({inner})"


def asked(label: str, requested: Scalar | None, judgement: Judgement, tenants: int) -> str:
    """What was asked in words: the value of the judged limit, or the whole row where several divide it."""
    if tenants == 1 and judgement.limit and requested is not None:
        kind = LIMITS[judgement.limit].kind if judgement.limit in LIMITS else ""
        prefix, suffix = {"weight": ("weight ", ""), "count": ("", " tasks")}.get(kind, ("", ""))
        return f"{prefix}{show(judgement.limit, requested)}{suffix}"
    return label


def expectation(expected: float | None, requested: Scalar | None, judgement: Judgement) -> str:
    """What is due, where that is not simply what was asked."""
    if expected is None or (isinstance(requested, (int, float)) and float(requested) == expected):
        return ""
    return f", due {_side(judgement)}{amount(expected, judgement)}"


def _side(judgement: Judgement) -> str:
    return {"at-most": "at most ", "at-least": "at least "}.get(judgement.rule, "")


def event(judgement: Judgement, evidence: Mapping[str, Scalar | None]) -> str:
    """What the kernel counted, as a clause; "" where there is nothing to say."""
    value = evidence.get(judgement.event or "")
    pattern = _EVENTS.get(judgement.event or "")
    if pattern is None or not isinstance(value, (int, float)):
        return ""
    words = pattern.replace("{value}", _count(value))
    for name, number in evidence.items():
        if isinstance(number, (int, float)):
            words = words.replace("{" + name + "}", _count(number))
    return "" if "{" in words else words


def sentence(parts: Sequence[str]) -> str:
    """Clauses joined, empty ones left out."""
    return "; ".join(part for part in parts if part)


def named(runtime: str, emulated: bool, durable: bool | None = None) -> str:
    """The runtime as it is called wherever results stand: "libvirt (emulated)", "libvirt (not durable)"."""
    words = [word for word, said in (("emulated", emulated), ("not durable", durable is False)) if said]
    return f"{runtime} ({', '.join(words)})" if words else runtime


def runtime_name(finding: Finding) -> str:
    """The runtime of a finding, with "(emulated)" where its CPU was and "(not durable)" where its disk is."""
    return named(finding.runtime, finding.emulated, finding.durable)


def _count(mean: float) -> str:
    """A mean of counts: whole from ten on, where a fraction of an event says nothing."""
    return f"{mean:.0f}" if mean >= 10 else f"{_round(float(mean), 2):g}"


def _round(value: float, digits: int) -> float:
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def _signed(value: float, decimals: int) -> str:
    text = f"{value:+.{decimals}f}"
    if float(text) == 0:
        return "0"
    text = text.rstrip("0").rstrip(".") if decimals > 1 else text
    return text.replace("-", "−")
