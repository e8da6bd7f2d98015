"""The virtual machines of a run as a section of the report: pictures, then a column a runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.analysis.machines import PARTS, Machine
from bench.analysis.wording import named
from bench.model import Interval
from bench.render import numbers
from bench.render.figures import Figure
from bench.render.prose import listed

ACCELERATORS = {"kvm": "KVM", "tcg": "TCG, emulated"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact of one runtime; `column` says which, `small` is its interval."""

    column: str
    text: str
    small: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One fact of all runtimes."""

    title: str
    note: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Lines about one thing."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Machines:
    """The section on virtual machines."""

    outcome: str
    columns: tuple[str, ...]
    figures: tuple[Figure, ...]
    groups: tuple[Group, ...]


def section(machines: Sequence[Machine], figures: tuple[Figure, ...]) -> Machines | None:
    """The section, or None for a run without machines."""
    if not machines:
        return None
    return Machines(
        outcome=_outcome(machines),
        columns=tuple(named(m.runtime, m.emulated) for m in machines),
        figures=figures,
        groups=(_built(machines), _ready(machines), _used(machines), _seen(machines)),
    )


def _outcome(machines: Sequence[Machine]) -> str:
    """What to remember: how long each took to be ready, and which of these times are an emulator's."""
    ready = [
        f"{named(m.runtime, m.emulated)} after {numbers.quantity(m.ready.estimate, 's')}"
        for m in machines
        if m.ready
    ]
    parts = [f"Ready: {', '.join(ready)}."] if ready else []
    emulated = [m.runtime for m in machines if m.emulated]
    if emulated:
        times = "is the emulator's and says" if len(emulated) == 1 else "are the emulator's and say"
        noun = "time" if len(emulated) == 1 else "times"
        parts.append(f"The {noun} of {listed(emulated)} {times} nothing about what virtual machines cost.")
    return " ".join(parts)


def _line(
    machines: Sequence[Machine], title: str, show: Callable[[Machine], str | tuple[str, str]], note: str = ""
) -> Line:
    entries = []
    for m in machines:
        shown = show(m)
        text, small = shown if isinstance(shown, tuple) else (shown, "")
        entries.append(Entry(named(m.runtime, m.emulated), text or numbers.NONE, small))
    return Line(title, note, tuple(entries))


def _built(machines: Sequence[Machine]) -> Group:
    return Group(
        "The machine",
        (
            _line(machines, "CPU", lambda m: _words(ACCELERATORS.get(a, a) for a in m.accelerators)),
            _line(machines, "Boot", lambda m: _words(m.boots)),
            _line(machines, "Virtual CPUs", lambda m: _range([str(v) for v in m.vcpus])),
            _line(machines, "Memory", lambda m: _range([_bytes(v) for v in m.memory])),
            _line(machines, "Network", lambda m: _words(m.networks)),
            _line(machines, "Guest kernel", lambda m: _words(m.kernels)),
            _line(machines, "QEMU", lambda m: _words(m.versions)),
        ),
    )


def _ready(machines: Sequence[Machine]) -> Group:
    def shown(m: Machine) -> tuple[str, str]:
        found: Interval | None = m.ready
        if found is None:
            return "", ""
        text = numbers.quantity(found.estimate, "s")
        if found.low is None or found.high is None:
            return text, "one boot"
        low, high = (numbers.quantity(max(v, 0.0), "s") for v in (found.low, found.high))
        return text, f"{low} … {high}, n = {found.n}"

    return Group("Start", (_line(machines, "Ready after", shown, "from creation to the guest's first word"),))


def _used(machines: Sequence[Machine]) -> Group:
    def of(part: str) -> Callable[[Machine], str]:
        return lambda m: _seconds(m.parts.get(part))

    lines = [_line(machines, title[:1].upper() + title[1:], of(part)) for part, title in PARTS.items()]
    rss = _line(machines, "Most resident memory", lambda m: _bytes(m.resident), "QEMU's, with the guest's")
    return Group("What QEMU used on the host, a trial", (*lines, rss))


def _seen(machines: Sequence[Machine]) -> Group:
    def ratio(m: Machine) -> str:
        known = m.inside is not None and m.outside
        return f"{numbers.plain((m.inside or 0.0) / (m.outside or 1.0))}{numbers.SPACE}×" if known else ""

    return Group(
        "CPU time from both sides, a trial",
        (
            _line(machines, "As the host counts", lambda m: _seconds(m.outside)),
            _line(machines, "As the guest counts", lambda m: _seconds(m.inside)),
            _line(machines, "Guest ÷ host", ratio),
            _line(machines, "Stolen, as the guest counts", lambda m: _seconds(m.steal)),
        ),
    )


def _words(found: Iterable[str]) -> str:
    return ", ".join(found)


def _range(found: Sequence[str]) -> str:
    return found[0] if len(found) == 1 else f"{found[0]} … {found[-1]}" if found else ""


def _bytes(value: float | None) -> str:
    return numbers.quantity(value, "bytes")


def _seconds(value: float | None) -> str:
    return numbers.quantity(value, "s")
