"""How a run was made: host, method, noise, raw data and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.analysis.machines import Machine
from bench.analysis.quality import RunQuality
from bench.frames import Run
from bench.model import Scalar
from bench.render import numbers


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and its value as text; `note` says what the value means for the reader."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """The back pages of a report. `warnings` belong on the first one."""

    id: str
    created: str
    version: str
    identity: tuple[Fact, ...]
    state: tuple[Fact, ...]
    method: tuple[Fact, ...]
    noise: tuple[Fact, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    files: tuple[Fact, ...]
    command: str


def about(run: Run, found: RunQuality, machines: Sequence[Machine] = ()) -> About:
    """Everything about how a run was made; facts marked private are not read at all."""
    return About(
        id=run.id,
        created=run.created,
        version=run.version,
        identity=(*facts(run.host.identity), *_accelerator(machines)),
        state=facts(run.host.state),
        method=_method(run, found.images),
        noise=_noise(found),
        notes=run.notes,
        warnings=_warnings(found),
        files=files(run),
        command=command(run),
    )


def command(run: Run) -> str:
    """The shell line that runs the same plan again."""
    plan = run.plan
    words = ["bench", "run", "--suite", plan.suite.name, "--runtimes", ",".join(plan.runtimes)]
    words += ["--seed", str(plan.seed), "--blocks", str(plan.blocks), *(["--quick"] if plan.quick else [])]
    words += ["--full"] if plan.full else []
    words += ["--only", plan.only] if plan.only else []
    for override in plan.overrides:
        words += ["--limit", override]
    return shlex.join(words)


def units(run: Run) -> Mapping[str, str]:
    """The unit of every metric seen: what collectors declare, then what workloads reported."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for record in run.records:
        if record.case in seen:
            continue
        seen.add(record.case)
        for tenant in record.tenants:
            found.update({o.metric: o.unit for o in tenant.observations if o.unit})
    return {**found, **run.metric_units, "guest.cpu.rate": "cores"}


def _accelerator(machines: Sequence[Machine]) -> tuple[Fact, ...]:
    """What carried the virtual machines, as QEMU said."""
    found = sorted({a for m in machines for a in m.accelerators})
    shown = ", ".join({"kvm": "KVM", "tcg": "TCG: an emulated CPU"}.get(a, a) for a in found)
    return (Fact("vm.accelerator", shown),) if found else ()


def facts(found: Mapping[str, Scalar | None]) -> tuple[Fact, ...]:
    """Facts of a host for people."""
    return tuple(Fact(name, _fact(name, value)) for name, value in found.items())


def _fact(name: str, value: Scalar | None) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, (bool, str)):
        return numbers.quantity(value, "")
    is_bytes = any(word in name for word in ("bytes", "memory", "mem_", "swap_total"))
    return numbers.quantity(value, "bytes" if is_bytes and value >= 1024 else "")


def _method(run: Run, images: Sequence[str]) -> tuple[Fact, ...]:
    plan = run.plan
    broken = sum(r.status == "broken" for r in run.records)
    rows = [
        Fact("Suite", plan.suite.name + (" (quick)" if plan.quick else "")),
        Fact(
            "Order",
            "randomised complete blocks",
            "every block holds one trial of every case, in random order",
        ),
        Fact("Seed", str(plan.seed)),
        Fact("Blocks", str(plan.blocks), "the trial is the unit of repetition; each is a fresh sandbox"),
        Fact("Trials", f"{len(run.records)} of {len(plan.trials)} finished, {broken} broken"),
        Fact(
            "Interval", "95 %, Student's t over trials", "one number a trial; none is given below two trials"
        ),
        Fact("Pass", "the whole interval lies inside the tolerance", "and the kernel's own counters agree"),
        Fact(
            "Control",
            "the same workload with no limit",
            "a limit that the control does not reach is not testable",
        ),
        Fact(
            "Image",
            ", ".join(i for i in images if i) or "none: the host's own programs",
            "one tree for every runtime",
        ),
    ]
    return tuple(rows)


def _noise(found: RunQuality) -> tuple[Fact, ...]:
    rows = []
    for check in found.checks:
        if check.mean is None:
            rows.append(Fact(check.title, numbers.NONE, check.reason))
            continue
        mean, largest = (numbers.quantity(v, "share") for v in (check.mean, check.largest))
        text = f"{mean} on average, {largest} at most"
        note = ""
        if check.bound is not None:
            bound = numbers.quantity(check.bound, "share")
            note = f"above {bound} in {len(check.noisy)} of {check.trials} trials"
        rows.append(Fact(check.title, text, note))
    broken = "; ".join(f"trial {index}: {reason}" for index, reason in found.broken[:5])
    rows += [
        Fact("workloads' share of the run's time", numbers.quantity(found.workload_share, "share")),
        Fact("broken trials", str(len(found.broken)), broken),
        Fact("lines of output that were no observation", str(found.garbage)),
    ]
    return tuple(Fact(f.name[:1].upper() + f.name[1:], f.value, f.note) for f in rows)


def _warnings(found: RunQuality) -> tuple[str, ...]:
    """What must be known before any number is believed."""
    warnings = []
    if found.mixed:
        shown = ", ".join(d[:19] or "none" for d in found.mixed)
        warnings.append(
            f"Trials of one experiment ran {len(found.mixed)} images ({shown}): runtimes cannot be compared "
            "across them."
        )
    if found.unfinished:
        warnings.append(f"The run is not complete: {found.unfinished} planned trials have not been run.")
    if found.broken:
        many = len(found.broken)
        said = f"{many} trial{'s' * (many > 1)} broke"
        warnings.append(f"{said}; what would have come of them rests on fewer.")
    return tuple(warnings)


def files(run: Run) -> tuple[Fact, ...]:
    """What lies in the run directory, and what each file holds."""
    known = {
        "run.json": "plan, seed, version",
        "host.json": "facts of the host, private ones included",
        "findings.json": "every finding as data",
        "comparison.json": "what was compared, and what came out",
        "trials/": "one record a trial",
        "samples/": "readings of the collectors, one Parquet file a trial",
        "output/": "what the workloads printed",
    }
    return tuple(Fact(name, text) for name, text in known.items() if (run.path / name).exists())
