"""The raw process: nothing is limited and nothing is hidden; what every boundary is compared with."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.model import Missing, Tenant
from bench.places import NATIVE
from bench.runtimes import Arena, Ground, Sandbox
from bench.sandboxes import native

if TYPE_CHECKING:
    from bench.image import Image


class Runtime:
    """A process in the run's root view; its cgroup sets no limit and is there to be read."""

    name: ClassVar[str] = "process"
    title: ClassVar[str] = "raw process"
    baseline: ClassVar[bool] = True
    stops: ClassVar[bool] = True
    own_kernel: ClassVar[bool] = False
    needs_image: ClassVar[bool] = False
    networks: frozenset[str] = frozenset()
    controls: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, variant: str | None = None) -> None:
        self.variant = variant
        self.places = frozenset(NATIVE)

    def requires(self) -> Sequence[Missing]:
        """Nothing: every host can run a process."""
        return ()

    def lacks(self, limit: str) -> Missing | None:
        """Nothing, because nothing is in `controls`."""
        return None

    def misplaced(self, place: str) -> None:
        """Nothing: all that is mounted for it lies in the state directory."""

    def cost(self) -> float:
        """Seconds to park a process."""
        return 0.06

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
        """A parked process below the trial's guard; the tenant's limits are not applied."""
        return native.native(tenant, arena, self.controls)
