"""Where files lie: a run in, and each kind of work in every runtime and every place out.

The trial is the unit, with one number of each kind. Two questions are kept apart. What a place costs: against
the raw process with its files in a directory of the host, which stands at the start and at the end of every
block. What the boundary adds: against the raw process on the same kind of file system, which it has mounted
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from bench.analysis import control, durability, ladder, machines, steps
from bench.analysis.control import Control, Values
from bench.analysis.durability import Durability
from bench.analysis.measures import ending, last_observed
from bench.analysis.overhead_words import bare
from bench.analysis.silence import cause, silence
from bench.analysis.steps import Step
from bench.comparison.estimate import median_interval
from bench.model import AGAIN, PLACE, Case, Experiment, Interval, Skipped, TrialRecord
from bench.places import BIND, NATIVE, PLACES, ROOT, TMPFS, VOLUME

if TYPE_CHECKING:
    from bench.frames import Run

SECTION = "places"
IN_MEMORY = ("tmpfs", "ramfs")
DIRECT = ("none", "directsync")


@dataclass(frozen=True, slots=True)
class Seen:
    """Where the files lay: what the tenant's own kernel says of them, and what holds them on the host.

    `kind`, `mount`, `number`: type, mount point and MAJ:MIN of the file system as seen inside; `behind`:
    MAJ:MIN of the host's; `format`, `cache`: of a machine's disk, as libvirt tells. "" where nobody told.
    """

    kind: str = ""
    mount: str = ""
    number: str = ""
    behind: str = ""
    format: str = ""
    cache: str = ""


@dataclass(frozen=True, slots=True)
class Spot:
    """One runtime with its files in one place.

    `total` is what the place costs, `alike` what the boundary adds to the raw process in the place `beside`.
    """

    runtime: str
    name: str
    """What its rung is called."""
    place: str
    case: str
    control: bool
    own_kernel: bool = False
    emulated: bool = False
    values: Values = field(default_factory=dict)
    trials: tuple[int, ...] = ()
    broken: int = 0
    measured: Interval | None = None
    total: Step | None = None
    alike: Step | None = None
    beside: str = BIND
    logs: Values = field(default_factory=dict)
    """ln of its time over that of the control, block by block; {} where they are not compared."""
    seen: Seen = Seen()
    durability: Durability | None = None
    skipped: Skipped | None = None
    why: str = ""
    """Why there is no number, or none that could be compared."""

    @property
    def durable(self) -> bool | None:
        """False where its numbers are those of a disk that is not waited for."""
        return self.durability.durable if self.durability else None


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work in every spot."""

    experiment: Experiment
    metric: str
    title: str
    unit: str
    spots: tuple[Spot, ...]
    control: Control
    claimed: float


def works(run: Run) -> list[Work]:
    """Every kind of work of a run that was done in several places, judged; [] for a run without."""
    planned = {c.experiment for c in run.plan.cases} | {s.case.experiment for s in run.plan.skipped}
    asked = [e for e in run.plan.suite.experiments if e.section == SECTION and e.name in planned]
    if not asked:
        return []
    reader = _Reader(run)
    kinds = [(e, metric) for e in asked for metric in (e.verdict.metric, *e.verdict.evidence)]
    return _judged([reader.work(*kind) for kind in kinds])


