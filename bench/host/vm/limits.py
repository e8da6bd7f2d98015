"""A machine's limits: set through libvirt, and read back from libvirt, from QEMU, and from the kernel.

`effective` is what the lowest layer holds: the kernel for what a cgroup or tc does, QEMU for its own RAM
and its disks' throttles. Where libvirt says another value, `differences` names both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import LimitNotSetError, SandboxError
from bench.host.cgroups import CPU_PERIOD, v1
from bench.host.cgroups.values import agrees
from bench.host.vm import domain, libvirtd
from bench.host.vm.machines import THREADS, Running
from bench.limits import format_cpus, known, parse_cpus
from bench.model import Reading, Scalar

MIB = 1 << 20
CONTROLS = frozenset(
    {"cpu", "cpu.weight", "cpuset", "memory", "swap", "io.weight", "net.egress", *domain.IOTUNE}
)
"""What a domain can be held to. Not the number of processes: those are the guest kernel's own business."""
FLOOR = {"micro": 96 * MIB, "full": 192 * MIB}
"""The least RAM that is tried. Agents were heard with 88 (micro; at 80 some are lost) and 160 MiB (full)."""
_THROTTLES = {
    "io.read": "bps_rd", "io.write": "bps_wr", "io.read_iops": "iops_rd", "io.write_iops": "iops_wr",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parts:
    """Where in a domain its limits act: targets of disks, and the tap of its interface."""

    scratch: str | None = None
    swap: str | None = None
    tap: str | None = None


def check_memory(boot: str, wanted: Scalar | None) -> None:
    """LimitNotSetError for a RAM size with which no guest comes up, before one is tried."""
    floor = FLOOR[boot]
    if wanted is not None and int(wanted) < floor:
        raise LimitNotSetError(
            f"memory: a {boot} guest of {int(wanted) // MIB} MiB cannot boot:"
            f" the floor is {floor // MIB} MiB",
            fix=f"ask for at least memory={floor // MIB}MiB",
        )


def set_quota(running: Running, cores: float) -> None:
    """Hold the whole machine, vCPUs and emulation, to that many cores. LimitNotSetError where refused."""
    period = round(CPU_PERIOD * 1e6)
    wanted = {"global_period": period, "global_quota": round(cores * period)}
    try:
        with libvirtd.speaking(f"limiting the CPU of {running.name}") as library:
            running.domain.setSchedulerParametersFlags(wanted, library.VIR_DOMAIN_AFFECT_LIVE)
    except SandboxError as error:
        raise LimitNotSetError(f"cpu: {error.message}", fix=error.fix) from error


def effective(running: Running, parts: Parts, egress: Reading) -> dict[str, Reading]:
    """Every control as the lowest layer holds it, the minimum over all ancestors of the cgroup.

    `egress` is what the machine's network says of net.egress.
    """
    readings = {name: _of_group(running, name) for name in ("cpu", "cpu.weight", "io.weight")}
    readings["cpuset"] = _cpuset(running)
    memory = running.monitor("query-memory-size-summary")["base-memory"]
    readings["memory"] = Reading(int(memory), "QEMU's query-memory-size-summary")
    blocks = {b["qdev"] or b["device"]: b.get("inserted") or {} for b in running.monitor("query-block")}
    readings |= _throttles(blocks, parts.scratch)
    readings["swap"] = _swap(running, parts.swap)
    readings["net.egress"] = egress
    return readings


def _of_group(running: Running, limit: str) -> Reading:
    if running.group is None:
        return Reading(None, "", "QEMU has no cgroup of its own")
    return running.group.effective(limit)


def _cpuset(running: Running) -> Reading:
    """The CPUs that any thread of QEMU may run on, by the cpusets libvirt made for them."""
    found: set[int] = set()
    source = ""
    owner = running.group.cgroups.owner("cpuset") if running.group else None
    if owner is not None and running.group is not None:
        name = "cpuset.effective_cpus" if owner.version == 1 else "cpuset.cpus.effective"
        source = str(owner.mount / running.group.path / "*" / name)
        for child in (owner.mount / running.group.path).iterdir():
            if child.is_dir() and child.name.startswith(THREADS):
                found |= set(parse_cpus((child / name).read_text()))
    else:
        source = f"/proc/{running.pid}/task/*"
        for task in Path(f"/proc/{running.pid}/task").iterdir():
            found |= os.sched_getaffinity(int(task.name))
    return Reading(format_cpus(found), source)


def _throttles(blocks: Mapping[str, Mapping[str, Any]], scratch: str | None) -> dict[str, Reading]:
    if scratch is None:
        return dict.fromkeys(_THROTTLES, Reading(None, "", "this case has no disk of its own"))
    device = f"/virtio-disk{ord(scratch[-1]) - ord('a')}/"  # libvirt's alias of the target vdX
    inserted = next((block for name, block in blocks.items() if device in name), {})
    readings = {}
    for limit, key in _THROTTLES.items():
        value = inserted.get(key) or None
        readings[limit] = Reading(value, f"QEMU's query-block, {key}", "" if value else "unlimited")
    return readings


def _swap(running: Running, target: str | None) -> Reading:
    if target is None:
        return Reading(0, "the machine has no swap disk")
    with libvirtd.speaking(f"reading the size of {target}"):
        capacity = int(running.domain.blockInfo(target)[0])
    return Reading(capacity - os.sysconf("SC_PAGE_SIZE"), f"libvirt's size of {target}, less its header")


def told(running: Running, parts: Parts) -> dict[str, Scalar | None]:
    """The same limits as libvirt says them, in SI; None for "no limit"."""
    with libvirtd.speaking(f"reading the limits of {running.name}"):
        found: dict[str, Scalar | None] = {"memory": running.domain.maxMemory() * 1024}
        found["cpuset"] = _pinned(running)
        if running.group is not None:
            scheduler = running.domain.schedulerParameters()
            quota = int(scheduler["global_quota"])
            found["cpu"] = quota / int(scheduler["global_period"]) if quota > 0 else None
            held = int(scheduler["cpu_shares"])
            found["cpu.weight"] = v1.weight(held) if running.group.cgroups.version("cpu") == 1 else held
        if parts.scratch:
            tune = running.domain.blockIoTune(parts.scratch)
            found |= {name: tune[key] or None for name, key in domain.IOTUNE.items()}
        if parts.tap:
            average = running.domain.interfaceParameters(parts.tap).get("outbound.average")
            found["net.egress"] = float(average * 1024) if average else None
    return found


def _pinned(running: Running) -> str:
    maps = [*running.domain.vcpuPinInfo(), running.domain.emulatorPinInfo()]
    return format_cpus({cpu for one in maps for cpu, there in enumerate(one) if there})


def differences(held: Mapping[str, Reading], said: Mapping[str, Scalar | None]) -> dict[str, Scalar | None]:
    """`differs.LIMIT` with libvirt's value for each limit of which a lower layer holds another one."""
    return {
        f"differs.{name}": value
        for name, value in said.items()
        if name in held and not (value is None and held[name].value is None) and not _same(name, value, held)
    }


def _same(name: str, value: Scalar | None, held: Mapping[str, Reading]) -> bool:
    return value is not None and holds(name, value, held[name])


def holds(name: str, wanted: Scalar, held: Reading) -> bool:
    """Whether that is what was asked for; a rate of an interface is held in whole KiB/s."""
    if name == "net.egress":
        return held.value is not None and abs(float(held.value) - float(wanted)) <= 1024
    return agrees(name, wanted, held)


def verify(wanted: Mapping[str, Scalar], held: Mapping[str, Reading]) -> None:
    """LimitNotSetError for the first limit of which another value is held than was asked for."""
    for name, value in wanted.items():
        reading = held.get(name)
        if reading is None or not holds(known(name).name, value, reading):
            found = "nothing" if reading is None else reading.value or reading.reason
            raise LimitNotSetError(
                f"{name}: wanted {value} in {reading.source if reading else 'libvirt'}, it holds: {found}",
                fix="ask for a value libvirt can hold; RAM comes in whole MiB",
            )
