"""What every runtime has in common whose programs run on this host's own kernel and CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.host import cgroups
from bench.model import Missing, Tenant

if TYPE_CHECKING:
    from bench.image import Image
    from bench.runtimes import Ground


class NativeRuntime:
    """The part of `bench.runtimes.Runtime` that such a runtime need not say by itself."""

    baseline: ClassVar[bool] = False
    stops: ClassVar[bool] = True
    own_kernel: ClassVar[bool] = False
    needs_image: ClassVar[bool] = True
    networks: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()
    """Where a workload's files can lie, of `bench.places.PLACES`."""
    seconds: ClassVar[float]
    """What a trial costs beside its workload, as measured on one host."""

    def __init__(self, variant: str | None = None) -> None:
        self.variant = variant

    def lacks(self, limit: str) -> Missing | None:
        """Why this kernel's cgroups cannot hold `limit`, if so."""
        return cgroups.detect().lacks(limit)

    def refuses(self, tenant: Tenant) -> Missing | None:
        """Nothing beyond what `lacks` says: the kernel is asked when a sandbox is opened."""
        return None

    def misplaced(self, place: str) -> Missing | None:
        """Nothing: all that is mounted for it lies in the state directory."""
        return None

    def cost(self) -> float:
        """Seconds to make a sandbox and to remove it."""
        return self.seconds

    def emulated(self) -> bool:
        """False: what runs inside runs on the host's own CPU."""
        return False

    def trees(self, image: Image) -> Sequence[Path]:
        """The image's own tree."""
        return (image.root,)

    def lasting(self, ground: Ground) -> AbstractContextManager[None]:
        """Nothing: every trial makes its own."""
        return contextlib.nullcontext()
