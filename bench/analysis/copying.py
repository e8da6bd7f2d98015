"""Copying up, read from a run: the line of time over size in every block, on each ground and in a
container."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.analysis.lines import Line, relative
from bench.analysis.starts import counted, seconds
from bench.frames import Run
from bench.model import Interval, TrialRecord

LARGE = 16 * 2**20
"""Bytes from which a second open is told from the first: below, both take about as long as a call."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One file that was copied up: bytes, seconds of the first and of the second open, and bytes that the
    upper layer grew by, None where that was not told for this file alone."""

    block: int
    size: float
    first: float
    second: float
    grown: float | None = None


@dataclass(frozen=True, slots=True)
class Copying:
    """All files that were copied up on one ground: "disk", "tmpfs", or the name of a runtime."""

    ground: str
    runtime: str
    copies: tuple[Copy, ...]
    trials: tuple[int, ...]
    shares: bool = False
    """Whether the file system may share blocks, so that the claims do not apply."""
    told: tuple[tuple[float, float], ...] = ()
    """Of each container the bytes that were opened, and what the engine says its writable layer holds."""

    @property
    def lines(self) -> Mapping[int, Line]:
        """The line of every block that has three sizes."""
        blocks: dict[int, list[Copy]] = {}
        for one in self.copies:
            blocks.setdefault(one.block, []).append(one)
        found = {b: relative([c.size for c in of], [c.first for c in of]) for b, of in blocks.items()}
        return {block: line for block, line in found.items() if line is not None}

    @property
    def again(self) -> list[float]:
        """Second open ÷ first, of files of at least `LARGE`."""
        return [c.second / c.first for c in self.copies if c.size >= LARGE and c.first > 0]

    @property
    def growth(self) -> list[float]:
        """Bytes that the upper layer grew by ÷ bytes of the file; of a container all of its files
        together."""
        return [c.grown / c.size for c in self.copies if c.grown is not None] + [
            b / a for a, b in self.told if a
        ]


def copyings(run: Run) -> list[Copying]:
    """Every ground that files were opened for writing on, without the experiments that vary how."""
    found = []
    good = finished(run)
    plain = [r for r in good if r.params.get("probe") == "copyup"]
    plain = [r for r in plain if "by" not in r.params]
    for ground in dict.fromkeys(str(r.params["on"]) for r in plain):
        of = [r for r in plain if r.params["on"] == ground]
        copies = {r.index: c for r in of if (c := _probed(r))}
        shares = any(seconds(r, "copyup.reflinks") for r in of)
        found.append(Copying(ground, of[0].runtime, tuple(copies.values()), tuple(copies), shares))
    return [*found, *_contained(r for r in good if "probe" not in r.params)]


def finished(run: Run) -> list[TrialRecord]:
    """The trials that came to an end and told anything, in the order of the suite and of the blocks."""
    order = {c.id: number for number, c in enumerate(run.plan.cases)}
    good = [r for r in counted(run) if r.status == "ok" and any(t.observations for t in r.tenants)]
    return sorted(good, key=lambda r: (order[r.case], r.block))


def _probed(record: TrialRecord) -> Copy | None:
    size, first, second, grown = (
        seconds(record, f"copyup.{name}") for name in ("bytes", "first", "second", "grown")
    )
    if size is None or first is None or second is None:
        return None
    return Copy(record.block, size, first, second, grown)


def _contained(records: Iterable[TrialRecord]) -> list[Copying]:
    by_runtime: dict[str, list[TrialRecord]] = {}
    for record in records:
        by_runtime.setdefault(record.runtime, []).append(record)
    found = []
    for runtime, of in by_runtime.items():
        copies, told = [], []
        for record in of:
            sizes = {m: _by_size(record, m) for m in ("copyup.first", "copyup.second")}
            both = sizes["copyup.first"].keys() & sizes["copyup.second"].keys()
            copies += [
                Copy(record.block, s, sizes["copyup.first"][s], sizes["copyup.second"][s])
                for s in sorted(both)
            ]
            layer = record.tenants[0].facts.get("layer.bytes")
            if isinstance(layer, (int, float)) and both:
                told.append((sum(both), float(layer)))
        if copies:
            trials = tuple(r.index for r in of)
            found.append(Copying(runtime, runtime, tuple(copies), trials, told=tuple(told)))
    return found


def _by_size(record: TrialRecord, metric: str) -> dict[float, float]:
    return {
        float(o.labels["bytes"]): o.value
        for o in record.tenants[0].observations
        if o.metric == metric and o.value is not None and "bytes" in o.labels
    }


def per_mib(found: Interval | None) -> Interval | None:
    """Seconds a byte as seconds a MiB."""
    if found is None:
        return None
    low, high = (None if end is None else end * 2**20 for end in (found.low, found.high))
    return Interval(found.estimate * 2**20, low, high, found.n)


def values(lines: Mapping[int, Line], part: str) -> Sequence[float]:
    """`slope`, `at_zero` or `r2` of every block."""
    return [float(getattr(line, part)) for line in lines.values()]


def spell(seconds: float) -> str:
    """Seconds for a sentence: "10.2 s", "3.4 ms", "0.85 µs"."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if abs(seconds) * factor >= 0.9995 or unit == "µs":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError("unreachable")
