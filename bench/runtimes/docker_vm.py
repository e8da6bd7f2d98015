"""A container of an engine in a hidden virtual machine, as Docker Desktop arranges it.

The machine is booted once for a run; a trial is a fresh container in it.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from bench.errors import BenchError, LimitNotSetError, SandboxError, UsageError
from bench.host import engines
from bench.host.vm import accelerator, libvirtd
from bench.model import Missing, Tenant
from bench.runtimes import libvirt
from bench.sandboxes import container_config, engine_machine
from bench.sandboxes.container import ContainerSandbox
from bench.sandboxes.container_guest import InGuest

if TYPE_CHECKING:
    from pathlib import Path

    from bench.image import Image
    from bench.runtimes import Arena, Ground, Sandbox
    from bench.sandboxes.engine_machine import EngineMachine

BOOTS = 3
"""Times the machine is booted in a run before its trials are given up."""


class Runtime:
    """Docker in a hidden libvirt machine: `docker-vm`."""

    name: ClassVar[str] = "docker-vm"
    title: ClassVar[str] = "Docker container in a hidden VM"
    baseline: ClassVar[bool] = False
    # The machine has no network: a bridge in it is none of this host, where a peer could stand.
    controls: ClassVar[frozenset[str]] = container_config.CONTROLS - {"net.egress"}
    stops: ClassVar[bool] = True
    own_kernel: ClassVar[bool] = True
    needs_image: ClassVar[bool] = True
    networks: frozenset[str] = frozenset()

    def __init__(self, variant: str | None = None) -> None:
        if variant:
            raise UsageError(f"docker-vm has no variant '{variant}'", fix="--runtimes docker-vm")
        self.variant = variant
        self._libvirt = libvirt.Runtime("full")
        self._ground: Ground | None = None
        self._stack = ExitStack()
        self._machine: EngineMachine | None = None
        self._partition: str | None = None
        self._boots = 0

    def requires(self) -> Sequence[Missing]:
        """What a machine needs, and the library that speaks to its engine."""
        missing = list(self._libvirt.requires())
        if importlib.util.find_spec("docker") is None:
            missing.append(Missing("docker-py", "docker-py is not installed", "pip install docker"))
        return missing

    def software(self) -> Mapping[str, str]:
        """libvirt and the QEMU it runs. What the engine inside is stands in every trial."""
        return libvirtd.versions()

    def lacks(self, limit: str) -> Missing | None:
        """Nothing known before the machine is up: its kernel is the boot layer's, with cgroup v2."""
        return None

    def refuses(self, tenant: Tenant) -> Missing | None:
        """Nothing: the engine itself says what it does not take."""
        return None

    def cost(self) -> float:
        """Seconds to create, watch and remove a container; measured on one host under emulation."""
        return 1.5 if accelerator.known() == "kvm" else 9.0

    def emulated(self) -> bool:
        """True where everything inside runs on an emulated CPU."""
        return self._libvirt.emulated()

    def trees(self, image: Image) -> Sequence[Path]:
        """None: a machine reads its disk."""
        return ()

    @contextlib.contextmanager
    def lasting(self, ground: Ground) -> Iterator[None]:
        """The machine. One that does not come up is a note, and tried again for the first trial."""
        with engine_machine.partition(ground) as self._partition:
            self._ground, self._boots = ground, 0
            try:
                try:
                    self._booted()
                except BenchError as error:
                    ground.note(f"{self.name}: {error.message}")
                yield
            finally:
                self._ground = None
                self._down()

    def _booted(self) -> EngineMachine:
        """The machine, booted anew where it has died; SandboxError where that was done too often."""
        if self._machine is not None and self._machine.alive():
            return self._machine
        self._down()
        if self._ground is None:
            raise SandboxError("docker-vm keeps its machine over a run", fix="enter Runtime.lasting first")
        if self._boots >= BOOTS:
            raise SandboxError(
                f"the hidden machine was booted {BOOTS} times in this run and is not running",
                fix="read its serial logs below output/ of the run",
            )
        self._boots += 1
        self._ground.note("booting the hidden machine" + (" again" if self._boots > 1 else ""))
        booted = engine_machine.booted(self._ground, self._boots - 1, self._partition)
        self._machine = self._stack.enter_context(booted)
        return self._machine

    def _down(self) -> None:
        self._machine = None
        self._stack.close()

    @contextlib.contextmanager
    def open(self, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
        """Everything but the container itself, which the engine creates once it knows the command."""
        if "peer" in arena.needs:
            raise LimitNotSetError(
                "the hidden machine has no network that reaches a peer", fix="use docker or libvirt"
            )
        hidden = self._booted()
        disk = "disk" in arena.needs
        if disk:
            hidden.schedule(str(arena.params.get("scheduler", "none")))
        scratch = f"/scratch/{arena.trial:05d}.{tenant.name}"
        with ExitStack() as stack:
            sandbox = ContainerSandbox(
                client=hidden.client, engine="docker", image=hidden.image, tenant=tenant, run=arena.run,
                name=container_config.container_name(arena.run, arena.trial, tenant.name),
                config=self._config(hidden, tenant, arena, scratch), controls=self.controls,
                place=InGuest(hidden, tenant.name, scratch, disk), at_once=arena.launcher is not None,
            )  # fmt: skip
            stack.callback(sandbox.close)
            yield sandbox
            if not hidden.alive():
                raise hidden.trouble()

    def _config(self, hidden: EngineMachine, tenant: Tenant, arena: Arena, scratch: str) -> dict[str, Any]:
        asked = container_config.arguments(
            tenant.limits, hidden.device if "disk" in arena.needs else None, version=2,
            rescaled=hidden.rescaled, network="none", parent=f"isobench-{arena.trial}.slice",
            binds=["/opt/isobench/workloads:/workloads:ro", f"{scratch}:/scratch:rw"],
        )  # fmt: skip
        with engines.speaking("putting the limits together"):
            config: dict[str, Any] = hidden.client.api.create_host_config(**asked)
        return config
