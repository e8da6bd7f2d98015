"""One of two run directories that are compared: its machine, its image, and the ratios within its blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import frames, store
from bench.analysis import paired
from bench.analysis.starts import BASELINE, HEADLINE
from bench.commands.judging import FORMAT
from bench.comparison import estimate
from bench.comparison.between import Anchored
from bench.errors import RunFormatError, UsageError
from bench.frames import Run
from bench.host.facts import VERSION
from bench.model import ATTACH, ATTACHES, Comparison, Policy, Ratio, Scalar

INSIDE = (
    "engine.version", "engine.storage", "engine.cgroup_driver", "engine.cgroup_version",
    "engine.default_runtime", "machine.kernel", "machine.qemu",
)  # fmt: skip
"""Facts of a trial that say by what it was carried out inside a machine, where the host cannot look."""
Ratios = dict[str, dict[str, Anchored]]
"""By metric and by what is compared."""


@dataclass(frozen=True, slots=True)
class Side:
    """A run as the other one is held against it."""

    id: str
    title: str
    identity: Mapping[str, Scalar | None]
    state: Mapping[str, Scalar | None]
    programs: Mapping[str, str]
    """Versions of what carried the runtimes out, by its name; inside a machine behind the runtime's."""
    images: frozenset[str]
    policy: Mapping[str, Policy]
    attach: Scalar = ATTACHES[0]
    """Whether its starts came after somebody else had entered a control group: one of `ATTACHES`."""
    reference: str = ""
    """What the reference is pinned to; "" where there is none."""
    code: Ratios = field(default_factory=dict)
    """Candidates over the reference; `again` the same of a second measurement."""
    again: Ratios = field(default_factory=dict)
    raw: Ratios = field(default_factory=dict)
    """Everything over the raw process."""
    void: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """By metric and candidate why this run's own result is invalid, where it is."""
    median: Mapping[str, float] = field(default_factory=dict)
    """Of the reference by metric, in the metric's unit."""


def read(path: Path) -> Side:
    """The side that run is. RunFormatError where it is truncated or foreign, UsageError where it is no run of
    starts, or a comparison that was never judged."""
    directory = store.open_run(path)
    suite = directory.info.plan.suite
    if suite.kind != "starts":
        raise UsageError(f"{path} is a run of the suite '{suite.name}', which has no starts to compare",
                         fix="bench run --suite startup, or bench compare REFERENCE CANDIDATE")  # fmt: skip
    run = frames.load(path)
    if not run.records:
        raise RunFormatError(f"{path} has no finished trial", fix="measure it again")
    if not run.plan.arms:
        return _of_starts(run)
    found = directory.comparison()
    if found is None:
        raise UsageError(f"{path} is a comparison that was not judged", fix=f"bench report {path}")
    if found.format != FORMAT:
        raise RunFormatError(f"{path}/comparison.json has format {found.format}; this program reads {FORMAT}",
                             fix=f"read it with the version that wrote it: {found.version}")  # fmt: skip
    return _of_comparison(run, found)


def refuse(first: Side, second: Side) -> None:
    """UsageError with every identity fact in which two runs differ, and both values."""
    names = dict.fromkeys([*first.identity, *second.identity])
    differing = [
        f"{name}: {first.identity.get(name)} / {second.identity.get(name)}"
        for name in names
        if first.identity.get(name) != second.identity.get(name)
    ]
    if first.images != second.images:
        a, b = (", ".join(sorted(side.images)) or "none" for side in (first, second))
        differing.append(f"image: {a} / {b}")
    if first.attach != second.attach:
        differing.append(f"attach (see docs/method.md): {first.attach} / {second.attach}")
    if differing:
        listed = "\n  ".join(differing)
        raise UsageError(f"{first.id} and {second.id} cannot be compared, they differ in:\n  {listed}",
                         fix="measure both on one machine with one image")  # fmt: skip


def _of_comparison(run: Run, found: Comparison) -> Side:
    roles = {a.arm: a.role for a in found.arms}
    reference = next((arm for arm, role in roles.items() if role == "reference"), "")
    candidates = [arm for arm, role in roles.items() if role == "candidate"]
    code: Ratios = {}
    again: Ratios = {}
    raw: Ratios = {}
    second = found.confirmation.ratios if found.confirmation else ()
    for metric in found.policy:
        for target, ratios in ((code, found.ratios), (again, second)):
            copies = tuple(_of(ratios, metric, ("repeat",), roles))
            target[metric] = {
                r.arm: Anchored(r, copies)
                for r in ratios
                if (r.metric, r.against) == (metric, reference) and r.arm in candidates
            }
        copies = tuple(_of(found.ratios, metric, ("repeat", "raw repeat"), roles))
        raw[metric] = {
            r.arm: Anchored(r, copies)
            for r in found.ratios
            if r.metric == metric and roles.get(r.against) == "raw" and roles.get(r.arm) != "raw repeat"
        }
    middle = {a.metric: a.median.estimate for a in found.arms if a.arm == reference and a.median is not None}
    what = f"{', '.join(candidates)} against {reference}"
    void = {(j.metric, j.arm): j.reason for j in found.judged if j.outcome == "invalid"}
    title = f"{run.path.name}, {what}, {found.blocks} blocks, {found.created}"
    images = frozenset(part for part in found.image.split(", ") if part)
    state, programs = _state(run)
    return Side(
        run.id, title, run.host.identity, state, programs, images, found.policy,
        run.plan.cases[0].params.get(ATTACH, ATTACHES[0]), found.reference, code, again, raw, void, middle,
    )  # fmt: skip


def _state(run: Run) -> tuple[dict[str, Scalar | None], dict[str, str]]:
    """The state of the host apart from the versions in it, and these with those that trials told of."""
    state = {k: v for k, v in run.host.state.items() if not k.startswith(VERSION)}
    told = {k.removeprefix(VERSION): {str(v)} for k, v in run.host.state.items() if k.startswith(VERSION)}
    for record in run.records:
        for fact, value in (f for tenant in record.tenants for f in tenant.facts.items()):
            if fact in INSIDE and value is not None:
                told.setdefault(f"{record.runtime} {fact}", set()).add(str(value))
    return state, {name: " and ".join(sorted(seen)) for name, seen in told.items()}


def _of(
    ratios: tuple[Ratio, ...], metric: str, wanted: tuple[str, ...], roles: Mapping[str, str]
) -> Iterator[Ratio]:
    """The ratios of one metric whose arm plays one of those parts."""
    return (r for r in ratios if r.metric == metric and roles.get(r.arm) in wanted)


def _of_starts(run: Run) -> Side:
    """A run of `bench run --suite startup`: what it has is each runtime's ratio to the raw process."""
    policy = run.plan.suite.gate or {HEADLINE: Policy()}
    raw: Ratios = {metric: {} for metric in policy}
    for name, table in paired.by_runtime(run):
        for metric, one in policy.items():
            for arm in table.arms:
                ratio = estimate.ratio(table, metric, arm, BASELINE, one.confidence)
                if arm != BASELINE and math.isfinite(ratio.ratio.estimate):
                    raw[metric][f"{arm}, {name}" if name else arm] = Anchored(ratio)
    title = f"{run.path.name}, suite {run.plan.suite.name}, {run.plan.blocks} blocks, {run.created}"
    images = frozenset(r.image for r in run.records)
    return Side(run.id, title, run.host.identity, *_state(run), images, policy, raw=raw)
