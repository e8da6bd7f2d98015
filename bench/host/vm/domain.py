"""What a machine is made of, and the libvirt domain XML that says so; pure.

No device that a workload does not need: each one costs time at every boot, above all an emulated one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from bench.host.cgroups.v1 import io_weight, shares
from bench.limits import parse_cpus
from bench.model import Scalar

AGENT = "isobench.agent.0"
"""Name of the virtio-serial port the guest's agent opens."""
NAME_LENGTH = 60
FIRST_SLOT = 2
"""PCI slots below are the host bridge's and that of a display; 0x1f is the chipset's."""

IOTUNE = {
    "io.read": "read_bytes_sec", "io.write": "write_bytes_sec",
    "io.read_iops": "read_iops_sec", "io.write_iops": "write_iops_sec",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk of a machine; the guest finds it by `serial`. `backing` is never written to."""

    path: Path
    serial: str
    format: Literal["raw", "qcow2"] = "raw"
    backing: Path | None = None
    readonly: bool = False
    direct: bool = False
    """Past the host's page cache, for disks whose speed is measured."""
    limits: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Nic:
    """A network interface: on the bridge or libvirt network `source`, or QEMU's user-mode network."""

    kind: Literal["bridge", "network", "user"]
    source: str = ""
    tap: str = ""
    mac: str = ""
    egress: float | None = None
    """Bytes/s the guest may send; libvirt holds whole KiB/s."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A domain to be. `memory` in bytes, `cpuset` a CPU list of the host."""

    name: str
    accelerator: Literal["kvm", "tcg"]
    vcpus: int
    memory: int
    kernel: Path
    initrd: Path
    command_line: str
    disks: Sequence[Disk] = ()
    nics: Sequence[Nic] = ()
    serial_log: Path | None = None
    partition: str | None = None
    """Path of the cgroup that the machine's own goes into."""
    weight: int | None = None
    cpuset: str | None = None
    io_weight: int | None = None
    owner: tuple[int, int] | None = None
    """UID and GID QEMU runs as; with it libvirt changes the owner of no file."""
    cgroup_version: int = 1
    io_weight_file: str = "blkio.bfq.weight"


def name(run: str, trial: int, tenant: str) -> str:
    """The domain's name: isobench-RUN-TRIAL-TENANT, shortened in the middle of RUN where too long."""
    tail = f"-{trial}-{tenant}"
    clean = re.sub(r"[^A-Za-z0-9_.-]", "_", run)[-(NAME_LENGTH - len("isobench-") - len(tail)) :]
    return re.sub(r"[^A-Za-z0-9_.-]", "_", f"isobench-{clean}{tail}")


def kib(rate: float) -> int:
    """Whole KiB/s of a rate in bytes/s, as <bandwidth> takes it; at least 1."""
    return max(1, round(rate / 1024))


def xml(machine: Machine) -> str:
    """The domain XML of that machine."""
    root = Element("domain", type="kvm" if machine.accelerator == "kvm" else "qemu")
    _text(root, "name", machine.name)
    _text(root, "memory", machine.memory // 1024, unit="KiB")
    vcpu = _text(root, "vcpu", machine.vcpus, placement="static")
    if machine.cpuset:
        vcpu.set("cpuset", machine.cpuset)
    _tuning(root, machine)
    if machine.partition:
        _text(SubElement(root, "resource"), "partition", "/" + machine.partition.strip("/"))
    _system(root, machine)
    _devices(SubElement(root, "devices"), machine)
    if machine.owner:
        label = SubElement(root, "seclabel", type="static", model="dac", relabel="no")
        _text(label, "label", "+{}:+{}".format(*machine.owner))
    return ElementTree.tostring(root, encoding="unicode")


def _text(parent: Element, tag: str, text: object, **attributes: str) -> Element:
    element = SubElement(parent, tag, attributes)
    element.text = str(text)
    return element


def _tuning(root: Element, machine: Machine) -> None:
    """Weights and CPU sets. The CPU quota is set when the guest is up: a boot is no part of a workload."""
    if machine.weight is not None or machine.cpuset:
        tune = SubElement(root, "cputune")
        if machine.weight is not None:
            _text(tune, "shares", shares(machine.weight) if machine.cgroup_version == 1 else machine.weight)
        if machine.cpuset:
            for number in range(machine.vcpus):
                SubElement(tune, "vcpupin", vcpu=str(number), cpuset=machine.cpuset)
            SubElement(tune, "emulatorpin", cpuset=machine.cpuset)
    if machine.io_weight is not None:
        held = machine.io_weight
        if machine.cgroup_version == 1:
            held = io_weight(held, machine.io_weight_file)
        _text(SubElement(root, "blkiotune"), "weight", held)


def _system(root: Element, machine: Machine) -> None:
    system = SubElement(root, "os")
    _text(system, "type", "hvm", arch="x86_64", machine="q35")
    _text(system, "kernel", machine.kernel)
    _text(system, "initrd", machine.initrd)
    _text(system, "cmdline", machine.command_line)
    features = SubElement(root, "features")
    SubElement(features, "acpi")
    SubElement(features, "apic")
    SubElement(features, "vmport", state="off")
    cpu = SubElement(root, "cpu", mode="host-passthrough" if machine.accelerator == "kvm" else "maximum")
    # One socket: several would be several cache domains to the guest's scheduler.
    SubElement(cpu, "topology", sockets="1", dies="1", cores=str(machine.vcpus), threads="1")
    # A guest that reboots or panics has failed its trial: it goes away, and the log says why.
    for event in ("poweroff", "reboot", "crash"):
        _text(root, f"on_{event}", "destroy")


def _devices(devices: Element, machine: Machine) -> None:
    SubElement(devices, "controller", type="usb", model="none")
    SubElement(devices, "memballoon", model="none")
    for index, disk in enumerate(machine.disks):
        _disk(devices, disk, f"vd{chr(ord('a') + index)}")
    for nic in machine.nics:
        _nic(devices, nic)
    if machine.serial_log:
        serial = SubElement(devices, "serial", type="file")
        SubElement(serial, "source", path=str(machine.serial_log), append="on")
    channel = SubElement(devices, "channel", type="unix")
    SubElement(channel, "source", mode="bind")
    SubElement(channel, "target", type="virtio", name=AGENT)
    rng = SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    SubElement(devices, "panic", model="isa")
    _place(devices)


def _place(devices: Element) -> None:
    """Every device in a slot of the root complex itself.

    Left alone, libvirt puts each behind a PCI port of its own, so that it can be unplugged, and probing those
    costs an emulated machine a second of its boot.
    """
    SubElement(devices, "controller", type="virtio-serial", index="0")
    kinds = ("controller[@type='virtio-serial']", "disk", "interface", "rng")
    for number, element in enumerate(e for kind in kinds for e in devices.findall(kind)):
        SubElement(element, "address", type="pci", domain="0x0000", bus="0x00", function="0x0",
                   slot=f"{FIRST_SLOT + number:#04x}")  # fmt: skip


def _disk(devices: Element, disk: Disk, target: str) -> None:
    element = SubElement(devices, "disk", type="file", device="disk")
    driver = SubElement(element, "driver", name="qemu", type=disk.format)
    # A machine's own disk lives for one trial, so nothing in it needs to survive a crash of the host.
    driver.set("cache", "none" if disk.direct else "unsafe")
    if disk.direct:
        driver.set("io", "native")
    SubElement(element, "source", file=str(disk.path))
    if disk.backing is not None:
        backing = SubElement(element, "backingStore", type="file")
        SubElement(backing, "format", type="qcow2")
        SubElement(backing, "source", file=str(disk.backing))
        SubElement(backing, "backingStore")
    elif disk.format == "qcow2":
        SubElement(element, "backingStore")
    SubElement(element, "target", dev=target, bus="virtio")
    tuned = {IOTUNE[k]: v for k, v in disk.limits.items() if k in IOTUNE}
    if tuned:
        tune = SubElement(element, "iotune")
        for key, value in tuned.items():
            _text(tune, key, round(float(value)))
    if disk.readonly:
        SubElement(element, "readonly")
    _text(element, "serial", disk.serial)


def _nic(devices: Element, nic: Nic) -> None:
    element = SubElement(devices, "interface", type=nic.kind)
    if nic.mac:
        SubElement(element, "mac", address=nic.mac)
    if nic.source:
        SubElement(element, "source", {nic.kind: nic.source})
    if nic.tap:
        SubElement(element, "target", dev=nic.tap)
    SubElement(element, "model", type="virtio")
    # No ROM to boot from: it would be searched at every start.
    SubElement(element, "rom", enabled="no")
    if nic.egress is not None:
        outbound = SubElement(SubElement(element, "bandwidth"), "outbound")
        outbound.set("average", str(kib(nic.egress)))


def cpus(machine: Machine) -> tuple[int, ...] | None:
    """The host CPUs the machine is confined to; None for all."""
    return parse_cpus(machine.cpuset) if machine.cpuset else None


def disk_xml(disk: Disk, target: str) -> str:
    """The XML of one disk, to be attached to a machine that runs."""
    parent = Element("devices")
    _disk(parent, disk, target)
    return ElementTree.tostring(parent[0], encoding="unicode")


def nic_xml(nic: Nic) -> str:
    """The XML of one interface, to be attached to a machine that runs."""
    parent = Element("devices")
    _nic(parent, nic)
    return ElementTree.tostring(parent[0], encoding="unicode")


def cache(xml: str, serial: str) -> str | None:
    """The cache mode of the disk with that serial in a domain's XML; None where it has none such."""
    for disk in ElementTree.fromstring(xml).findall("./devices/disk"):  # noqa: S314 - libvirt's own words
        driver = disk.find("driver")
        if disk.findtext("serial") == serial and driver is not None:
            return driver.get("cache") or "default"
    return None


def caches(xml: str) -> str:
    """The cache modes of the disks in a domain's XML, such as "unsafe"; "no disk" without any."""
    drivers = ElementTree.fromstring(xml).findall("./devices/disk/driver")  # noqa: S314 - libvirt's own words
    return ", ".join(sorted({driver.get("cache") or "default" for driver in drivers})) or "no disk"
