"""A container without an engine: an OCI bundle run by the OCI runtime itself, `runc` or the variant's."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from bench import compiled
from bench import workload as workloads
from bench.errors import SandboxError
from bench.host import bridge, bundle, cgroups, network, oci
from bench.host.cgroups import files
from bench.host.software import version
from bench.model import HOOKS, Missing, Tenant
from bench.sandboxes import joining, native

if TYPE_CHECKING:
    from pathlib import Path

    from bench.host.cgroups import Group
    from bench.image import Image
    from bench.runtimes import Arena, Ground, Sandbox


STAMPS = "moments"
"""Name of the file in the tenant's scratch directory that hooks stamp into."""


class Runtime:
    """The OCI runtime under the engines, spoken to without one: `runc`, `runc:crun`."""

    name: ClassVar[str] = "runc"
    title: ClassVar[str] = "OCI bundle (runc)"
    baseline: ClassVar[bool] = False
    own_kernel: ClassVar[bool] = False
    needs_image: ClassVar[bool] = True
    networks: frozenset[str] = frozenset({"none", "bridge"})
    stops: ClassVar[bool] = True
    controls: ClassVar[frozenset[str]] = native.CGROUP_CONTROLS | {"net.egress"}

    def __init__(self, variant: str | None = None) -> None:
        self.variant = variant
        self.command = variant or "runc"

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
        return None if limit == "net.egress" else cgroups.detect().lacks(limit)

    def software(self) -> Mapping[str, str]:
        """The OCI runtime."""
        return version(self.command)

    def cost(self) -> float:
        """Seconds to create, start and delete a container."""
        return 0.2

    def refuses(self, tenant: Tenant) -> Missing | None:
        """Nothing beyond what `lacks` says: the kernel is asked when a sandbox is opened."""
        return None

    def emulated(self) -> bool:
        """False: what runs inside runs on the host's own CPU."""
        return False

    def trees(self, image: Image) -> Sequence[Path]:
        """The image's own tree."""
        return (image.root,)

    def lasting(self, ground: Ground) -> AbstractContextManager[None]:
        """The bridge its containers join, where a case asks for one."""
        return bridge.opened(ground.ledger, ground.run) if ground.networked else contextlib.nullcontext()

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
            scratch = stack.enter_context(native.tenant_scratch(tenant, arena))
            pair = stack.enter_context(native.tenant_network(tenant, arena))
            joined = stack.enter_context(joining.joined(arena))
            netns = network.NETNS_DIR / pair.netns if pair else joined
            directory = arena.scratch / f"{tenant.name}.bundle"
            directory.mkdir()
            stack.callback(shutil.rmtree, directory)
            made = bundle.Bundle(
                self.command,
                oci.container_id(group.path),
                directory,
                _configuration(tenant, arena, group, scratch, netns),
                partial(native.differences, group, tenant, device) if arena.launcher is None else None,
                stamps=scratch / STAMPS if arena.params.get(HOOKS) else None,
            )
            stack.enter_context(bundle.opened(made, group.path, arena.ledger))
            sandbox = BundleSandbox(
                made,
                group,
                "/workloads",
                "/scratch",
                pair.peer if pair else None,
                self.controls,
                device,
                pair,
                recorded=lambda: {"oci.runtime": self.command, "container": made.id, **made.facts},
                outside=scratch,
            )
            stack.callback(sandbox.close)
            yield sandbox


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
        return oci.configuration(
            argv, env, cwd,
            root=root, hostname=tenant.name, cgroup=group.path, resources=asked,
            binds={"/workloads": (arena.workloads, "ro"), "/scratch": (scratch, "rw")},
            netns=netns, hooks=hooks,
        )  # fmt: skip

    return configure


def _io_file(guard: Group | None, controller: str, name: str) -> str | None:
    """Text of a file of the guard, for what there is to set IO weights; a new group holds nothing else."""
    if guard is None or controller != "io" or guard.cgroups.owner(controller) is None:
        return None
    return files.read(guard.file(controller, name))