class _Reader:
    """Numbers of one run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.bottom = run.plan.suite.rungs[0].runtime
        self.titles = {r.runtime: r.title for r in run.plan.suite.rungs}
        self.emulators = {r.runtime for r in run.records if "tcg" in machines.accelerators([r])}
        self.emulators |= set(run.plan.emulated)
        self.durable = durability.of_run(run)
        self.by_case: dict[str, list[TrialRecord]] = {}
        for record in run.records:
            if record.block >= run.plan.suite.warmup:
                self.by_case.setdefault(record.case, []).append(record)

    def work(self, experiment: Experiment, metric: str) -> Work:
        cases = [c for c in self.run.plan.cases if c.experiment == experiment.name]
        spots = [self._spot(experiment, c, metric) for c in cases if AGAIN not in c.params]
        spots += [self._skipped(s) for s in self.run.plan.skipped if s.case.experiment == experiment.name]
        order = {name: i for i, name in enumerate(self.run.plan.runtimes)}
        spots.sort(key=lambda s: (order[s.runtime], PLACES.index(s.place)))
        first = next((s for s in spots if s.control), None)
        last = next((_values(self.by_case.get(c.id, ()), metric) for c in cases if AGAIN in c.params), {})
        ends = control.of(first.values if first else {}, last, partial(ladder.cost, experiment))
        low, high = experiment.verdict.tolerance
        unit = experiment.verdict.unit
        found = Work(
            experiment, metric, str(experiment.verdict.options.get(metric, experiment.title)), unit, (),
            ends, max(abs(low), abs(high)),
        )  # fmt: skip
        return replace(found, spots=tuple(self._compared(found, spots)))

    def _spot(self, experiment: Experiment, case: Case, metric: str) -> Spot:
        records = self.by_case.get(case.id, [])
        good = [r for r in records if r.status == "ok" and r.tenants]
        values = _values(records, metric)
        place = str(case.params[PLACE])
        reason = cause(records) or silence(records)
        if good and not values:
            reason = _unobserved(good[0], metric)
        return Spot(
            case.runtime, bare(self.titles[case.runtime]), place, case.id,
            control=case.runtime == self.bottom and place == BIND,
            own_kernel=any(durability.own_kernel(r) for r in good), emulated=case.runtime in self.emulators,
            values=values, trials=tuple(r.index for r in good), broken=len(records) - len(good),
            measured=median_interval(list(values.values()), steps.CONFIDENCE),
            beside=beside(place, good), seen=_seen(good),
            durability=self.durable.get(durability.key(experiment, case.runtime, case.params)),
            why="" if values else reason,
        )  # fmt: skip

    def _skipped(self, skipped: Skipped) -> Spot:
        case = skipped.case
        name, place = bare(self.titles[case.runtime]), str(case.params[PLACE])
        return Spot(case.runtime, name, place, case.id, control=False, skipped=skipped, why=skipped.cause)

    def _compared(self, of: Work, spots: Sequence[Spot]) -> list[Spot]:
        """The spots with their steps; the control stands for both of its trials."""
        held = {s.place: s.values for s in spots if s.runtime == self.bottom} | {BIND: of.control.base}
        ground = next((s.seen.behind for s in spots if s.control), "")
        result = []
        for spot in spots:
            elsewhere = misplaced(spot, ground) or cached(of.experiment, spot) if spot.values else ""
            if spot.control or not spot.values or elsewhere:
                result.append(replace(spot, why=spot.why or elsewhere))
                continue
            logs = _logs(of.experiment, spot.values, of.control.base)
            alike = None
            if spot.runtime != self.bottom:
                others = held.get(spot.beside, {})
                alike = self._step(of, spot.beside, _logs(of.experiment, spot.values, others))
            result.append(replace(spot, logs=logs, total=self._step(of, BIND, logs), alike=alike))
        return result

    def _step(self, of: Work, against: str, logs: Values) -> Step | None:
        if not logs:
            return None
        return steps.step(against, list(logs.values()), of.claimed, of.control.floor, self.run.plan.seed)


def _logs(experiment: Experiment, values: Values, others: Values) -> dict[int, float]:
    """ln of the time in one place over that in another, block by block."""
    return {
        b: ladder.cost(experiment, v) - ladder.cost(experiment, others[b])
        for b, v in values.items()
        if b in others
    }


def beside(place: str, trials: Sequence[TrialRecord]) -> str:
    """The place of the raw process with the same kind of file system: a machine's own root is no overlay."""
    machine = bool(machines.accelerators(trials))
    return place if place in NATIVE and not (machine and place == ROOT) else BIND


def misplaced(spot: Spot, ground: str) -> str:
    """Why its files did not lie where they should have, by what was seen; "" where they did or nobody told.

    `ground` is the file system under the raw process's directory.
    """
    seen = spot.seen
    if spot.place == TMPFS:
        if not seen.kind or seen.kind in IN_MEMORY:
            return ""
        return f"its files lay on {seen.kind} at {seen.mount}, which is no memory"
    through = seen.number if spot.place in (BIND, VOLUME) and not spot.own_kernel else ""
    for number in filter(None, (seen.behind, through)):
        if ground and number != ground:
            return f"its files lay on another file system ({number}) than those of the raw process ({ground})"
    return ""


def cached(experiment: Experiment, spot: Spot) -> str:
    """Why direct work of it went through the host's page cache all the same; "" where it did not.

    gVisor hands O_DIRECT on to nobody (google/gvisor, issue 3626). QEMU opens its file past the page cache in
    the modes `DIRECT` alone (qemu-block-drivers(7), cache.direct).
    """
    if not experiment.tenants[0].args.get("direct") or spot.place == TMPFS or not spot.own_kernel:
        return ""
    if not spot.seen.format:
        return "gVisor does not hand O_DIRECT on: its files went through the host's page cache"
    if spot.seen.cache in DIRECT:
        return ""
    mode = f"QEMU's cache mode {spot.seen.cache or 'that is not told'}"
    return f"{mode} puts the host's page cache below direct work"


def _seen(trials: Sequence[TrialRecord]) -> Seen:
    if not trials:
        return Seen()
    tenant = trials[-1].tenants[0]
    labels = next((o.labels for o in tenant.observations if o.metric == "io.place" and o.value), {})
    facts = {k: str(v) for k, v in tenant.facts.items() if k.startswith("place.") and v is not None}
    return Seen(
        *(labels.get(name, "") for name in ("type", "mount", "st_dev")),
        *(facts.get(f"place.{name}", "") for name in ("number", "format", "cache")),
    )


def _values(records: Sequence[TrialRecord], metric: str) -> dict[int, float]:
    """The number of each trial that has one above 0."""
    good = [r for r in records if r.status == "ok" and r.tenants]
    found = {r.block: last_observed(r.tenants[0], metric) for r in good}
    return {b: v for b, v in found.items() if v is not None and v > 0}


def _unobserved(record: TrialRecord, metric: str) -> str:
    """What a workload says of a number that it does not have, or how it ended."""
    told = [o.labels.get("reason", "") for o in record.tenants[0].observations if o.metric == metric]
    return next(filter(None, told), f"the workload reported no {metric}; {ending(record.tenants[0])}")


def _judged(found: Sequence[Work]) -> list[Work]:
    """The works with words for their steps, each question a family. Emulated machines have none."""
    flat = [spot for work in found for spot in work.spots]
    silent = [spot.emulated for spot in flat]
    total = iter(steps.worded([spot.total for spot in flat], silent))
    alike = iter(steps.worded([spot.alike for spot in flat], silent))
    return [
        replace(work, spots=tuple(replace(s, total=next(total), alike=next(alike)) for s in work.spots))
        for work in found
    ]
