"""Whether every rung had the same budget: image, memory, CPUs, network and cache, read back and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.analysis.measures import last_observed
from bench.limits import show
from bench.model import MODE, PLACE, Finding, Scalar, TenantRecord, TrialRecord

if TYPE_CHECKING:
    from bench.frames import Run

SECTION = "budget"
"""The section of the experiment whose probe looks around on every rung."""
PREFIX = "budget/"


@dataclass(frozen=True, slots=True)
class Budget:
    """One thing that must be the same on every rung.

    `held`: what was read, by runtime; None where nothing was, with its reason in `why`. `apart`: the
    runtimes that have another than most, those without a limit left out, as nothing here reaches it.
    """

    name: str
    title: str
    source: str
    held: Mapping[str, Scalar | None]
    why: Mapping[str, str]
    apart: tuple[str, ...]

    @property
    def equal(self) -> bool | None:
        """None where fewer than two rungs told."""
        told = [v for v in self.held.values() if v is not None and v != UNLIMITED]
        return not self.apart if len(told) > 1 else None


UNLIMITED = "no limit"
EVERY = "every rung"
"""What stands in the place of a runtime in a finding about all of them."""
Read = Callable[["Run", TrialRecord, TenantRecord], tuple[Scalar | None, str]]


def _image(run: Run, trial: TrialRecord, tenant: TenantRecord) -> tuple[Scalar | None, str]:
    return trial.image, ""


def _memory(run: Run, trial: TrialRecord, tenant: TenantRecord) -> tuple[Scalar | None, str]:
    reading = tenant.effective.get("memory")
    if reading is None:
        bottom = run.plan.suite.rungs[0].runtime
        return (UNLIMITED, "") if trial.runtime == bottom else (None, "this runtime has no such limit")
    return reading.value, reading.reason


def _cpus(run: Run, trial: TrialRecord, tenant: TenantRecord) -> tuple[Scalar | None, str]:
    seen = last_observed(tenant, "visible.nproc")
    return (None, "no probe looked") if seen is None else (int(seen), "")


def _mtu(run: Run, trial: TrialRecord, tenant: TenantRecord) -> tuple[Scalar | None, str]:
    found = tenant.facts.get("network.mtu")
    return (found, "") if found is not None else (None, "no link: no workload here uses a network")


def _cache(run: Run, trial: TrialRecord, tenant: TenantRecord) -> tuple[Scalar | None, str]:
    if tenant.facts.get("machine.accelerator") is None:
        return "the host's page cache", ""
    if PLACE in trial.params:
        return None, ""  # of several disks, each with its own cache mode: told with the place
    found = tenant.facts.get("machine.disk.cache")
    return (found, "") if found is not None else (None, "the machine does not tell")


READERS: tuple[tuple[str, str, str, Read], ...] = (
    ("image", "Image", "digest of the tree that every program is from", _image),
    ("memory", "Memory limit", "read back from the kernel or the hypervisor", _memory),
    ("cpus", "CPUs", "as a program inside sees them", _cpus),
    ("mtu", "MTU", "of the link inside", _mtu),
    ("cache", "Cache", "between a program's files and the disk", _cache),
)


def read(run: Run) -> list[Budget]:
    """What was read back in the trials of a run; [] for a run without a ladder."""
    if not run.plan.suite.rungs:
        return []
    return [_budget(run, *reader) for reader in READERS]


def _budget(run: Run, name: str, title: str, source: str, reader: Read) -> Budget:
    held: dict[str, Scalar | None] = {}
    why: dict[str, str] = {}
    for runtime in run.plan.runtimes:
        mine = [r for r in run.records if r.runtime == runtime and MODE not in r.params]
        pairs = [reader(run, r, r.tenants[0]) for r in mine if r.status == "ok" and r.tenants]
        told = list(dict.fromkeys(value for value, _ in pairs if value is not None))
        held[runtime] = told[0] if len(told) == 1 else " and ".join(map(str, told)) or None
        if held[runtime] is None:
            why[runtime] = next((reason for _, reason in pairs if reason), "no trial has finished")
    values = [v for v in held.values() if v is not None and v != UNLIMITED]
    usual = max(values, key=values.count, default=None)
    apart = tuple(r for r, v in held.items() if v not in (None, UNLIMITED, usual))
    return Budget(name, title, source, held, why, apart)


def findings(run: Run) -> list[Finding]:
    """One a budget: whether it is the same on every rung, and on which it is not."""
    return [
        Finding(
            id=f"{PREFIX}{one.name}", experiment=one.title, section=SECTION, runtime=EVERY, label="",
            limit=None, control=True, requested=None, effective=None, effective_source=one.source,
            expected=None, measured=None, deviation=None, scale="absolute", tolerance=None, unit="",
            verdict=None, reason=_sentence(one),
            evidence={r: text(one, r) for r in one.held},
        )
        for one in read(run)
    ]  # fmt: skip


def text(one: Budget, runtime: str) -> str | None:
    """What a runtime was given, in words; None where it is not known."""
    value = one.held[runtime]
    if value is None or isinstance(value, str):
        return value
    return show("memory", value) if one.name == "memory" else str(value)


def _sentence(one: Budget) -> str:
    if one.equal is None:
        return "nothing to compare: " + next(iter(one.why.values()), "no two rungs tell")
    if one.equal:
        return "the same on every rung that tells"
    return "another on " + ", ".join(f"{r} ({text(one, r)})" for r in one.apart)


def conclusion(found: list[Budget]) -> str:
    """Which budgets were not equal; "" where all were."""
    unequal = [f"{one.title.lower()} is {_sentence(one)}" for one in found if one.equal is False]
    return f"Budgets differ: {'; '.join(unequal)}." if unequal else ""
