"""The samples of a run, sorted once, so that one series of one trial is found by bisection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from bench.frames import Run

Array = npt.NDArray[np.float64]
HOST = ""
"""The tenant of samples that are of the whole host."""

PREFERRED = "cgroup"
"""Where two collectors give the same metric of the same tenant, this one is read."""

GUEST = "guest."
"""Collectors that read inside a machine begin so; their metrics are looked up with this before the name."""

INSIDE = ("memory.", "pids.")
"""Metrics of a tenant in a machine that are read inside: outside they are those of QEMU."""

HALVES = ("cpu.", "io.")
"""Metrics of a tenant in a machine that are read outside, where its limits act, if it has a group there."""

LASTING = ("guest.host.", "guest.psi.")
"""Counters of a whole guest, which may have run before the trial."""


def of(run: Run) -> Series:
    """The samples of `run`, with the tenants that lived in machines told from the others."""
    machines = {
        (r.index, t.name): t.cgroup is not None
        for r in run.records
        for t in r.tenants
        if "machine.accelerator" in t.facts
    }
    return Series(run.samples, machines)


class Series:
    """Look-up of (times, values) by trial, tenant and metric. Missing values are left out.

    `frame` has the columns of `Run.samples`: trial tenant collector metric time value. Building
    costs one sort over all samples; a look-up costs two bisections. `machines` says of a
    (trial, tenant) that it lived in a machine, and whether that machine has a cgroup on the host;
    tenants with samples from inside a guest are found without it.

    A name such as "cpu.usage" gives what the limit acts on: of a tenant in a machine the memory and
    the tasks inside, and CPU time and IO of the machine's group on the host; where it has no group
    there (a container inside a guest), all from inside. "guest.cpu.usage" gives the guest's own view.
    """

    def __init__(self, frame: pd.DataFrame, machines: dict[tuple[int, str], bool] | None = None) -> None:
        frame = frame[frame["value"].notna()]
        tenant, self._tenants = _codes(frame["tenant"])
        metric, self._metrics = _codes(frame["metric"])
        collector, names = _codes(frame["collector"])
        trial = frame["trial"].to_numpy(dtype=np.int64)
        within = np.array([name.startswith(GUEST) for name in names], dtype=bool)
        inside = within[collector] if len(names) else np.zeros(0, dtype=bool)
        outside = collector == names.get(PREFERRED, -1)
        self._machines = _machines(trial, tenant, inside, outside, self._tenants)
        self._machines.update(machines or {})
        if inside.any():
            metric = metric + inside * len(self._metrics)
            known = len(self._metrics)
            self._metrics |= {GUEST + name: code + known for name, code in self._metrics.items()}
        rank = np.array(
            [0 if name.removeprefix(GUEST) == PREFERRED else code + 1 for name, code in names.items()],
            dtype=np.int64,
        )
        self._width = len(names) + 1
        key = self._key(trial, tenant, metric)
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

    def machine(self, trial: int, tenant: str) -> bool:
        """Whether that tenant lived in a machine, with a kernel of its own."""
        return (trial, tenant) in self._machines

    def bounded_outside(self, trial: int, tenant: str) -> bool:
        """Whether the machine itself is what is limited: it has a cgroup on the host."""
        return self._machines.get((trial, tenant), False)

    def source(self, trial: int, tenant: str, metric: str) -> str:
        """The name under which `metric` of that tenant is kept: itself, or with "guest." before it."""
        if metric.startswith(INSIDE) and self.machine(trial, tenant):
            return GUEST + metric
        inside = self.machine(trial, tenant) and not self.bounded_outside(trial, tenant)
        return GUEST + metric if inside and metric.startswith(HALVES) else metric

    def get(self, trial: int, tenant: str, metric: str) -> tuple[Array, Array] | None:
        """Times in seconds of the trial and values, sorted by time; None where there is no sample."""
        metric = self.source(trial, tenant, metric)
        if tenant not in self._tenants or metric not in self._metrics:
            return None
        base = self._key(trial, self._tenants[tenant], self._metrics[metric])
        place = int(np.searchsorted(self._keys, base))
        if place == len(self._keys) or self._keys[place] >= base + self._width:
            return None
        chosen = slice(self._bounds[place], self._bounds[place + 1])
        return self._times[chosen], self._values[chosen]

    def names(self, prefix: str) -> list[str]:
        """Metrics that begin with `prefix`, of any trial and tenant."""
        return sorted(name for name in self._metrics if name.startswith(prefix))

    def increment(self, trial: int, tenant: str, metric: str) -> float | None:
        """How far a counter went; None without samples.

        A tenant's group is made for the trial, so its counters begin at 0 and the last value counts: the
        first reading comes only after the workload was started. Counters of the host ("" as tenant), of a
        whole guest, and of a machine's group outside, which has booted and may have served other trials,
        were not at 0 then, so of them `gain` is taken.
        """
        outside = self.machine(trial, tenant) and not self.source(trial, tenant, metric).startswith(GUEST)
        if tenant == HOST or outside or metric.startswith(LASTING):
            return self.gain(trial, tenant, metric)
        found = self.get(trial, tenant, metric)
        return None if found is None else float(found[1][-1])

    def gain(self, trial: int, tenant: str, metric: str) -> float | None:
        """The last value less the first; None below two samples."""
        found = self.get(trial, tenant, metric)
        return None if found is None or len(found[1]) < 2 else float(found[1][-1] - found[1][0])

    def largest(self, trial: int, tenant: str, metric: str) -> float | None:
        """The largest value of a gauge or a peak; None without samples."""
        found = self.get(trial, tenant, metric)
        return None if found is None else float(found[1].max())


def _machines(
    trial: npt.NDArray[np.int64], tenant: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_],
    outside: npt.NDArray[np.bool_], names: Iterable[str],
) -> dict[tuple[int, str], bool]:  # fmt: skip
    """(trial, tenant) of samples from inside a guest → whether there are some of a cgroup outside."""
    if not inside.any():
        return {}
    known = list(names)
    pairs = trial * len(known) + tenant
    beside = set(np.unique(pairs[outside]).tolist())
    return {
        (int(pair) // len(known), known[int(pair) % len(known)]): pair in beside
        for pair in np.unique(pairs[inside]).tolist()
    }


def _codes(column: pd.Series[Any]) -> tuple[npt.NDArray[np.int64], dict[str, int]]:
    """Integer codes of a column of names, and the code of each name."""
    categories = column.astype("category").cat
    names = {str(name): code for code, name in enumerate(categories.categories)}
    codes: npt.NDArray[np.int64] = np.asarray(categories.codes, dtype=np.int64)
    return codes, names
