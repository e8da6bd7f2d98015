"""The collector `psi`: how long tasks anywhere on the host stalled for want of CPU, memory or IO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.collectors import Counter
from bench.collectors.cgroup import FileReader
from bench.host.cgroups.counters import Source, stalls
from bench.model import Missing

if TYPE_CHECKING:
    from bench.runtimes import Sandbox

RESOURCES = ("cpu", "memory", "io")
METRICS: dict[str, Counter] = {
    f"psi.{resource}.{kind}": Counter("s", "counter", f"time {who} on the host stalled on {resource}")
    for resource in RESOURCES
    for kind, who in (("some", "at least one task"), ("full", "all tasks"))
}


class Collector:
    """Pressure stall information of the host, from /proc/pressure (Documentation/accounting/psi.rst)."""

    name: ClassVar[str] = "psi"
    title: ClassVar[str] = "host pressure"
    scope: ClassVar[Literal["tenant", "host"]] = "host"
    interval: ClassVar[float] = 0.5
    metrics: ClassVar[Mapping[str, Counter]] = METRICS

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def requires(self) -> Sequence[Missing]:
        """A kernel that keeps pressure."""
        if (self.root / "proc/pressure/cpu").exists():
            return []
        return [Missing("PSI", "this kernel keeps no pressure information", "boot with psi=1")]

    def open(self, sandbox: Sandbox | None) -> FileReader | None:
        """A reader of the host's pressure; None where the kernel keeps none."""
        files = [(self.root / "proc/pressure" / r, Source("host", r, stalls(f"psi.{r}"))) for r in RESOURCES]
        reader = FileReader(files, METRICS)
        return reader if len(reader) else None
