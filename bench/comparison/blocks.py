"""The starts of a comparison, by block and arm, and which of them a ratio may use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Every start of every arm: one array a metric, blocks × arms, in the order the blocks were run.

    NaN is a start that failed or never came to that phase. A number that no time can be (zero, negative,
    infinite) counts as failed as well: its logarithm would make it infinitely fast or slow.
    """

    arms: tuple[str, ...]
    metrics: Mapping[str, Numbers]
    """Base SI unit of the metric, usually seconds."""
    excluded: tuple[str, ...]
    """A block: why it is left out with all its arms, or ""."""

    def __post_init__(self) -> None:
        """Refuse arrays of another shape; they would be read against the wrong arm."""
        if len(set(self.arms)) != len(self.arms):
            raise ValueError(f"an arm is named twice: {', '.join(self.arms)}")
        expected = (len(self.excluded), len(self.arms))
        for metric, values in self.metrics.items():
            if values.shape != expected:
                raise ValueError(f"{metric}: {expected[0]} blocks × {expected[1]} arms, not {values.shape}")


def kept(table: Table) -> Mask:
    """Which blocks the guards let stand, whatever happened in them."""
    return np.array([not reason for reason in table.excluded], dtype=np.bool_)


def exclusions(table: Table) -> dict[str, int]:
    """Number of blocks left out, by reason."""
    return dict(Counter(reason for reason in table.excluded if reason))


def _started(table: Table, metric: str, arm: str) -> Mask:
    """Kept blocks in which that arm has a time."""
    values = table.metrics[metric][:, table.arms.index(arm)]
    return kept(table) & np.isfinite(values) & (values > 0)


def values(table: Table, metric: str, arm: str) -> Numbers:
    """The times of one arm in all kept blocks where it started, in the order of the blocks."""
    found: Numbers = table.metrics[metric][_started(table, metric, arm), table.arms.index(arm)]
    return found


def failed(table: Table, metric: str, arm: str) -> int:
    """Kept blocks in which that arm did not start. Excluded blocks are counted in `exclusions` alone."""
    return int(np.count_nonzero(kept(table) & ~_started(table, metric, arm)))


def pairs(table: Table, metric: str, arm: str, against: str) -> tuple[Numbers, Numbers]:
    """The times of two arms in the kept blocks where both started: two arrays of one length."""
    both = _started(table, metric, arm) & _started(table, metric, against)
    columns = table.metrics[metric]
    return columns[both, table.arms.index(arm)], columns[both, table.arms.index(against)]


def fails_more(table: Table, metric: str, arm: str, against: str) -> float:
    """One-sided p of "`arm` fails more often than `against`": exact McNemar test where one of them failed.

    Ratios rest on the blocks where both arms started. An arm that fails exactly when it would have been slow
    looks equal there, so its failures are judged on their own.
    """
    from scipy.special import bdtrc

    one, other = _started(table, metric, arm), _started(table, metric, against)
    worse = int(np.count_nonzero(other & ~one))
    better = int(np.count_nonzero(one & ~other))
    return float(bdtrc(worse - 1, worse + better, 0.5)) if worse else 1.0
