"""Numbers for people: the only place where KiB, ms, Mbit/s and percent are written.

Every function takes SI and returns text with a true minus sign and a no-break space before the
unit. A missing number is shown as an en dash, never as 0.
"""

from __future__ import annotations

import math

from bench import limits
from bench.analysis.properties import STATE
from bench.model import Finding, Interval, Scalar

NONE = "–"
SPACE = "\u00a0"
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")
_RATES = ("B/s", "kB/s", "MB/s", "GB/s")
_SAME = {"B": "bytes", "B/s": "bytes/s", "1": "", "count": ""}
_BITS = ("bit/s", "kbit/s", "Mbit/s", "Gbit/s")


def plain(value: float, digits: int = 3) -> str:
    """A number with up to `digits` significant digits, no exponent, a true minus, thousands grouped."""
    if not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    decimals = min(max(digits - 1 - size, 0), 6)
    return _minus(f"{value:,.{decimals}f}".replace(",", "\u202f"))


def quantity(value: Scalar | None, unit: str, limit: str | None = None) -> str:
    """`value` in `unit` as text: (0.498, "cores") is "0.498 cores", (0.05, "s") is "50.0 ms".

    `limit` tells a network rate (bits) from a disk rate (bytes), and operations from events.
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    number, unit = float(value), _SAME.get(unit, unit)
    if unit in ("share", "share outside"):
        return _minus(f"{round(number * 100, 1) + 0.0:.1f}{SPACE}%")
    if unit == "s":
        return _seconds(number)
    if unit == "cores":
        return _minus(f"{number:.3f}{SPACE}cores")
    if unit == "bytes":
        return _scaled(number, 1024, _BINARY)
    if unit == "bytes/s":
        bits = limit is not None and limit.startswith("net.")
        return _scaled(number * 8, 1000, _BITS) if bits else _scaled(number, 1000, _RATES)
    if unit == "1/s" and limit is not None and limit.endswith("_iops"):
        unit = "IOPS"
    return _counted(number, unit)


def requested(finding: Finding, value: Scalar | None) -> str:
    """A requested or effective value of a finding in the unit of its limit."""
    if value is None:
        return NONE
    if finding.limit is None:
        return quantity(value, finding.unit)
    return limits.show(finding.limit, value).replace(" ", SPACE)


def measured(finding: Finding) -> str:
    """The measured estimate of a finding; "" for a state, which its mark tells."""
    if finding.unit == STATE:
        return ""
    return quantity(finding.measured.estimate if finding.measured else None, finding.unit, finding.limit)


def interval(finding: Finding) -> str:
    """The 95 % interval of what was measured, or an empty string below two trials."""
    found = finding.measured
    if found is None or found.low is None or found.high is None:
        return ""
    return span(*(quantity(v, finding.unit, finding.limit) for v in (found.low, found.high)))


def span(low: str, high: str) -> str:
    """Two ends of an interval as one text, their unit named once: "3.0 … 3.2 ms"."""
    head, _, unit = low.partition(SPACE)
    return f"{head if unit and high.endswith(SPACE + unit) else low} … {high}"


def change(value: float | None, scale: str, unit: str) -> str:
    """A signed deviation: "−0.4 %", "+1.2 pp" for shares, "+3 tasks"; from 10-fold on "×51.0"."""
    if value is None or not math.isfinite(value):
        return NONE
    if scale == "relative":
        return f"×{plain(1 + value)}" if value >= 9 else f"{signed(value * 100)}{SPACE}%"
    if unit in ("share", "share outside"):
        return f"{signed(value * 100)}{SPACE}pp"
    if value == 0:
        return "±0"
    sign = "+" if value > 0 else "−"
    return sign + quantity(abs(value), unit)


def deviation(finding: Finding) -> str:
    """The deviation of a finding from what was expected, an empty string where there is none."""
    found = finding.deviation
    return change(found.estimate, finding.scale, finding.unit) if found else ""


def deviation_interval(finding: Finding) -> str:
    """The 95 % interval of the deviation, or an empty string below two trials."""
    found: Interval | None = finding.deviation
    if found is None or found.low is None or found.high is None:
        return ""
    return span(*(change(v, finding.scale, finding.unit) for v in (found.low, found.high)))


def tolerance(finding: Finding, rule: str) -> str:
    """What is allowed: "±5 %", "−10 … +1 %", "at most +1 %"; `rule` is that of the judgement."""
    if finding.tolerance is None:
        return NONE
    low, high = finding.tolerance
    if rule == "at-most":
        return "at most " + (_bound(high, finding) if high else "expected")
    if rule == "at-least":
        return "at least " + (_bound(low, finding) if low else "expected")
    if low == high == 0:
        return "exact"
    if low == -high:
        return "±" + _bound(high, finding).lstrip("+")
    left, right = _bound(low, finding), _bound(high, finding)
    return f"{left.partition(SPACE)[0] if low else 0} … {right if high else 0}"


def signed(percent: float) -> str:
    """A percentage with one decimal below 100 and a sign; what rounds to zero is "±0.0"."""
    text = f"{percent:+.1f}" if abs(percent) < 99.95 else f"{percent:+,.0f}".replace(",", "\u202f")
    return "±0.0" if text in ("+0.0", "-0.0") else _minus(text)


def percent(fraction: float) -> str:
    """A share in two significant digits: 0.013 is "1.3 %"."""
    return f"{plain(100 * fraction, 2)}{SPACE}%"


def _bound(value: float, finding: Finding) -> str:
    scaled = value * 100
    if finding.scale == "relative":
        return _minus(f"{scaled:+g}{SPACE}%")
    if finding.unit in ("share", "share outside"):
        return _minus(f"{scaled:+g}{SPACE}pp")
    return _minus(f"{value:+g}{SPACE}{finding.unit}")


def _counted(number: float, unit: str) -> str:
    whole = abs(number - round(number)) < 1e-9
    text = _minus(f"{round(number):,}".replace(",", "\u202f")) if whole else plain(number, 4)
    return f"{text}{SPACE}{unit}" if unit else text


def _seconds(number: float) -> str:
    if number == 0:
        return f"0{SPACE}ms"
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if abs(number) * factor >= 1 or unit == "µs":
            return f"{plain(number * factor)}{SPACE}{unit}"
    raise AssertionError("unreachable")


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    index = 0
    while abs(value) >= base and index < len(units) - 1:
        value /= base
        index += 1
    return f"{plain(value, 4)}{SPACE}{units[index]}"


def _minus(text: str) -> str:
    return text.replace("-", "−")
