"""Options of the command line → a plan for this host: suite, runtimes, overrides, and what is feasible."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from bench import image as sandbox_image
from bench import limits as units
from bench import plan as planning
from bench import runtimes as runtime_registry
from bench import suite as suites
from bench import workload as workloads
from bench.errors import UsageError
from bench.feasible import Host
from bench.host import facts
from bench.model import Experiment, HostFacts, Plan, Scalar, Suite
from bench.runtimes import Renewing, Runtime
from bench.store import RunDirectory

JOIN_WHERE_NATIVE = ("libvirt",)
"""Runtimes that a run takes besides the suite's where the host has hardware virtualisation."""


def assemble(
    *,
    suite: str = "cgroups",
    runtimes: str | None = None,
    quick: bool = False,
    full: bool = False,
    blocks: int | None = None,
    seed: int | None = None,
    only: str | None = None,
    limits: Sequence[str] = (),
    all_emulated: bool = False,
) -> tuple[Plan, Host]:
    """The plan those options ask for, and the host it was made for. Raises UsageError, SuiteError.

    `all_emulated` says that this host itself is a machine with an emulated CPU.
    """
    if quick and full:
        raise UsageError("--quick and --full exclude each other", fix="give one of them")
    wanted = with_limits(suites.load(suite), limits)
    check_workloads(wanted)
    if wanted.kind == "primitives":
        if runtimes:
            raise UsageError(f"suite '{wanted.name}' is of the host itself and runs in no other runtime",
                             fix=f"bench run --suite {suite}")  # fmt: skip
        runtimes = ",".join(wanted.runtimes)
    if wanted.rungs:
        chosen = on_ladder(runtimes, wanted, emulated_too=all_emulated)
    else:
        chosen = chosen_runtimes(runtimes, wanted.runtimes)
    if foreign := [name for name in chosen if "@" in name]:
        raise UsageError(f"{foreign[0]}: a run measures all runtimes on one image",
                         fix="bench compare docker@IMAGE docker@IMAGE")  # fmt: skip
    loaded = load_runtimes(chosen)
    known = [e.name for e in wanted.experiments if full or not e.full]
    if only and not any(only in name for name in known):
        raise UsageError(
            f"no experiment matches '{only}'{units.nearest(only, known)}",
            fix=f"they are: {', '.join(known)}"
            + ("" if full or len(known) == len(wanted.experiments) else "; and more with --full"),
        )
    host = Host.here(loaded, sandbox_image.find())
    made = planning.make(
        wanted,
        list(loaded),
        seed=seed if seed is not None else int(time.time()),
        quick=quick,
        full=full,
        offered=host.offered,
        blocks=blocks,
        baseline=lambda name: loaded[name].baseline,
        lacking=host.why_not,
        cost=lambda name: cost(loaded[name], wanted.kind),
        only=only,
        overrides=limits,
        emulated=list(loaded) if all_emulated else emulated(host),
        named=_named(runtimes, chosen),
    )
    return made, host


def _named(option: str | None, chosen: Sequence[str]) -> set[str]:
    """The runtimes that the user asked for by name; all that were chosen where that name is "all"."""
    names = {n.strip() for n in (option or "").split(",") if n.strip()}
    return set(chosen) if "all" in names else names


def cost(runtime: Runtime, kind: str) -> float:
    """Seconds a trial of a suite of that kind takes beside its workload, for estimates only."""
    return runtime.start_cost() if kind == "starts" and isinstance(runtime, Renewing) else runtime.cost()


def chosen_runtimes(option: str | None, suggested: Sequence[str]) -> list[str]:
    """Names of the runtimes to take: those of the option, "all", or the suite's and native machines.

    A machine with an emulated CPU takes long and says nothing of costs, so it joins only when named.
    """
    if not option:
        return [*suggested, *(n for n in JOIN_WHERE_NATIVE if n not in suggested and _native(n))]
    named = [n.strip() for n in option.split(",") if n.strip()]
    return list(dict.fromkeys(x for n in named for x in (_all(suggested) if n == "all" else [n])))


