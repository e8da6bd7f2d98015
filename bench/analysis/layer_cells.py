"""The parts of findings on the layered file system: a blank one, a median with its ratio, sizes in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from bench.analysis.starts import CONFIDENCE, ratio, seconds
from bench.comparison import estimate
from bench.frames import Run
from bench.model import Finding, Interval, TrialRecord

GROUNDS = {"disk": "the state directory's disk", "tmpfs": "tmpfs"}


def named(ground: str) -> str:
    """Where files lie, in words."""
    return GROUNDS.get(ground, f"a container of {ground}")


def blank(run: Run, id_: str, title: str, section: str, runtime: str, label: str) -> Finding:
    """A finding of this suite before anything is measured."""
    return Finding(
        id=id_, experiment=title, section=section, runtime=runtime, label=label, limit=None, control=False,
        requested=None, effective=None, effective_source="", expected=None, measured=None, deviation=None,
        scale="relative", tolerance=None, unit="s", verdict=None, reason="",
        emulated=runtime in run.plan.emulated,
    )  # fmt: skip


def middle_of(
    of: Finding, records: Sequence[TrialRecord], metric: str, base: Mapping[int, float] | None = None
) -> Finding:
    """That finding with the median of a metric over trials, and its ratio within blocks to `base`."""
    found = by_block(records, metric)
    logs = [math.log(v / base[b]) for b, v in found.items() if v > 0 and base and base.get(b, 0) > 0]
    return replace(
        of,
        measured=estimate.median_interval(list(found.values()), CONFIDENCE),
        deviation=_less_one(ratio(logs)),
        reason=of.reason or f"the median of {len(found)}",
        values=tuple(found.values()),
        trials=tuple(r.index for r in records if r.block in found),
    )


def by_block(records: Sequence[TrialRecord], metric: str) -> dict[int, float]:
    """The value of a metric in every block that has one."""
    return {r.block: v for r in records if (v := seconds(r, metric)) is not None}


def middle(records: Sequence[TrialRecord], metric: str) -> float | None:
    """The median of a metric over the trials that have it; None where none has."""
    found = by_block(records, metric)
    return median(found.values()) if found else None


def _less_one(times: Interval | None) -> Interval | None:
    if times is None:
        return None
    low, high = (None if end is None else end - 1 for end in (times.low, times.high))
    return Interval(times.estimate - 1, low, high, times.n)


def size(count: int) -> str:
    """Bytes in the largest binary unit that leaves a short number."""
    for factor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count} B"
