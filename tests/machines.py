"""Made-up trials of `tests.builders` moved into virtual machines: what the host and the guest would say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import plan as plans
from bench import suite
from bench.model import Case, Plan, Reading, Sample, Scalar, Skipped, TenantRecord, TrialRecord
from tests import builders

RUNTIMES = ("process", "namespace", "docker", "libvirt", "vagrant", "docker-vm")
BOOTS = {"libvirt": 4.2, "vagrant": 61.0, "docker-vm": 27.5}
QEMU = 300 * builders.MIB
"""Memory of the QEMU process as the host sees it, with that of the guest."""


def carried(accelerator: str = "tcg") -> builders.Alter:
    """An `alter` that moves trials of libvirt, vagrant and docker-vm into a machine."""

    def alter(case: Case, record: TrialRecord, samples: list[Sample]) -> builders.Trial:
        name = case.runtime.partition(":")[0]
        if name not in BOOTS:
            return record, samples
        shared = name == "docker-vm"
        tenants = tuple(_tenant(t, case, accelerator, record.index) for t in record.tenants)
        moved = [_inside(s, all_of_it=shared) if s.tenant else s for s in samples]
        if not shared:
            moved += [x for t in tenants for x in _outside(t, samples)]
        quiet = [replace(s, value=7.0) if s.metric == "host.oom_kill" and not s.tenant else s for s in moved]
        return replace(record, tenants=tenants), quiet

    return alter


def _tenant(tenant: TenantRecord, case: Case, accelerator: str, index: int) -> TenantRecord:
    name = case.runtime.partition(":")[0]
    shared = name == "docker-vm"
    facts: dict[str, Scalar | None] = {
        **tenant.facts, "machine.accelerator": accelerator, "machine.network": "bridge" if shared else "none",
        "machine.boot": "micro" if name == "libvirt" else "full", "machine.vcpus": 2,
        "machine.memory": 2**30, "machine.kernel": "6.1.0-test-cloud-amd64", "machine.qemu": "7.2.0",
        "machine.seconds.boot": BOOTS[name] + (0 if shared else index * 0.001),
    }  # fmt: skip
    if shared:
        facts["guest.cgroup"] = f"/sys/fs/cgroup/system.slice/docker-{tenant.name}.scope"
        effective = {n: Reading(r.value, f"{facts['guest.cgroup']}/{n}") for n, r in tenant.effective.items()}
        return replace(tenant, cgroup=None, facts=facts, effective=effective)
    if "cpuset" in tenant.effective:
        facts["cpu.numbering"] = "guest"
    return replace(tenant, facts=facts)


def _inside(sample: Sample, *, all_of_it: bool) -> Sample:
    """The reading as one made inside; what the host reads of a machine's CPU and IO stays."""
    within = all_of_it or sample.metric.startswith(("memory.", "pids."))
    return replace(sample, collector=f"guest.{sample.collector}") if within else sample


def _outside(tenant: TenantRecord, samples: list[Sample]) -> list[Sample]:
    """What the host reads of QEMU, and the guest of itself: it believes a quota's pauses were its own."""
    used = [s for s in samples if s.tenant == tenant.name and s.metric == "cpu.usage"]
    found: list[Sample] = []
    for s in used:
        seconds = float(s.value or 0)
        believed = 2.0 * s.time
        rows = {
            ("cgroup", "memory.current"): QEMU, ("cgroup", "memory.peak"): QEMU,
            ("guest.cgroup", "cpu.usage"): believed * 0.98,
            ("guest.host", "host.cpu.total"): 30 + 2.0 * s.time, ("guest.host", "host.cpu.idle"): 20.0,
            ("guest.host", "host.cpu.steal"): 0.0, ("guest.host", "host.oom_kill"): 0.0,
            ("domain", "machine.cpu.vcpu"): 5 + seconds * 0.93,
            ("domain", "machine.cpu.emulator"): 2 + seconds * 0.05,
            ("domain", "machine.cpu.io"): seconds * 0.02, ("domain", "machine.memory.rss"): QEMU,
            ("domain", "cpu.seconds_on.0"): 0.4, ("domain", "cpu.seconds_on.1"): 6 + seconds,
        }  # fmt: skip
        found += [
            Sample(s.time, tenant.name, collector, metric, value)
            for (collector, metric), value in rows.items()
        ]
    return found


def lacking(runtime: str, case: Case) -> Skipped | None:
    """What the machines of these tests do not offer, besides what `builders.typical_lacking` says."""
    limits = {name for t in case.tenants for name in t.limits}
    if runtime in ("libvirt", "vagrant") and limits & {"pids", "memory.high"}:
        return Skipped(case, "not offered", "a machine has no such control")
    return builders.typical_lacking(runtime, case)


def make_plan(only: str | None = None, blocks: int = 3, runtimes: tuple[str, ...] = RUNTIMES) -> Plan:
    """A plan of the suite `cgroups` with machines, which are known to be emulated."""
    made = plans.make(
        suite.load("cgroups"), runtimes, seed=1, blocks=blocks, only=only, lacking=lacking,
        baseline=builders.BASELINES.__contains__, cost=lambda name: BOOTS.get(name, 0.3),
    )  # fmt: skip
    return replace(made, emulated=tuple(r for r in runtimes if r in BOOTS))


def write_run(base: Path, plan: Plan, alter: Callable[..., builders.Trial] | None = None) -> Path:
    """A run directory of that plan whose machines are emulated."""
    return builders.write_run(base, plan, alter=alter or carried())
