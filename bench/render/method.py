"""How a run was made: host, method, noise, raw data and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

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


def about(run: Run) -> About:
    """Everything about how a run was made; facts marked private are not read at all."""
    return About(
        id=run.id,
        created=run.created,
        version=run.version,
        identity=_facts(run.host.identity),
        state=_facts(run.host.state),
        method=_method(run),
        noise=_noise(run),
        notes=run.notes,
        warnings=_warnings(run),
        files=_files(run),
        command=command(run),
    )


def command(run: Run) -> str:
    """The shell line that runs the same plan again."""
    plan = run.plan
    words = ["bench", "run", "--suite", plan.suite.name, "--runtimes", ",".join(plan.runtimes)]
    words += ["--seed", str(plan.seed), "--blocks", str(plan.blocks), *(["--quick"] if plan.quick else [])]
    if len(plan.suite.experiments) == 1:
        words += ["--only", plan.suite.experiments[0].name]
    return shlex.join(words)


def images(run: Run) -> list[str]:
    """The digests of the images trials ran, without the trials that used none."""
    return sorted({r.image for r in run.records if r.image})


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
    return {**found, **run.metric_units}


def _facts(facts: Mapping[str, Scalar | None]) -> tuple[Fact, ...]:
    return tuple(Fact(name, _fact(name, value)) for name, value in facts.items())


def _fact(name: str, value: Scalar | None) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, (bool, str)):
        return numbers.quantity(value, "")
    is_bytes = any(word in name for word in ("bytes", "memory", "mem_", "swap_total"))
    return numbers.quantity(value, "bytes" if is_bytes and value >= 1024 else "")


def _method(run: Run) -> tuple[Fact, ...]:
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
            "Image", ", ".join(images(run)) or "none: the host's own programs", "one tree for every runtime"
        ),
    ]
    return tuple(rows)


def _noise(run: Run) -> tuple[Fact, ...]:
    total = sum(r.duration for r in run.records)
    work = sum(r.workload_seconds for r in run.records)
    broken = [r for r in run.records if r.status == "broken"]
    rows = []
    if total > 0:
        rows.append(Fact("Share of time in workloads", numbers.quantity(work / total, "share")))
    rows.append(Fact("Broken trials", str(len(broken)), "; ".join(dict.fromkeys(r.reason for r in broken))))
    return tuple(rows)


def _warnings(run: Run) -> tuple[str, ...]:
    found = []
    digests = images(run)
    if len(digests) > 1:
        shown = ", ".join(d[:19] for d in digests)
        found.append(f"Trials ran {len(digests)} images ({shown}); runtimes cannot be compared across them.")
    missing = len(run.plan.trials) - len(run.records)
    if missing > 0:
        found.append(f"The run is not complete: {missing} of {len(run.plan.trials)} trials are missing.")
    return tuple(found)


def _files(run: Run) -> tuple[Fact, ...]:
    known = {
        "run.json": "plan, seed, version",
        "host.json": "facts of the host, private ones included",
        "findings.json": "every finding as data",
        "trials/": "one record a trial",
        "samples/": "readings of the collectors, one Parquet file a trial",
        "output/": "what the workloads printed",
    }
    return tuple(Fact(name, text) for name, text in known.items() if (run.path / name).exists())