def on_ladder(option: str | None, suite: Suite, *, emulated_too: bool = False) -> list[str]:
    """The runtimes to measure, in the order of the suite's ladder: those named and the bottom, or all.

    Emulated machines are left out unless they are named, by themselves or as "all". UsageError for a runtime
    that is no rung.
    """
    every = [rung.runtime for rung in suite.rungs]
    named = {n.strip() for n in (option or "").split(",") if n.strip()}
    if outside := sorted(named - {*every, "all"}):
        raise UsageError(f"{outside[0]} is no rung of suite '{suite.name}'{units.nearest(outside[0], every)}",
                         fix=f"its rungs are: {', '.join(every)}")  # fmt: skip
    if "all" in named:
        return every
    if named:
        return [name for name in every if name in named or name == every[0]]
    return [name for name in every if emulated_too or not _emulated(name)]


def _emulated(name: str) -> bool:
    """Whether that runtime can run here, and on an emulated CPU only."""
    runtime = runtime_registry.load(name)
    return not list(runtime.requires()) and runtime.emulated()


def _all(suggested: Sequence[str]) -> list[str]:
    """Every registered runtime, the suite's first."""
    return [*suggested, *(n for n in runtime_registry.names() if n not in suggested)]


def _native(name: str) -> bool:
    """Whether this host lacks nothing for that runtime and runs it on its own CPU."""
    if name not in runtime_registry.names():
        return False
    runtime = runtime_registry.load(name)
    return not list(runtime.requires()) and not runtime.emulated()


def emulated(host: Host) -> list[str]:
    """Those runtimes of the host that would run on an emulated CPU; not asked of those that cannot run."""
    return [n for n, runtime in host.runtimes.items() if not host.missing(n) and runtime.emulated()]


def host_for(names: Sequence[str]) -> Host:
    """This host with those runtimes, for a run that is resumed."""
    return Host.here(load_runtimes(names), sandbox_image.find())


def facts_of(host: Host) -> HostFacts:
    """Facts of this machine; among its state the versions of what carries the runtimes out."""
    found = facts.read()
    versions: dict[str, Scalar | None] = {}
    for name, runtime in host.runtimes.items():
        if isinstance(runtime, runtime_registry.Versioned) and not host.missing(name):
            versions |= {
                f"{facts.VERSION}{program}": version for program, version in runtime.software().items()
            }
    return replace(found, state={**found.state, **versions})


def check_same_image(run: RunDirectory, host: Host) -> None:
    """Refuse to go on with another image than the finished trials used."""
    now = host.image.digest if host.image else "host"
    before = {r.image for r in run.trials()}
    if before - {now}:
        raise UsageError(
            f"{run.path} was measured with image {', '.join(sorted(before))}; this host has {now}",
            fix="start a new run: trials of two images are not compared",
        )


def load_runtimes(names: Sequence[str]) -> dict[str, Runtime]:
    """Those runtimes, each once, in the order given."""
    return {name: runtime_registry.load(name) for name in dict.fromkeys(names)}


def check_workloads(suite: Suite) -> None:
    """Every workload exists and takes the arguments the suite gives it, those of its quick variant too."""
    for experiment in suite.experiments:
        for tenant in (*experiment.tenants, *planning.quickened(experiment).tenants):
            workloads.check_args(workloads.find(tenant.workload), tenant.args)


def with_limits(suite: Suite, assignments: Sequence[str]) -> Suite:
    """The suite with the values of limits replaced by `NAME=VALUE` pairs; a name may come repeatedly."""
    values: dict[str, list[Scalar]] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--limit {text}: no '='", fix="write it like --limit cpu=0.5")
        values.setdefault(name.strip(), []).append(units.parse(name.strip(), value.strip()))
    if not values:
        return suite
    used = {e.verdict.limit for e in suite.experiments if e.verdict.limit is not None}
    for name in values:
        if name not in used:
            raise UsageError(
                f"suite '{suite.name}' does not test the limit '{name}'",
                fix=f"it tests: {', '.join(sorted(used))}" if used else "leave --limit out",
            )
    return replace(suite, experiments=tuple(_replace(e, values) for e in suite.experiments))


def _replace(experiment: Experiment, values: dict[str, list[Scalar]]) -> Experiment:
    """Only the judged limit of an experiment is replaced: the others are its set-up."""
    judged = experiment.verdict.limit
    if judged not in values:
        return experiment
    chosen = tuple(values[judged])
    tenants = tuple(
        replace(t, limits={**t.limits, judged: chosen}) if i == 0 and judged in t.limits else t
        for i, t in enumerate(experiment.tenants)
    )
    quick = dict(experiment.quick) if experiment.quick else None
    if quick:
        quick.pop("limits", None)
    return replace(experiment, tenants=tenants, quick=quick)
