"""Limits and devices of a machine that runs: put on for one trial, taken off again, each read back.

A machine made anew for every trial has them from its birth (`domain.xml`); this is for one that is kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from bench.errors import HostError, LimitNotSetError, SandboxError
from bench.host.cgroups import v1
from bench.host.vm import domain, libvirtd, limits
from bench.host.vm.machines import Running
from bench.limits import parse_cpus
from bench.model import Reading, Scalar

GONE = 30.0
"""Seconds a guest has to let go of a device."""
GROUP_LIMITS = ("cpu", "cpu.weight", "cpuset", "io.weight")
"""What is changed on the running machine; everything else comes with a device or is the machine's shape."""
_NOTHING = Reading(None, "", "nothing is attached")


@dataclass(frozen=True, slots=True)
class Untouched:
    """A machine as it was born: what libvirt says of it, and what the kernel holds."""

    scheduler: Mapping[str, Any]
    io_weight: int | None
    vcpus: tuple[tuple[bool, ...], ...]
    emulator: tuple[bool, ...]
    held: Mapping[str, Scalar | None]


def remember(running: Running) -> Untouched:
    """What `reset` puts back."""
    with libvirtd.speaking(f"reading the limits of {running.name}"):
        return Untouched(
            running.domain.schedulerParameters(),
            running.domain.blkioParameters().get("weight") or None,
            tuple(tuple(pins) for pins in running.domain.vcpuPinInfo()),
            tuple(running.domain.emulatorPinInfo()),
            _held(running),
        )


def limit(running: Running, wanted: Mapping[str, Scalar], untouched: Untouched) -> None:
    """Hold the machine to those of `GROUP_LIMITS` that are in `wanted`. LimitNotSetError where refused."""
    try:
        if "cpuset" in wanted:
            chosen = set(parse_cpus(str(wanted["cpuset"])))
            pins = tuple(cpu in chosen for cpu in range(len(untouched.emulator)))
            _pin(running, tuple(pins for _ in untouched.vcpus), pins)
        if "cpu.weight" in wanted:
            weight = int(wanted["cpu.weight"])
            version = running.group.cgroups.version("cpu") if running.group else 2
            _schedule(running, {"cpu_shares": v1.shares(weight) if version == 1 else weight})
        if "io.weight" in wanted:
            _weigh(running, int(wanted["io.weight"]))
    except SandboxError as error:
        raise LimitNotSetError(f"{running.name}: {error.message}", fix=error.fix) from error
    if "cpu" in wanted:
        limits.set_quota(running, float(wanted["cpu"]))


def reset(running: Running, untouched: Untouched) -> None:
    """Take all of that off. SandboxError where the kernel then holds something else than at birth."""
    scheduler = {"global_quota": -1, "cpu_shares": untouched.scheduler["cpu_shares"]}
    _schedule(running, scheduler)
    _pin(running, untouched.vcpus, untouched.emulator)
    if untouched.io_weight:
        _weigh(running, untouched.io_weight)
    held = _held(running)
    for name, value in untouched.held.items():
        if held[name] != value:
            raise SandboxError(f"{running.name} keeps {name}={held[name]}; before the trial it was {value}",
                               fix="bench clean")  # fmt: skip


def _held(running: Running) -> dict[str, Scalar | None]:
    found = limits.effective(running, limits.Parts(), _NOTHING)
    return {name: found[name].value for name in GROUP_LIMITS}


def _schedule(running: Running, parameters: Mapping[str, int]) -> None:
    with libvirtd.speaking(f"setting {', '.join(parameters)}") as library:
        running.domain.setSchedulerParametersFlags(dict(parameters), library.VIR_DOMAIN_AFFECT_LIVE)


def _pin(running: Running, vcpus: tuple[tuple[bool, ...], ...], emulator: tuple[bool, ...]) -> None:
    with libvirtd.speaking("setting the CPUs it may use") as library:
        for number, pins in enumerate(vcpus):
            running.domain.pinVcpuFlags(number, pins, library.VIR_DOMAIN_AFFECT_LIVE)
        running.domain.pinEmulator(emulator, library.VIR_DOMAIN_AFFECT_LIVE)


def _weigh(running: Running, weight: int) -> None:
    with libvirtd.speaking("setting its IO weight") as library:
        running.domain.setBlkioParameters({"weight": weight}, library.VIR_DOMAIN_AFFECT_LIVE)


# --- devices --------------------------------------------------------------------------------------


@contextmanager
def disk(running: Running, made: domain.Disk, target: str) -> Iterator[None]:
    """That disk in the running machine, as `target` ("vdc"). The guest must have let go of it at the end."""
    with _device(running, domain.disk_xml(made, target), f"devices/disk/target[@dev='{target}']"):
        yield


@contextmanager
def nic(running: Running, made: domain.Nic) -> Iterator[None]:
    """That interface in the running machine."""
    with _device(running, domain.nic_xml(made), f"devices/interface/mac[@address='{made.mac}']"):
        yield


@contextmanager
def _device(running: Running, xml: str, place: str) -> Iterator[None]:
    with libvirtd.speaking(f"attaching a device to {running.name}") as library:
        running.domain.attachDeviceFlags(xml, library.VIR_DOMAIN_AFFECT_LIVE)
    try:
        yield
    finally:
        if running.alive():
            _detach(running, xml, place)


def _detach(running: Running, xml: str, place: str) -> None:
    """Ask the guest to let go of it until it has; HostError after `GONE` seconds."""
    until = time.monotonic() + GONE
    asked = 0.0
    while _there(running, place):
        if time.monotonic() > until:
            raise HostError(
                f"{running.name} does not let go of a device within {GONE:g} s", fix="bench clean"
            )
        if time.monotonic() - asked > 5.0:
            asked = time.monotonic()
            with libvirtd.speaking("detaching a device") as library, suppress(library.libvirtError):
                # libvirt refuses a second request while the first is under way: `_there` tells.
                running.domain.detachDeviceFlags(xml, library.VIR_DOMAIN_AFFECT_LIVE)
        else:
            time.sleep(0.02)


def _there(running: Running, place: str) -> bool:
    with libvirtd.speaking(f"looking at the devices of {running.name}"):
        root = ElementTree.fromstring(running.domain.XMLDesc())  # noqa: S314 - libvirt's own words
    return root.find(place) is not None
