"""Comparisons as a history would receive them, made from numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bench.history import place, rows
from bench.model import ArmSummary, Commit, Comparison, Interval, Judged, Ratio

START = datetime(2026, 1, 1, tzinfo=UTC)


def keep(url: object, comparisons: Sequence[Comparison]) -> None:
    """A history of these comparisons in one file, as packing leaves it."""
    found = [row for one in comparisons for row in rows.rows(one)]
    name = rows.content_hash(comparisons[0])
    place.at(str(url)).put(f"{rows.FORMAT}-pack-{name}.parquet", rows.parquet(found))


def comparison(
    index: int,
    ratio: float = 1.0,
    *,
    fingerprint: str = "machine-a",
    image: str = "sha256:image",
    reference: str = "docker 1",
    also: dict[str, float] | None = None,
    outcome: str = "equivalent",
    metrics: tuple[str, ...] = ("start",),
    commit: str | None = None,
    level: float = 0.2,
    kernel: str = "6.1",
    branch: str = "main",
) -> Comparison:
    """Comparison number `index`: the candidate `docker` at `ratio` of its reference on commit `cINDEX`.

    `also` names further arms with their ratio to the reference, as runs that link two references have.
    """
    time = (START + timedelta(hours=index)).isoformat()
    raw = level / 10
    values = {"ref": (level, "reference"), "docker": (level * ratio, "candidate"),
              "ref2": (level, "repeat"), "process": (raw, "raw")}  # fmt: skip
    values |= {name: (level * r, "candidate") for name, r in (also or {}).items()}
    arms, ratios = [], []
    for metric in metrics:
        for name, (value, role) in values.items():
            middle = Interval(value, value * 0.98, value * 1.02, 300)
            arms.append(
                ArmSummary(name, role, name, metric, "s", 300, 0, middle, value / 2, value * 2, value * 3)
            )
            for against, base in (("ref", level), ("process", raw)):
                if name != against:
                    r = value / base
                    ratios.append(
                        Ratio(metric, name, against, Interval(r, r / 1.02, r * 1.02, 300), math.log(1.02))
                    )
    judged = tuple(Judged(m, "docker", "ref", outcome, 0.01, "because") for m in metrics)
    return Comparison(
        1, f"run-{index:05d}", time, "0.1.0", "starts", 7, {}, fingerprint, {"kernel": kernel}, {"load": 0.5},
        image, reference, Commit(commit or f"c{index:05d}", time, branch), 300,
        arms=tuple(arms), ratios=tuple(ratios), judged=judged,
    )  # fmt: skip
