"""Rows of a history as series: what the code did, and what the machine did, of every arm, metric and machine.

Code: the log ratio to the pinned reference, measured in pairs; references are chained where runs measured
two of them, so that a new pin is no step. Environment: the median itself, and the log ratio to the raw
process; they warn and never fail. Points are in order of commit time, then time of creation.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.history.archive import History
from bench.history.detect import Bools, Floats

Texts = NDArray[np.object_]
Whole = NDArray[np.int64]
Measure = Literal["code", "absolute", "to raw"]
MEASURES: Mapping[Measure, tuple[str, str, str]] = {
    "code": ("code", "code_low", "code_high"),
    "absolute": ("median", "low", "high"),
    "to raw": ("raw", "raw_low", "raw_high"),
}
_REAL = frozenset({"created", "commit_time", *(name for names in MEASURES.values() for name in names)})
_ROLES: Mapping[Measure, tuple[str, ...]] = {
    "code": ("candidate",),
    "absolute": ("candidate", "reference", "raw"),
    "to raw": ("candidate", "reference"),
}


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What is never mixed: an arm and metric on one kind of machine with one image."""

    arm: str
    metric: str
    fingerprint: str
    image: str


@dataclass(frozen=True, slots=True)
class Link:
    """How two pins of the reference compare: the median log ratio old / new over `n` runs of both.

    `error` is its standard error from the spread of the runs; None for one run.
    """

    old: str
    new: str
    ratio: float
    error: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Series:
    """One series; arrays share one length, n points. `values` with their ends are natural logarithms.

    `usable` is False where a point is known to be bad: it is shown and not searched. `breaks` are indices
    at which the reference changed without a run that measured both: nothing is compared over them.
    """

    key: Key
    measure: Measure
    role: str
    unit: str
    values: Floats
    low: Floats
    high: Floats
    commits: Texts
    comparisons: Texts
    references: Texts
    created: Floats
    times: Floats
    """Of the commit, of the comparison where that is not known; seconds since 1970."""
    usable: Bools
    breaks: tuple[int, ...] = ()
    links: tuple[Link, ...] = ()

    @property
    def kind(self) -> Literal["code", "environment"]:
        return "code" if self.measure == "code" else "environment"


def build(
    history: History,
    measures: Sequence[Measure] = ("code", "absolute", "to raw"),
    bad: frozenset[str] = frozenset(),
) -> list[Series]:
    """All series of a history, sorted by measure and key. `bad` are comparisons not to be searched."""
    columns = _Columns(history.table)
    links = _links(columns)
    groups = list(columns.groups(("arm", "metric", "fingerprint", "image")))
    found: list[Series] = []
    for measure in measures:
        for index in groups:
            one = _one(columns, index, measure, links, bad)
            if one is not None:
                found.append(one)
    return sorted(found, key=lambda s: (list(MEASURES).index(s.measure), s.key))


class _Columns:
    """Columns of an arrow table as numpy arrays, each converted once and only if it is asked for.

    By way of Python's own lists and dictionary codes, as arrow's conversion would import pandas first,
    which takes longer than all the rest.
    """

    def __init__(self, table: Any) -> None:
        self.table = table
        self._known: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._known:
            column = self.table.column(name)
            if name in _REAL:
                self._known[name] = np.array(column.to_pylist(), dtype=np.float64)
            else:
                words, codes = self._coded(name)
                self._known[name] = words[codes]
        return self._known[name]

    def _coded(self, name: str) -> tuple[Texts, Whole]:
        """The different texts of a column, and which one each row has."""
        coded = self.table.column(name).combine_chunks().dictionary_encode()
        words = np.empty(len(coded.dictionary), dtype=np.object_)
        words[:] = coded.dictionary.to_pylist()
        return words, np.array(coded.indices.to_pylist(), dtype=np.int64)

    def groups(self, names: Sequence[str]) -> Iterator[NDArray[np.intp]]:
        """Indices of the rows that agree in those columns, in their order, group by group."""
        if not self.table.num_rows:
            return
        code = np.zeros(self.table.num_rows, dtype=np.int64)
        for name in names:
            words, codes = self._coded(name)
            code = np.unique(code * len(words) + codes, return_inverse=True)[1]
        order = np.argsort(code, kind="stable")
        yield from np.split(order, np.flatnonzero(np.diff(code[order])) + 1)


