"""A process under cgroup limits alone: same files, same network, same process table as the host."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.host import cgroups
from bench.model import Missing, Tenant
from bench.places import NATIVE
from bench.runtimes import Arena, Ground, Sandbox
from bench.sandboxes import native

if TYPE_CHECKING:
    from bench.image import Image


class Runtime:
    """Limits written straight into the tenant's cgroup and read back."""

    name: ClassVar[str] = "cgroup"
    title: ClassVar[str] = "cgroup limits"
    baseline: ClassVar[bool] = False
    stops: ClassVar[bool] = True
    own_kernel: ClassVar[bool] = False
    needs_image: ClassVar[bool] = False
    networks: frozenset[str] = frozenset()
    controls: ClassVar[frozenset[str]] = native.CGROUP_CONTROLS

    def __init__(self, variant: str | None = None) -> None:
        self.variant = variant
        self.places = frozenset(NATIVE)

    def requires(self) -> Sequence[Missing]:
        """Why this user can make no cgroup here, if so."""
        refused = cgroups.detect().refuses()
        return (refused,) if refused else ()

    def lacks(self, limit: str) -> Missing | None:
        """Why this kernel's cgroups cannot hold `limit`, if so."""
        return cgroups.detect().lacks(limit)

    def misplaced(self, place: str) -> None:
        """Nothing: all that is mounted for it lies in the state directory."""

    def cost(self) -> float:
        """Seconds to park a process in its cgroup."""
        return 0.07

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
        """Nothing: every trial makes its own."""
        return contextlib.nullcontext()

    def open(self, tenant: Tenant, arena: Arena) -> AbstractContextManager[Sandbox]:
        """A parked process in a cgroup with the tenant's limits already in force."""
        return native.native(tenant, arena, self.controls)
