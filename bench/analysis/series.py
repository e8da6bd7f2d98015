"""The samples of a run, sorted once, so that one series of one trial is found by bisection."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]
HOST = ""
"""The tenant of samples that are of the whole host."""

PREFERRED = "cgroup"
"""Where two collectors give the same metric of the same tenant, this one is read."""


class Series:
    """Look-up of (times, values) by trial, tenant and metric. Missing values are left out.

    `frame` has the columns of `Run.samples`: trial tenant collector metric time value. Building
    costs one sort over all samples; a look-up costs two bisections.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        frame = frame[frame["value"].notna()]
        tenant, self._tenants = _codes(frame["tenant"])
        metric, self._metrics = _codes(frame["metric"])
        collector, names = _codes(frame["collector"])
        rank = np.array(
            [0 if name == PREFERRED else code + 1 for name, code in names.items()], dtype=np.int64
        )
        self._width = len(names) + 1
        key = self._key(frame["trial"].to_numpy(dtype=np.int64), tenant, metric)
        key = key + (rank[collector] if len(rank) else 0)
        time = frame["time"].to_numpy(dtype=np.float64)
        order = np.lexsort((time, key))
        self._times: Array = time[order]
        self._values: Array = frame["value"].to_numpy(dtype=np.float64)[order]
        self._keys, starts = np.unique(key[order], return_index=True)
        self._bounds = np.append(starts, len(order))

    def _key(self, trial: Any, tenant: Any, metric: Any) -> Any:
        series = (trial * (len(self._tenants) + 1) + tenant) * (len(self._metrics) + 1) + metric
        return series * self._width

    def get(self, trial: int, tenant: str, metric: str) -> tuple[Array, Array] | None:
        """Times in seconds of the trial and values, sorted by time; None where there is no sample."""
        if tenant not in self._tenants or metric not in self._metrics:
            return None
        base = self._key(trial, self._tenants[tenant], self._metrics[metric])
        place = int(np.searchsorted(self._keys, base))
        if place == len(self._keys) or self._keys[place] >= base + self._width:
            return None
        chosen = slice(self._bounds[place], self._bounds[place + 1])
        return self._times[chosen], self._values[chosen]

    def increment(self, trial: int, tenant: str, metric: str) -> float | None:
        """How far a counter went; None without samples.

        A tenant's group is made for the trial, so its counters begin at 0 and the last value counts:
        the first reading comes only after the workload was started. The host's counters ("" as
        tenant) go on for ever, so of them it is the last minus the first, None below two samples.
        """
        found = self.get(trial, tenant, metric)
        if found is None or (tenant == HOST and len(found[1]) < 2):
            return None
        return float(found[1][-1] - (found[1][0] if tenant == HOST else 0.0))

    def largest(self, trial: int, tenant: str, metric: str) -> float | None:
        """The largest value of a gauge or a peak; None without samples."""
        found = self.get(trial, tenant, metric)
        return None if found is None else float(found[1].max())


def _codes(column: pd.Series[Any]) -> tuple[npt.NDArray[np.int64], dict[str, int]]:
    """Integer codes of a column of names, and the code of each name."""
    categories = column.astype("category").cat
    names = {str(name): code for code, name in enumerate(categories.categories)}
    codes: npt.NDArray[np.int64] = np.asarray(categories.codes, dtype=np.int64)
    return codes, names
