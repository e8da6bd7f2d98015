"""A virtual machine as Vagrant makes it, from the box of the sandbox image, with its agent behind SSH."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, ClassVar

from bench import bootlayer
from bench.errors import LimitNotSetError, SandboxError, UsageError
from bench.host import cgroups
from bench.host.software import version
from bench.host.vm import accelerator, disks, domain, libvirtd, limits, links, live, vagrant
from bench.image import find as find_image
from bench.model import Missing, Scalar, Tenant
from bench.sandboxes import kept, machine
from bench.sandboxes.machine import MachineSandbox

if TYPE_CHECKING:
    from pathlib import Path

    from bench.image import Image
    from bench.runtimes import Arena, Ground, Sandbox
    from bench.sandboxes.kept import Kept, Pool

MEMORY = 1 << 30
"""Bytes of RAM of a machine whose memory is not limited."""
FLOOR = 128 << 20
"""The least RAM with which the box comes up to its SSH server."""
MIB = 1 << 20
SCRATCH, SWAP = "vdc", "vdd"
"""Targets of a trial's own disks; before them come the box's disk and the harness."""
_EMPTY = "find /scratch -xdev -mindepth 1 -delete; sync; echo 3 >/proc/sys/vm/drop_caches"
_AWAIT = "until [ -e /dev/disk/by-id/virtio-$0 ]; do sleep 0.05; done"


class Runtime:
    """A machine of `vagrant up`, kept for the run and given to one tenant at a time; fresh for a start."""

    name: ClassVar[str] = "vagrant"
    title: ClassVar[str] = "virtual machine (Vagrant)"
    baseline: ClassVar[bool] = False
    stops: ClassVar[bool] = False
    own_kernel: ClassVar[bool] = True
    needs_image: ClassVar[bool] = True
    networks: frozenset[str] = frozenset()
    controls: ClassVar[frozenset[str]] = limits.CONTROLS

    def __init__(self, variant: str | None = None) -> None:
        if variant is not None:
            raise UsageError(f"vagrant:{variant}: this runtime has no variants", fix="--runtimes vagrant")
        self.variant = variant
        self._pool: Pool | None = None

    def requires(self) -> Sequence[Missing]:
        """Root, Vagrant with its libvirt plug-in, libvirt's daemon, ssh, and the box."""
        if os.geteuid() != 0:
            return (
                Missing("vagrant", "only root can give a machine its bridge", "run as root: sudo bench …"),
            )
        connection = libvirtd.connect()
        if isinstance(connection, Missing):
            return (connection,)
        connection.close()
        if (missing := vagrant.missing()) is not None:
            return (missing,)
        image = find_image()
        layer = bootlayer.find(image) if image else None
        if image is not None and (layer is None or not (layer.disk.parent / "sandbox.box").is_file()):
            return (
                Missing("box", "the sandbox image has no Vagrant box yet", "sudo bench image build --box"),
            )
        return ()

    def software(self) -> Mapping[str, str]:
        """Vagrant, libvirt and the QEMU it runs."""
        return {**version("vagrant"), **libvirtd.versions()}

    def lacks(self, limit: str) -> Missing | None:
        """Why this kernel cannot hold the limit for QEMU, if so."""
        return cgroups.detect().lacks(limit) if limit in ("cpu", "cpu.weight", "io.weight") else None

    def refuses(self, tenant: Tenant) -> Missing | None:
        """Why no machine can be made with that much memory, known before one is tried."""
        wanted = int(tenant.limits.get("memory", MEMORY))
        if wanted < FLOOR:
            return Missing(
                "memory",
                f"a Vagrant guest of {wanted // MIB} MiB does not boot: this box needs {FLOOR // MIB} MiB",
                f"ask for at least memory={FLOOR // MIB}MiB",
            )
        if wanted % MIB:
            return Missing(
                "memory", "Vagrant gives a machine whole MiB", f"ask for memory={wanted // MIB}MiB"
            )
        return None

    def emulated(self) -> bool:
        """True where everything inside runs on an emulated CPU."""
        return accelerator.probe().kind == "tcg"

    def cost(self) -> float:
        """Seconds to make a machine ready for a trial, its start shared among the trials it serves."""
        return 5.0 if accelerator.known() == "kvm" else 12.0

    def start_cost(self) -> float:
        """Seconds of a `vagrant up` and of the machine's removal; measured on one host under emulation."""
        return 30.0 if accelerator.known() == "kvm" else 75.0

    def trees(self, image: Image) -> Sequence[Path]:
        """None: a machine reads its disk."""
        return ()

    @contextlib.contextmanager
    def lasting(self, ground: Ground) -> Iterator[None]:
        """The run's machines: started as trials want them, removed with the run."""
        layer = bootlayer.find(ground.image) if ground.image else None
        if layer is None:
            raise SandboxError(
                "a Vagrant machine needs the box of the sandbox image", fix="bench image build --box"
            )
        with kept.opened(ground, layer) as self._pool:
            try:
                yield
            finally:
                self._pool = None

    def open(self, tenant: Tenant, arena: Arena) -> AbstractContextManager[Sandbox]:
        """A machine of the run with the tenant's limits in force, and taken off again after it."""
        refused = self.refuses(tenant)
        if refused is not None:
            raise LimitNotSetError(f"{refused.what}: {refused.cause}", fix=refused.fix)
        if self._pool is None:
            raise SandboxError("the run's Vagrant machines are not there", fix="enter `lasting` first")
        return self._opened(self._pool, tenant, arena)

    @contextlib.contextmanager
    def _opened(self, pool: Pool, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
        memory = int(tenant.limits.get("memory", arena.params.get("machine.memory", MEMORY)))
        fresh = arena.launcher is not None
        with pool.taken(memory, fresh=fresh) as taken:
            taken.spoiled = True  # until everything of this trial is taken off again
            if not fresh:
                machine.run(taken.channel, ["/bin/sh", "-c", _EMPTY])
            with ExitStack() as stack:
                parts = self._disks(taken, tenant, arena, stack)
                network = self._network(taken, tenant, arena, stack)
                if network.nic is not None:
                    parts = limits.Parts(parts.scratch, parts.swap, network.nic.tap)
                live.limit(taken.running, tenant.limits, taken.untouched)
                limits.verify(tenant.limits, limits.effective(taken.running, parts, network.rate()))
                sandbox = KeptSandbox(
                    taken.running, taken.channel, network, tenant.name, parts, self.controls,
                    arena.disk.number if arena.disk else None, _recorded(taken, pool), at_once=fresh,
                )  # fmt: skip
                stack.callback(self._tidy, taken, sandbox)
                yield sandbox
            taken.spoiled = not taken.running.alive()

    def _tidy(self, taken: Kept, sandbox: MachineSandbox) -> None:
        """First of all that is undone: what a limit slows down is undone faster without it."""
        sandbox.close()
        if taken.running.alive():
            live.reset(taken.running, taken.untouched)

    def _disks(self, taken: Kept, tenant: Tenant, arena: Arena, stack: ExitStack) -> limits.Parts:
        """The trial's scratch and swap disks, plugged in and in use."""
        owner = None  # libvirt gives a machine of Vagrant's its files, and takes them back
        scratch = swap = None
        if arena.disk is not None:
            held = os.statvfs(arena.disk.mount)
            size = disks.scratch_size(arena.disk.size * 9 // 10, held.f_bavail * held.f_frsize)
            path = disks.scratch(arena.scratch / f"{tenant.name}.img", size, owner)
            scratch = domain.Disk(path, "isobench-scratch", direct=True, limits=tenant.limits)
            stack.enter_context(live.disk(taken.running, scratch, SCRATCH))
            stack.enter_context(
                _used(taken, scratch, ["mount", _by_id(scratch), "/scratch"], ["umount", "/scratch"])
            )
        elif any(name in domain.IOTUNE for name in tenant.limits):
            raise LimitNotSetError("IO limits need a disk", fix='add needs = ["disk"] to the experiment')
        if bytes_ := int(tenant.limits.get("swap", 0)):
            path = disks.swap(arena.scratch / f"{tenant.name}.swap", bytes_, owner)
            swap = domain.Disk(path, "isobench-swap")
            stack.enter_context(live.disk(taken.running, swap, SWAP))
            stack.enter_context(_used(taken, swap, ["swapon", _by_id(swap)], ["swapoff", _by_id(swap)]))
        return limits.Parts(SCRATCH if scratch else None, SWAP if swap else None)

    def _network(self, taken: Kept, tenant: Tenant, arena: Arena, stack: ExitStack) -> links.Network:
        """An interface to the trial's peer, where it has one, beside the one Vagrant speaks through."""
        rate = tenant.limits.get("net.egress")
        kind: links.Kind = "bridge" if "peer" in arena.needs else "none"
        network = stack.enter_context(links.opened(kind, arena, None if rate is None else float(rate)))
        if network.nic is not None:
            stack.enter_context(live.nic(taken.running, network.nic))
            machine.run(taken.channel, ["udevadm", "settle", "--timeout=20"])
            machine.set_address(taken.channel, network)
            network.limit()
        return network


class KeptSandbox(MachineSandbox):
    """A machine that outlives the trial, and so does the conversation with its agent."""

    def close(self) -> None:
        """End what the trial started in the guest and wait until it is gone."""
        self._watches.clear()
        if self._process is not None:
            self._process.close()
            if self.channel.failure is None and self.machine.alive():
                self._process.wait_gone(30.0)


@contextlib.contextmanager
def _used(taken: Kept, disk: domain.Disk, take: list[str], leave: list[str]) -> Iterator[None]:
    """The disk in use inside; the guest lets go of it at the end, if there still is one to be asked."""
    machine.run(taken.channel, ["/bin/sh", "-c", f'{_AWAIT}; exec "$@"', disk.serial, *take])
    try:
        yield
    finally:
        if taken.running.alive() and taken.channel.failure is None:
            machine.run(taken.channel, leave)


def _by_id(disk: domain.Disk) -> str:
    return f"/dev/disk/by-id/virtio-{disk.serial}"


def _recorded(taken: Kept, pool: Pool) -> dict[str, Scalar | None]:
    first = taken.uses == 0
    return {
        "engine": "libvirt",
        "machine.accelerator": taken.accelerator,
        "machine.boot": "full",
        "machine.vcpus": os.cpu_count() or 1,
        "machine.memory": taken.memory,
        "machine.qemu": libvirtd.qemu_version(pool.connection),
        "machine.reused": taken.uses,
        "machine.box": bootlayer.version(pool.layer),
        # Of the trial that waited for it; the others found it up.
        "machine.up": taken.up if first else None,
        "machine.seconds.boot": taken.booted if first else None,
        # Vagrant does not say when the domain was there.
        "machine.seconds.define": None,
    }
