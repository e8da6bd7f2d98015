"""The collector `cgroup_psi`: how long the tasks of a tenant stalled for want of CPU, memory or IO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.collectors import Counter
from bench.collectors.cgroup import FileReader
from bench.host.cgroups import detect
from bench.host.cgroups.counters import PRESSURE
from bench.model import Missing

if TYPE_CHECKING:
    from bench.runtimes import Sandbox

METRICS: dict[str, Counter] = {
    f"{resource}.pressure.{kind}": Counter("s", "counter", f"time {who} stalled on {resource}")
    for resource in ("cpu", "memory", "io")
    for kind, who in (("some", "at least one task"), ("full", "all tasks"))
}


class Collector:
    """Pressure stall information of a control group.

    The v2 hierarchy has it even where v1 owns the controllers.
    Source: Documentation/accounting/psi.rst of the kernel.
    """

    name: ClassVar[str] = "cgroup_psi"
    title: ClassVar[str] = "control group pressure"
    scope: ClassVar[Literal["tenant", "host"]] = "tenant"
    interval: ClassVar[float] = 0.5
    metrics: ClassVar[Mapping[str, Counter]] = METRICS

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def requires(self) -> Sequence[Missing]:
        """A v2 hierarchy and a kernel that keeps pressure."""
        missing = []
        if detect(self.root).unified() is None:
            missing.append(
                Missing(
                    "cgroup v2",
                    "only the v2 hierarchy has pressure files",
                    "mount -t cgroup2 none /mnt/cgroup2",
                )
            )
        if not (self.root / "proc/pressure/cpu").exists():
            missing.append(Missing("PSI", "this kernel keeps no pressure information", "boot with psi=1"))
        return missing

    def open(self, sandbox: Sandbox | None) -> FileReader | None:
        """A reader of that tenant's group; None where it has none in the v2 hierarchy."""
        if sandbox is None or sandbox.cgroup is None or sandbox.cgroup.cgroups.unified() is None:
            return None
        group = sandbox.cgroup
        unified = group.cgroups.unified()
        assert unified is not None
        reader = FileReader([(unified.mount / group.path / s.file, s) for s in PRESSURE], METRICS)
        return reader if len(reader) else None
