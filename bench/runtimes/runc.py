"""A container without an engine: an OCI bundle run by the OCI runtime itself, `runc` or the variant's.

A variant of mechanisms (`runc:ns+net+caps`) is the same bundle with those alone: rungs of a ladder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench import compiled, places
from bench import workload as workloads
from bench.errors import BenchError, SandboxError
from bench.host import bridge, bundle, cgroups, mechanisms, network, oci
from bench.host.cgroups import files
from bench.host.software import version
from bench.model import HOOKS, Missing, Scalar, Tenant
from bench.sandboxes import filter as filters
from bench.sandboxes import housing, joining, native, tenancy
from bench.sandboxes.native_runtime import NativeRuntime

if TYPE_CHECKING:
    from bench.host.cgroups import Group
    from bench.host.network import Pair
    from bench.runtimes import Arena, Ground, Sandbox


STAMPS = "moments"
"""Name of the file in the tenant's scratch directory that hooks stamp into."""


class Runtime(NativeRuntime):
    """The OCI runtime under the engines, spoken to without one: `runc`, `runc:crun`, `runc:ns+caps`."""

    name: ClassVar[str] = "runc"
    title: ClassVar[str] = "OCI bundle (runc)"
    seconds: ClassVar[float] = 0.2
    networks: frozenset[str] = frozenset({"none", "bridge"})
    controls: ClassVar[frozenset[str]] = native.CGROUP_CONTROLS | {"net.egress"}

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self.words = mechanisms.chosen(variant) if variant and mechanisms.is_named(variant) else ()
        """The mechanisms it has; () for the bundle with all that it needs by itself."""
        self.command = "runc" if self.words else variant or "runc"
        self._filter: filters.Filter | None = None
        if self.words and mechanisms.NET not in self.words:
            self.networks = frozenset()
        # Without an overlay the root is the image itself, which nobody writes to.
        root = {places.ROOT} if mechanisms.OVERLAY in self.words else set()
        self.places = frozenset({places.BIND, places.TMPFS} | root)

    def requires(self) -> Sequence[Missing]:
        """The OCI runtime itself, root, and cgroups it takes."""
        found = cgroups.detect()
        missing = [found.refuses(), oci.refuses(self.command, found.mode)]
        if shutil.which(self.command) is None:
            missing.append(
                Missing(self.command, f"{self.command} is not in PATH", f"apt-get install {self.command}")
            )
        if os.geteuid() != 0:
            missing.append(Missing("root", "a container without a user namespace needs root", "run as root"))
        missing.append(mechanisms.lacking(self.words))
        if mechanisms.SECCOMP in self.words:
            missing.append(filters.missing())
        if self.command == "runsc":
            missing.append(
                Missing(
                    "runc:runsc",
                    "gVisor's workload is no process of this host, whose end could be waited for",
                    "use docker:runsc",
                )
            )
        return [need for need in missing if need is not None]

    def lacks(self, limit: str) -> Missing | None:
        """Why this kernel's cgroups cannot hold `limit`, if so; root, who runs this, shapes links."""
        return None if limit == "net.egress" else super().lacks(limit)

    def software(self) -> Mapping[str, str]:
        """The OCI runtime."""
        return version(self.command)

    @contextlib.contextmanager
    def lasting(self, ground: Ground) -> Iterator[None]:
        """The bridge its containers join, where they do, and the filter of its system calls.

        Where none can be read each trial says so as well, and the others go on.
        """
        with ExitStack() as stack:
            if ground.networked or mechanisms.NET in self.words:
                stack.enter_context(bridge.opened(ground.ledger, ground.run))
            if mechanisms.SECCOMP in self.words:
                try:
                    self._filter = filters.read(ground)
                except BenchError as error:
                    ground.note(f"{self.name}:{self.variant}: {error.message}")
            yield

    @contextlib.contextmanager
    def open(self, tenant: Tenant, arena: Arena) -> Iterator[Sandbox]:
        """Everything but the container itself, which is only created once its command is known."""
        if arena.guard is None:
            raise SandboxError(
                f"{self.name} needs a control group to put the container in", fix="run as root"
            )
        group = arena.guard.child(tenant.name)
        device = arena.disk.number if arena.disk else None
        with ExitStack() as stack:
            scratch = stack.enter_context(tenancy.scratch(tenant, arena))
            joined = stack.enter_context(self._network(tenant, arena))
            directory = arena.scratch / f"{tenant.name}.bundle"
            directory.mkdir()
            stack.callback(shutil.rmtree, directory)
            layer = None
            if mechanisms.OVERLAY in self.words:
                layer = stack.enter_context(housing.overlay(arena, directory))
            house = housing.bundled(arena, scratch, directory / "upper")
            configure = _configuration(tenant, arena, group, scratch, joined.netns)
            made = bundle.Bundle(
                self.command,
                oci.container_id(group.path),
                directory,
                self._with_mechanisms(configure, layer) if self.words else configure,
                partial(native.differences, group, tenant, device) if arena.launcher is None else None,
                stamps=scratch / STAMPS if arena.params.get(HOOKS) else None,
            )
            stack.enter_context(bundle.opened(made, group.path, arena.ledger))
            sandbox = BundleSandbox(
                made,
                group,
                "/workloads",
                "/scratch",
                joined.peer,
                self.controls,
                device,
                joined.pair,
                recorded=lambda: {
                    "oci.runtime": self.command,
                    "container": made.id,
                    **self._facts(joined),
                    **made.facts,
                    **housing.facts(house),
                },
                outside=scratch,
                files=house.inside,
            )
            stack.callback(sandbox.close)
            yield sandbox

    @contextlib.contextmanager
    def _network(self, tenant: Tenant, arena: Arena) -> Iterator[Joined]:
        """What the container is joined to: the peer's link, the run's bridge, or the host's own network."""
        with ExitStack() as stack:
            if self.words and mechanisms.NET not in self.words:
                server = network.loopback_server(arena) if "peer" in arena.needs else None
                yield Joined(peer=stack.enter_context(server) if server else None)
                return
            pair = stack.enter_context(tenancy.network(tenant, arena))
            if pair is not None:
                yield Joined(network.NETNS_DIR / pair.netns, pair.peer, pair)
            elif mechanisms.NET in self.words:
                netns = stack.enter_context(bridge.joined(arena.ledger, arena.run))
                yield Joined(netns, mtu=bridge.mtu(netns))
            else:
                yield Joined(stack.enter_context(joining.joined(arena)))

    def _with_mechanisms(self, configure: bundle.Configure, layer: Path | None) -> bundle.Configure:
        """The same bundle with the variant's mechanisms alone; SandboxError where there is no filter."""
        profile = self._filter.profile if self._filter else None
        if mechanisms.SECCOMP in self.words and profile is None:
            raise SandboxError("Docker's system call filter could not be read", fix=filters.FIX)
        powers = mechanisms.held(_status())

        def configured(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> dict[str, Any]:
            full = configure(argv, env, cwd)
            return mechanisms.configured(full, self.words, held=powers, root=layer, seccomp=profile)

        return configured

    def _facts(self, joined: Joined) -> dict[str, Scalar | None]:
        """The mechanisms of a rung, the MTU of its link, and what its filter is."""
        if not self.words:
            return {}
        found: dict[str, Scalar | None] = {"mechanisms": "+".join(self.words)}
        if joined.mtu is not None:
            found["network.mtu"] = joined.mtu
        return found | (self._filter.facts() if self._filter else {})


@dataclass(frozen=True, slots=True)
class Joined:
    """Where a container is on the network; all None on the host's own."""

    netns: Path | None = None
    peer: str | None = None
    pair: Pair | None = None
    mtu: int | None = None
    """Of its link to the run's bridge, as read back."""


def _status() -> str:
    return Path("/proc/self/status").read_text()


class BundleSandbox(native.NativeSandbox):
    """A container of an OCI runtime, whose calls and hooks are stamped."""

    __slots__ = ()

    def moments(self) -> Mapping[str, float]:
        """When `create` had ended, and each hook began."""
        assert isinstance(self.parked, bundle.Bundle)
        return dict(self.parked.moments)


def _configuration(
    tenant: Tenant, arena: Arena, group: Group, scratch: Path, netns: Path | None
) -> bundle.Configure:
    """What makes config.json of a command line; LimitNotSetError where a limit cannot be said."""
    if arena.image is None:
        raise SandboxError("an OCI bundle needs the sandbox image", fix="bench image build")
    device = arena.disk.number if arena.disk else None
    limits = {name: value for name, value in tenant.limits.items() if name in native.CGROUP_CONTROLS}
    asked = oci.resources(limits, partial(_io_file, arena.guard), device, unified=group.cgroups.mode == "v2")
    root = arena.image.root
    hooks = None
    if arena.params.get(HOOKS):
        outside = compiled.program(root, "moment"), scratch / STAMPS
        hooks = oci.stamping(outside, (f"{workloads.COMPILED}/moment", f"/scratch/{STAMPS}"))

    def configure(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> dict[str, Any]:
        full = oci.configuration(
            argv, env, cwd,
            root=root, hostname=tenant.name, cgroup=group.path, resources=asked,
            binds={"/workloads": (arena.workloads, "ro"), "/scratch": (scratch, "rw")},
            netns=netns, hooks=hooks,
        )  # fmt: skip
        return full | {"mounts": [*full["mounts"], *housing.further_mounts(arena)]}

    return configure


def _io_file(guard: Group | None, controller: str, name: str) -> str | None:
    """Text of a file of the guard, for what there is to set IO weights; a new group holds nothing else."""
    if guard is None or controller != "io" or guard.cgroups.owner(controller) is None:
        return None
    return files.read(guard.file(controller, name))
