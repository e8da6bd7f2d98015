"""Look-ups in a layered file system, read from a run: medians, and what every layer adds to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bench.analysis.layer_cells import blank, middle_of
from bench.analysis.lines import ordinary
from bench.analysis.starts import seconds
from bench.analysis.stats import interval
from bench.frames import Run
from bench.model import Finding, TrialRecord

PLACES = ("absent", "bottom", "middle", "top")
"""Where a name lies, the dearest first."""
CACHES = ("cold", "warm")
DEPTH, LOOKUP = "lookup.slope", "lookup.time"
SECTION = "lookup"


def depths(run: Run, good: Sequence[TrialRecord]) -> Iterable[Finding]:
    """The slope over layers, and below it the median of every number of layers, by cache and place."""
    of = [r for r in good if r.params.get("probe") == "lookup"]
    for cache in CACHES:
        for where in PLACES:
            slopes = depth(of, f"lookup.{where}.{cache}")
            title = f"Looking up a name, {cache} cache: for every layer"
            if found := interval(list(slopes.values())):
                one = blank(
                    run, f"{DEPTH}/{where}/{cache}", title, SECTION, of[0].runtime, _whereabouts(where)
                )
                yield replace(
                    one, measured=found, reason=f"the mean slope of {len(slopes)} blocks",
                    values=tuple(slopes.values()),
                    trials=tuple(r.index for r in of if seconds(r, f"lookup.{where}.{cache}") is not None),
                )  # fmt: skip
    for cache in CACHES:
        for layers in sorted({int(r.params["layers"]) for r in of}):
            some = [r for r in of if r.params["layers"] == layers]
            for where in PLACES:
                label = f"{layers} layer{'s' * (layers > 1)}, {_whereabouts(where)}"
                title = f"Looking up a name, {cache} cache"
                one = blank(run, f"{LOOKUP}/{where}/{cache}/{layers}", title, SECTION, some[0].runtime, label)
                yield middle_of(one, some, f"lookup.{where}.{cache}")


def depth(records: Sequence[TrialRecord], metric: str) -> dict[int, float]:
    """Seconds that a look-up takes more for every layer more: the least-squares slope of every block."""
    found: dict[int, float] = {}
    for block in sorted({r.block for r in records}):
        points = [
            (float(r.params["layers"]), v)
            for r in records
            if r.block == block and (v := seconds(r, metric)) is not None
        ]
        line = ordinary(*zip(*points, strict=True)) if points else None
        if line is not None:
            found[block] = line.slope
    return found


def _whereabouts(where: str) -> str:
    return "in none of them" if where == "absent" else f"in the {where} one"
