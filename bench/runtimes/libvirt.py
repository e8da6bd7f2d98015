"""A virtual machine through libvirt: a fresh one for every tenant, booted before the clock starts."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast, get_args

from bench import bootlayer
from bench.errors import LimitNotSetError, SandboxError, UsageError
from bench.host import cgroups
from bench.host.vm import accelerator, disks, domain, libvirtd, limits, links, machines, resuming
from bench.image import Image
from bench.image import find as find_image
from bench.limits import nearest
from bench.model import PLACE, Missing, Scalar, Tenant
from bench.sandboxes import machine, machine_place
from bench.sandboxes.machine import MachineSandbox

if TYPE_CHECKING:
    from bench.bootlayer import BootLayer
    from bench.runtimes import Arena, Ground, Sandbox

MEMORY = 1 << 30
"""Bytes of RAM of a machine whose memory is not limited."""
BOOT_DEADLINE = {"micro": 60.0, "full": 180.0}
_AFTER_BOOT = frozenset({"cpu", "net.egress"})
"""Limits that are set when the guest is up: its boot is no part of a workload."""
PROGRAMS = (
    ("qemu-system-x86_64", "qemu-system-x86"), ("qemu-img", "qemu-utils"), ("mke2fs", "e2fsprogs"),
    ("mkswap", "util-linux"), ("cc", "gcc libc6-dev"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Variant:
    """What follows the colon: how the machine boots, and its network where one is named."""

    boot: Literal["micro", "full"] = "micro"
    network: links.Kind | None = None


def parse_variant(text: str | None) -> Variant:
    """ "micro", "full+user", "bridge", …; UsageError with the known words otherwise."""
    boots, networks = ("micro", "full"), get_args(links.Kind)
    chosen: dict[str, str] = {}
    for word in (text or "").split("+") if text else ():
        kind = "boot" if word in boots else "network" if word in networks else ""
        if not kind or kind in chosen:
            near = nearest(word, boots + networks)
            problem = f"a second {kind}" if kind else f"no boot and no network{near}"
            raise UsageError(
                f"libvirt:{text}: '{word}' is {problem}",
                fix=f"libvirt:BOOT+NETWORK of {', '.join(boots)} and {', '.join(networks)}",
            )
        chosen[kind] = word
    return Variant(cast(Any, chosen.get("boot", "micro")), cast(Any, chosen.get("network")))


class Runtime:
    """A libvirt domain from the image's boot layer: `libvirt`, `libvirt:full`, `libvirt:micro+user`."""

    name: ClassVar[str] = "libvirt"
    title: ClassVar[str] = "virtual machine (libvirt)"
    baseline: ClassVar[bool] = False
    stops: ClassVar[bool] = False
    own_kernel: ClassVar[bool] = True
    needs_image: ClassVar[bool] = True
    networks: frozenset[str] = frozenset()
    controls: ClassVar[frozenset[str]] = limits.CONTROLS

    def __init__(self, variant: str | None = None) -> None:
        self.variant = variant
        self._chosen = parse_variant(variant)
        self._harness: Path | None = None
        self._initrd: Path | None = None
        self.places = machine_place.OFFERED

    def requires(self) -> Sequence[Missing]:
        """libvirt's binding and daemon, QEMU, and the boot layer on the sandbox image."""
        missing = [
            Missing(program, f"{program} is not in PATH", f"apt-get install {package}")
            for program, package in PROGRAMS
            if shutil.which(program) is None
        ]
        connection = libvirtd.connect()
        if isinstance(connection, Missing):
            missing.insert(0, connection)
        else:
            connection.close()
        image = find_image()
        if image is not None and bootlayer.find(image) is None:
            missing.append(Missing("boot layer", "the sandbox image has no boot layer yet",
                                   "sudo bench image build --vm"))  # fmt: skip
        return missing

    def software(self) -> Mapping[str, str]:
        """libvirt and the QEMU it runs."""
        return libvirtd.versions()

    def lacks(self, limit: str) -> Missing | None:
        """Why libvirt cannot hold `limit` for this user, network or kernel, if so."""
        if limit == "net.egress" and self._chosen.network not in (None, "bridge"):
            return Missing(limit, f"a machine's '{self._chosen.network}' network has no rate control",
                           "use the bridge: libvirt:micro+bridge")  # fmt: skip
        if limit == "net.egress" and os.geteuid() != 0:
            return Missing(limit, "only root can put a machine on a bridge", "run as root")
        if limit in ("cpu", "cpu.weight", "io.weight"):
            if libvirtd.uri() == libvirtd.SESSION:
                return Missing(limit, "qemu:///session may make no cgroups", "run as root: sudo bench …")
            return cgroups.detect().lacks(limit)
        return None

    def refuses(self, tenant: Tenant) -> Missing | None:
        """Why no machine can be made with the values of these limits, known before one is tried."""
        try:
            limits.check_memory(self._chosen.boot, tenant.limits.get("memory"))
        except LimitNotSetError as error:
            return Missing("memory", error.message, error.fix or "")
        return None

    def misplaced(self, place: str) -> None:
        """Nothing: all of a machine's disks lie in the state directory."""

    def cost(self) -> float:
        """Seconds to define, boot and remove a machine; measured on one host under emulation."""
        native = accelerator.known() == "kvm"
        return {"micro": 2.5 if native else 6.0, "full": 6.0 if native else 15.0}[self._chosen.boot]

    def emulated(self) -> bool:
        """True where everything inside runs on an emulated CPU."""
        return accelerator.probe().kind == "tcg"

    def trees(self, image: Image) -> Sequence[Path]:
        """None: a machine reads its disk."""
        return ()

    def lasting(self, ground: Ground) -> AbstractContextManager[None]:
        """Nothing: every trial makes its own machines."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def open(self, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
        """A booted machine with the tenant's limits in force."""
        layer = _layer(arena.image)
        limits.check_memory(self._chosen.boot, tenant.limits.get("memory"))
        connection = libvirtd.connect()
        if isinstance(connection, Missing):
            raise SandboxError(f"{self.name}: {connection.cause}", fix=connection.fix)
        with ExitStack() as stack:
            stack.callback(connection.close)
            rate = tenant.limits.get("net.egress")
            kind: links.Kind = self._chosen.network or ("bridge" if "peer" in arena.needs else "none")
            network = stack.enter_context(links.opened(kind, arena, None if rate is None else float(rate)))
            made, parts = self._design(tenant, arena, layer, network, connection, stack)
            stamped: dict[str, float] = {}
            if arena.launcher is not None:
                stamped = stack.enter_context(resuming.heard(connection, made.name))
            running = stack.enter_context(machines.started(made, connection, arena.ledger))
            stamped["domain.asked"] = running.created
            channel = stack.enter_context(machine.connected(running))
            early = {name: value for name, value in tenant.limits.items() if name not in _AFTER_BOOT}
            late = {name: value for name, value in tenant.limits.items() if name in _AFTER_BOOT}
            recorded: dict[str, Scalar | None] = {"disk.path": str(made.disks[0].path)}
            place = arena.params.get(PLACE)
            try:  # to ask libvirt and the kernel takes time, which passes while the guest boots
                recorded |= self._recorded(made, running, connection)
                recorded |= machine_place.facts(place, made.disks, running.domain.XMLDesc())
                limits.verify(early, limits.effective(running, parts, network.rate()))
            except SandboxError:
                if running.alive():
                    raise  # of a guest that ended meanwhile, what follows says why
            machine.await_agent(channel, running, BOOT_DEADLINE[self._chosen.boot], made.serial_log)
            recorded["machine.seconds.boot"] = time.monotonic() - running.created
            machine.set_address(channel, network)
            network.limit()
            if "cpu" in late:
                limits.set_quota(running, float(late["cpu"]))
            if late:
                limits.verify(late, limits.effective(running, parts, network.rate()))
            sandbox = MachineSandbox(
                running, channel, network, tenant.name, parts, self.controls,
                arena.disk.number if arena.disk else None, recorded,
                at_once=arena.launcher is not None,
                stamped=stamped,
                serial=made.serial_log,
                files=machine_place.settled(place, channel),
            )  # fmt: skip
            stack.callback(sandbox.close)
            yield sandbox

    def _recorded(
        self, made: domain.Machine, running: machines.Running, connection: Any
    ) -> dict[str, Scalar | None]:
        return {
            "engine": "libvirt",
            "machine.accelerator": running.accelerator(), "machine.boot": self._chosen.boot,
            "machine.vcpus": made.vcpus, "machine.memory": made.memory,
            "machine.qemu": libvirtd.qemu_version(connection),
            "machine.disk.cache": domain.caches(running.domain.XMLDesc()),
        }  # fmt: skip

    def _design(
        self, tenant: Tenant, arena: Arena, layer: BootLayer, network: links.Network, connection: Any,
        stack: ExitStack,
    ) -> tuple[domain.Machine, limits.Parts]:  # fmt: skip
        name = domain.name(arena.run, arena.trial, tenant.name)
        owner = libvirtd.qemu_user(connection) if libvirtd.uri() == libvirtd.SYSTEM else None
        files = stack.enter_context(disks.directory(name, arena.ledger))
        attached = self._disks(tenant, arena, layer, files, owner)
        disks.check_reachable([disk.path for disk in attached], owner)
        targets = {disk.serial: f"vd{chr(ord('a') + i)}" for i, disk in enumerate(attached)}
        tap = network.nic.tap if network.nic and network.nic.egress is not None else None
        parts = limits.Parts(targets.get("isobench-scratch"), targets.get("isobench-swap"), tap)
        return domain.Machine(
            name=name, accelerator=accelerator.probe().kind, vcpus=os.cpu_count() or 1,
            memory=int(tenant.limits.get("memory", arena.params.get("machine.memory", MEMORY))),
            kernel=layer.kernel, initrd=self._initramfs(layer),
            command_line=bootlayer.command_line(self._chosen.boot), disks=attached,
            nics=[network.nic] if network.nic else [],
            serial_log=arena.log(tenant.name, "serial.log") or files / "serial.log",
            partition=arena.guard.path if arena.guard else None,
            weight=_whole(tenant.limits.get("cpu.weight")), cpuset=_text(tenant.limits.get("cpuset")),
            io_weight=_whole(tenant.limits.get("io.weight")), owner=owner,
            cgroup_version=cgroups.detect().version("cpu") or 2,
        ), parts  # fmt: skip

    def _initramfs(self, layer: BootLayer) -> Path:
        if self._initrd is None or not self._initrd.exists():
            self._initrd = bootlayer.initrd(layer, self._chosen.boot)
        return self._initrd

    def _disks(
        self, tenant: Tenant, arena: Arena, layer: BootLayer, files: Path, owner: disks.Owner
    ) -> list[domain.Disk]:
        if self._harness is None or not self._harness.exists():
            self._harness = bootlayer.harness()
        root = disks.overlay(files / "root.qcow2", layer.disk, owner)
        found = [domain.Disk(root, "isobench-root", "qcow2", layer.disk),
                 domain.Disk(self._harness, "isobench-harness", readonly=True)]  # fmt: skip
        own = machine_place.disk(arena.params.get(PLACE), files, owner)
        if own is not None:
            found.append(own)
        elif arena.disk is not None:
            held = os.statvfs(arena.disk.mount)
            size = disks.scratch_size(arena.disk.size * 9 // 10, held.f_bavail * held.f_frsize)
            path = disks.scratch(arena.scratch / f"{tenant.name}.img", size, owner)
            found.append(domain.Disk(path, "isobench-scratch", direct=True, limits=tenant.limits))
        elif any(name in domain.IOTUNE for name in tenant.limits):
            raise LimitNotSetError(
                "IO limits need a disk to apply to", fix='add needs = ["disk"] to the experiment'
            )
        if size := int(tenant.limits.get("swap", 0)):
            found.append(domain.Disk(disks.swap(files / "swap.img", size, owner), "isobench-swap"))
        return found


def _layer(image: Image | None) -> BootLayer:
    layer = bootlayer.find(image) if image else None
    if layer is None:
        raise SandboxError(
            "a machine needs the boot layer of the sandbox image", fix="bench image build --vm"
        )
    return layer


def _whole(value: Scalar | None) -> int | None:
    return None if value is None else int(value)


def _text(value: Scalar | None) -> str | None:
    return None if value is None else str(value)
