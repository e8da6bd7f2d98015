"""Whether what a machine or gVisor says is written really is: how often it can fsync, beside its host.

Nobody can wait for the same disk more often a second than the host itself. Where a sandbox with a kernel of
its own seems to, something between it and the disk does not wait: QEMU's cache mode "unsafe", for one. Its
numbers on that disk are then no numbers about a disk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from bench.analysis.measures import last_observed
from bench.model import AGAIN, PLACE, Experiment, Scalar, TrialRecord
from bench.places import BIND, TMPFS

if TYPE_CHECKING:
    from bench.frames import Run

METRIC = "io.sync.rate"
MOST = 1.2
"""How many times the host's own fsyncs a second a sandbox may have before nobody believes it."""
WRITERS = ("io/fio", "io/metadata")
"""Workloads whose numbers are about a disk that is written."""
LABEL = "not durable"
IGNORES_FLUSHES = "unsafe"
DISK = "disk"
"""The place of work on the trial's own disk, in experiments that have but one."""
Values = Mapping[int, float]
"""One number a block."""
Key = tuple[str, str]
"""Runtime and place: one of `bench.places.PLACES`, `DISK`, or "" for wherever the scratch directory is."""


@dataclass(frozen=True, slots=True)
class Durability:
    """`ratio`: its fsyncs a second ÷ the host's on the same file system, the median over blocks.

    `durable` False where it surely is not; else None, with what is known. Slow fsyncs prove nothing: a slow
    machine may not wait for the disk either.
    """

    ratio: float | None
    durable: bool | None
    reason: str


def judged(rates: Values, host: Values, mode: str = "") -> Durability:
    """What follows from fsyncs a second in each block, of a sandbox and of its host, and from QEMU's mode.

    The mode "unsafe" ignores all flushes (qemu-block-drivers(7), cache.no-flush), however long they take.
    """
    found = _compared(rates, host)
    if mode != IGNORES_FLUSHES or found.durable is False:
        return found
    said = f"{LABEL}: QEMU's cache mode {mode} ignores every flush"
    return replace(found, durable=False, reason=f"{said}; {found.reason}")


def _compared(rates: Values, host: Values) -> Durability:
    if not rates:
        return _unknown("its fsync rate was not measured")
    if not host:
        return _unknown("the host's fsync rate on the same file system was not measured")
    both = [rate / host[block] for block, rate in rates.items() if block in host]
    if not both:
        return _unknown("no block has its fsync rate and the host's")
    ratio = median(both)
    told = f"{ratio:.3g} × the fsyncs a second of the host itself on the same file system"
    if ratio > MOST:
        said = f"{LABEL}: {told} (more than {MOST:g} ×), so it does not wait for the disk"
        return Durability(ratio, False, said)
    return Durability(ratio, None, f"no sign that it does not wait for the disk: {told}")


def _unknown(why: str) -> Durability:
    return Durability(None, None, f"whether it waits for the disk is not known: {why}")


def of_run(run: Run) -> Mapping[Key, Durability]:
    """Of every sandbox with a kernel of its own, where its files lie on a disk."""
    bottom = run.plan.suite.rungs[0].runtime if run.plan.suite.rungs else ""
    asked = {e.name: e for e in run.plan.suite.experiments if e.tenants and e.tenants[0].workload in WRITERS}
    counted = (r for r in run.records if r.status == "ok" and r.block >= run.plan.suite.warmup)
    good = [r for r in counted if r.experiment in asked and r.tenants]
    rates: dict[Key, dict[int, float]] = {}
    ends: dict[Key, dict[int, float]] = {}
    for record in good:
        experiment = asked[record.experiment]
        rate = last_observed(record.tenants[0], METRIC) if experiment.verdict.metric == METRIC else None
        if rate is not None and rate > 0:
            of = ends if AGAIN in record.params else rates
            of.setdefault(key(experiment, record.runtime, record.params), {})[record.block] = rate
    found = {}
    others: dict[Key, str] = {}
    for record in good:
        if own_kernel(record):
            mode = record.tenants[0].facts.get("place.cache")
            others[key(asked[record.experiment], record.runtime, record.params)] = str(mode or "")
    for (runtime, place), mode in others.items():
        base = bottom, place if place in (DISK, "") else BIND
        last = ends.get(base, {})
        host = {b: math.sqrt(v * last[b]) for b, v in rates.get(base, {}).items() if b in last}
        if place != TMPFS:
            found[runtime, place] = judged(rates.get((runtime, place), {}), host, mode)
    return found


def key(experiment: Experiment, runtime: str, params: Mapping[str, Scalar]) -> Key:
    """What of a trial decides which disk its files are on."""
    return runtime, str(params.get(PLACE, DISK if "disk" in experiment.needs else ""))


def own_kernel(record: TrialRecord) -> bool:
    """Whether the trial ran on another kernel than the host's: in a machine, or in gVisor."""
    return any(
        t.facts.get("machine.accelerator") or t.facts.get("asked.Runtime") == "runsc" for t in record.tenants
    )
