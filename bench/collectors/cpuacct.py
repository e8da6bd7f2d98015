"""The collector `cpuacct`: CPU time to the nanosecond, of the host and of all sandboxes together.

/proc/stat counts ticks of 10 ms, several of which are longer than a whole start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.collectors import Counter
from bench.collectors.cgroup import FileReader
from bench.host.cgroups import Cgroups, detect
from bench.host.cgroups.counters import Source, keyed, one
from bench.host.cgroups.leftovers import OUTER
from bench.model import Missing

if TYPE_CHECKING:
    from bench.runtimes import Sandbox

METRICS: dict[str, Counter] = {
    "cpuacct.host": Counter("s", "counter", "CPU time used by all tasks of the host"),
    "cpuacct.tenants": Counter("s", "counter", "CPU time used in the sandboxes of this program"),
}


class Collector:
    """CPU time of the root group and of the group that holds every run, sandboxes that are gone included.

    Only v1 has an exact number for the root; v2 makes that of its root out of the ticks of /proc/stat.
    """

    name: ClassVar[str] = "cpuacct"
    title: ClassVar[str] = "exact CPU time"
    scope: ClassVar[Literal["tenant", "host"]] = "host"
    interval: ClassVar[float] = 1.0
    metrics: ClassVar[Mapping[str, Counter]] = METRICS

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def requires(self) -> Sequence[Missing]:
        """Nothing: without control groups there are no sandboxes in them, and no reading."""
        return []

    def open(self, sandbox: Sandbox | None) -> FileReader | None:
        """A reader of both groups, or of the one that exists; None without any."""
        cgroups = detect(self.root)
        reader = FileReader([*_host(cgroups), *_tenants(cgroups)], METRICS)
        return reader if len(reader) else None


def _host(cgroups: Cgroups) -> list[tuple[Path, Source]]:
    """The root's own file. A container sees its own group there; only the true root has release_agent."""
    owner = cgroups.owner("cpuacct")
    if owner is None or owner.version != 1 or not (owner.mount / "release_agent").exists():
        return []
    return [(owner.mount / "cpuacct.usage", Source("cpuacct", "cpuacct.usage", one("cpuacct.host", 1e-9)))]


def _tenants(cgroups: Cgroups) -> list[tuple[Path, Source]]:
    owner = cgroups.owner("cpuacct") or cgroups.unified()
    if owner is None:
        return []
    if owner.version == 1:
        source = Source("cpuacct", "cpuacct.usage", one("cpuacct.tenants", 1e-9))
    else:
        source = Source("cpu", "cpu.stat", keyed({"usage_usec": "cpuacct.tenants"}, 1e-6))
    return [(owner.mount / cgroups.group(OUTER).path / source.file, source)]
