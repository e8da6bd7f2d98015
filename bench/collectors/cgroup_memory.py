"""The collector `cgroup_memory`: what the memory of a tenant is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.collectors import Counter
from bench.collectors.cgroup import FileReader, sources
from bench.host.cgroups import counters, detect
from bench.model import Missing

if TYPE_CHECKING:
    from bench.runtimes import Sandbox

METRICS: dict[str, Counter] = {
    "memory.anon": Counter("B", "gauge", "anonymous memory"),
    "memory.file": Counter("B", "gauge", "page cache, tmpfs included"),
    "memory.inactive_file": Counter("B", "gauge", "page cache that is reclaimed first"),
    "memory.shmem": Counter("B", "gauge", "tmpfs and shared memory"),
    "memory.kernel": Counter("B", "gauge", "kernel memory"),
    "memory.pgfault": Counter("1", "counter", "page faults"),
    "memory.pgmajfault": Counter("1", "counter", "page faults that read from disk"),
    "memory.swap.current": Counter("B", "gauge", "swap used"),
}


class Collector:
    """The parts of a control group's memory; memory.stat is dear to read, hence less often than `cgroup`."""

    name: ClassVar[str] = "cgroup_memory"
    title: ClassVar[str] = "control group memory by kind"
    scope: ClassVar[Literal["tenant", "host"]] = "tenant"
    interval: ClassVar[float] = 0.5
    metrics: ClassVar[Mapping[str, Counter]] = METRICS

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def requires(self) -> Sequence[Missing]:
        """A hierarchy with the memory controller."""
        missing = detect(self.root).lacks("memory")
        return [missing] if missing else []

    def open(self, sandbox: Sandbox | None) -> FileReader | None:
        """A reader of that tenant's group; None where it has none."""
        if sandbox is None or sandbox.cgroup is None:
            return None
        reader = FileReader(sources(sandbox.cgroup, counters.V1_MEMORY, counters.V2_MEMORY), METRICS)
        return reader if len(reader) else None
