"""Figures that others published, as data of the program: one row a number, with who, when and on what.

`figures.csv` has one line a figure. `claim` there is what is tested, and wider than the number on purpose: a
number of another machine is no expectation of this one. Rows with the confidence `memory` were transcribed
without the paper at hand.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

SHIPPED = Path(__file__).parent / "figures.csv"
SILENT = "DNR"
"""In the place of a number: what was measured did not respond."""
_RANGE = re.compile(r"([A-Z]+)-(\d+)(?:\.\.(\d+))?")
_PAIRED = re.compile(r"(?:.* )?~?(\d+(?:\.\d+)?)(?: ([a-zA-Z/%]+))?")
_STATES = ("concurrency",)
"""First words of baselines whose number is no measurement: "concurrency 1" is what was set."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One published figure. `low` and `high` are None for an order that was published without a number.

    They are None as well where what was measured did not respond (`silent`). `verified` is False for a
    transcription that nobody has checked against the paper.
    """

    id: str
    source: str
    year: int
    table: str
    hardware: str
    runtime: str
    baseline: str
    workload: str
    metric: str
    unit: str
    low: float | None
    high: float | None
    silent: bool
    claim: str
    verified: bool
    url: str

    @property
    def paired(self) -> float | None:
        """The number of the baseline in the same unit, where one was published: "native 0.22" is 0.22."""
        found = _PAIRED.fullmatch(self.baseline)
        if found is None or found[2] not in (None, self.unit) or self.baseline.startswith(_STATES):
            return None
        return float(found[1])


@lru_cache(maxsize=1)
def figures() -> Mapping[str, Figure]:
    """Every published figure by its id, in the order of the file."""
    with SHIPPED.open(newline="", encoding="utf-8") as lines:
        return {row["id"]: _figure(row) for row in csv.DictReader(lines)}


def rows(text: str) -> tuple[str, ...]:
    """Ids written shortly: "YOU-06..08 GVD-01" is YOU-06, YOU-07, YOU-08 and GVD-01."""
    found: list[str] = []
    for part in text.split():
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"not the id of a published figure: {part}")
        first, last = match[2], match[3] or match[2]
        found += [f"{match[1]}-{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)]
    return tuple(found)


def _figure(row: Mapping[str, str]) -> Figure:
    low, high = row["value_low"], row["value_high"]
    silent = SILENT in (low, high)
    return Figure(
        id=row["id"], source=row["source"], year=int(row["year"]), table=row["table"],
        hardware=row["hardware"], runtime=row["runtime"], baseline=row["baseline"],
        workload=row["workload"], metric=row["metric"], unit=row["unit"],
        low=float(low) if low and not silent else None, high=float(high) if high and not silent else None,
        silent=silent, claim=row["claim"], verified=row["confidence"] == "found", url=row["url"],
    )  # fmt: skip