_Links = dict[tuple[str, str, str], dict[tuple[str, str], Link]]


def _one(
    columns: _Columns, index: NDArray[np.intp], measure: Measure, links: _Links, bad: frozenset[str]
) -> Series | None:
    """The series of a group of rows; None where its arm has none of that measure."""
    key = Key(*(str(columns[name][index[0]]) for name in ("arm", "metric", "fingerprint", "image")))
    known = links.get((key.metric, key.fingerprint, key.image), {})
    if columns["role"][index[-1]] not in _ROLES[measure] or key.arm in {
        pin for pair in known for pin in pair
    }:
        return None
    middle, low, high = (columns[name][index].astype(np.float64) for name in MEASURES[measure])
    if measure == "absolute":
        middle, low, high = (np.log(np.where(v > 0, v, np.nan)) for v in (middle, low, high))
    there = np.isfinite(middle)
    if not there.any():
        return None
    index, middle, low, high = index[there], middle[there], low[there], high[there]
    references = columns["reference"][index]
    breaks: tuple[int, ...] = ()
    if measure == "code":
        offset, breaks = _chain(references, known)
        middle, low, high = middle + offset, low + offset, high + offset
    created, times = columns["created"][index], columns["commit_time"][index].astype(np.float64)
    comparisons = columns["comparison"][index]
    usable = (columns["outcome"][index] != "invalid") & ~np.isin(comparisons, list(bad))
    return Series(
        key, measure, str(columns["role"][index[-1]]), str(columns["unit"][index[-1]]), middle, low, high,
        columns["commit"][index], comparisons, references, created,
        np.where(np.isnan(times), created, times), usable, breaks,
        tuple(known.values()) if measure == "code" else (),
    )  # fmt: skip


def _chain(references: Texts, known: Mapping[tuple[str, str], Link]) -> tuple[Floats, tuple[int, ...]]:
    """What to add to each value so that all are against the newest pin, and where no link leads over."""
    offsets: dict[str, tuple[int, float]] = {}
    for island, pin in enumerate(dict.fromkeys(references[::-1])):
        if pin in offsets:
            continue
        offsets[pin] = (island, 0.0)
        waiting = deque([pin])
        while waiting:
            here = waiting.popleft()
            for (old, new), link in known.items():
                for start, end, ratio in ((new, old, link.ratio), (old, new, -link.ratio)):
                    if start == here and end not in offsets:
                        offsets[end] = (island, offsets[here][1] + ratio)
                        waiting.append(end)
    islands = np.array([offsets[pin][0] for pin in references])
    added = np.array([offsets[pin][1] for pin in references])
    return added, tuple(int(i) + 1 for i in np.flatnonzero(np.diff(islands)))


def _links(columns: _Columns) -> _Links:
    """By metric and machine, of every two pins that one run measured: how they compare.

    A run under a new reference has the old one as an arm that is named like its pin was, or the other
    way round.
    """
    pins = set(columns["reference"].tolist())
    gathered: dict[tuple[str, str, str], dict[tuple[str, str], list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    chosen = np.flatnonzero(np.isin(columns["arm"], [pin for pin in pins if pin]))
    for i in chosen:
        old, new, ratio = columns["arm"][i], columns["reference"][i], float(columns["code"][i])
        if old != new and math.isfinite(ratio):
            place = (columns["metric"][i], columns["fingerprint"][i], columns["image"][i])
            pair, signed = ((old, new), ratio) if (new, old) not in gathered[place] else ((new, old), -ratio)
            gathered[place][pair].append(signed)
    return {
        place: {pair: _link(*pair, ratios) for pair, ratios in pairs.items()}
        for place, pairs in gathered.items()
    }


def _link(old: str, new: str, ratios: Sequence[float]) -> Link:
    values = np.array(ratios)
    middle = float(np.median(values))
    # The median of normal values has 1.2533 times the standard error of their mean.
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    error = 1.2533 * spread / math.sqrt(len(values)) if len(values) > 1 else None
    return Link(old, new, middle, error, len(values))
