"""The raw process: nothing is limited and nothing is hidden; what every boundary is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import ClassVar

from bench.model import Missing, Tenant
from bench.places import NATIVE
from bench.runtimes import Arena, Sandbox
from bench.sandboxes import native
from bench.sandboxes.native_runtime import NativeRuntime


class Runtime(NativeRuntime):
    """A process in the run's root view; its cgroup sets no limit and is there to be read."""

    name: ClassVar[str] = "process"
    title: ClassVar[str] = "raw process"
    baseline: ClassVar[bool] = True
    needs_image: ClassVar[bool] = False
    controls: ClassVar[frozenset[str]] = frozenset()
    seconds: ClassVar[float] = 0.06
    places: frozenset[str] = frozenset(NATIVE)

    def requires(self) -> Sequence[Missing]:
        """Nothing: every host can run a process."""
        return ()

    def lacks(self, limit: str) -> Missing | None:
        """Nothing, because nothing is in `controls`."""
        return None

    def open(self, tenant: Tenant, arena: Arena) -> AbstractContextManager[Sandbox]:
        """A parked process below the trial's guard; the tenant's limits are not applied."""
        return native.native(tenant, arena, self.controls)
