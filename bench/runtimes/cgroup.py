"""A process under cgroup limits alone: same files, same network, same process table as the host."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import ClassVar

from bench.host import cgroups
from bench.model import Missing, Tenant
from bench.places import NATIVE
from bench.runtimes import Arena, Sandbox
from bench.sandboxes import native
from bench.sandboxes.native_runtime import NativeRuntime


class Runtime(NativeRuntime):
    """Limits written straight into the tenant's cgroup and read back."""

    name: ClassVar[str] = "cgroup"
    title: ClassVar[str] = "cgroup limits"
    needs_image: ClassVar[bool] = False
    controls: ClassVar[frozenset[str]] = native.CGROUP_CONTROLS
    seconds: ClassVar[float] = 0.07
    places: frozenset[str] = frozenset(NATIVE)

    def requires(self) -> Sequence[Missing]:
        """Why this user can make no cgroup here, if so."""
        refused = cgroups.detect().refuses()
        return (refused,) if refused else ()

    def open(self, tenant: Tenant, arena: Arena) -> AbstractContextManager[Sandbox]:
        """A parked process in a cgroup with the tenant's limits already in force."""
        return native.native(tenant, arena, self.controls)
