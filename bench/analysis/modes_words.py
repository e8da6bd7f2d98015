"""What is said of the ways from a client to a server."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from bench.analysis.copying import spell
from bench.analysis.overhead_words import EMULATED, bound, change
from bench.analysis.wording import sentence
from bench.model import MODE, Finding, Interval, Scalar
from bench.modes import REFERENCE, Mode

TRIP, BULK = "mode-trip", "mode-bulk"
_TOKEN = re.compile(r"^isob[0-9a-f]{6}(.)$")
_BRIDGE = re.compile(r"^br-[0-9a-f]{12}$")
_UNITS = (("s", 1.0), ("ms", 1e3), ("µs", 1e6))
WITNESSES = {
    "path.packets": "packets seen there: {value:.0f}",
    "path.connections": "connections that met the rule: {value:.0f}",
    "path.cpu": "the process in between used {value:.2f} s of CPU time",
}


def unnumbered(link: str) -> str:
    """The name of a link without what differs from trial to trial."""
    return _BRIDGE.sub("br-…", _TOKEN.sub(r"isob…\1", link))


def of(
    mode: Mode, times: Interval | None, added: Interval | None, drift: Sequence[float],
    facts: Mapping[str, Scalar | None], *, broken: int, emulated: bool,
) -> str:  # fmt: skip
    """One mode in a sentence: how many times the loopback, how much more, and what shows the way it took."""
    parts = []
    if mode.name == REFERENCE and drift:
        worst = max(abs(d) for d in drift)
        parts.append(
            "the control, at the start and at the end of every block, "
            f"which differ by up to {bound(math.expm1(worst))}"
        )
    if times is not None:
        parts.append(f"{_multiple(times.estimate)} the loopback{_ends(times)}")
    if added is not None:
        parts.append(_more(added))
    parts.append(f"by way of {mode.passes}")
    told = {name: facts.get(name) for name in WITNESSES if not mode.unix}
    parts += [WITNESSES[name].format(value=v) for name, v in told.items() if isinstance(v, float)]
    parts.append(EMULATED if emulated else "")
    parts.append(f"{broken} trials broke" if broken else "")
    return sentence(parts)


def _multiple(times: float) -> str:
    return f"{times:.3g} times" if times >= 2 or times < 0.5 else f"{times:.2f} times"


def _ends(times: Interval) -> str:
    return "" if times.low is None or times.high is None else f" (95 % {times.low:.3g} … {times.high:.3g})"


def _more(added: Interval) -> str:
    """What is added, with its sign: "+2.99 µs (95 % +2.85 … +3.14 µs)", in ms or s where it is that much."""
    most = max(abs(end) for end in (added.estimate, added.low, added.high) if end is not None)
    unit, factor = next((u, f) for u, f in _UNITS if most * f >= 1 or u == "µs")
    text = f"{_signed(added.estimate * factor)} {unit}"
    if added.low is None or added.high is None:
        return text
    return f"{text} (95 % {_signed(added.low * factor)} … {_signed(added.high * factor)} {unit})"


def _signed(number: float) -> str:
    text = f"{number:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "−")


def conclusion(found: Sequence[Finding]) -> str:
    """What each way costs a round trip, the fastest first, and what the slowest leaves of the throughput."""
    by: dict[str, list[Finding]] = {}
    for f in found:
        if f.measured is not None and not f.emulated:
            by.setdefault(f.experiment, []).append(f)
    return " ".join(filter(None, (_trips(by.get(TRIP, [])), _bulk(by.get(BULK, [])))))


def _trips(of: Sequence[Finding]) -> str:
    base = next((f for f in of if f.params[MODE] == REFERENCE), None)
    others = [f for f in of if f.deviation is not None]
    if base is None or base.measured is None or not others:
        return ""
    ordered = sorted(others, key=lambda f: f.deviation.estimate if f.deviation else 0.0)
    said = "; ".join(f"{f.label} {change(1 + f.deviation.estimate)}" for f in ordered if f.deviation)
    first = spell(base.measured.estimate)
    return f"A byte to a server and back takes {first} on the loopback. Beside that: {said}."


def _bulk(of: Sequence[Finding]) -> str:
    least = min((f for f in of if f.deviation is not None),
                key=lambda f: f.deviation.estimate if f.deviation else 0.0, default=None)  # fmt: skip
    if least is None or least.deviation is None:
        return ""
    left = 100 * (1 + least.deviation.estimate)
    return f"Of the throughput of the loopback, {least.label} leaves least: {left:.3g} %."
