"""The collector `host`: what the rest of the machine does meanwhile, so that a disturbed trial shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bench.collectors import Counter
from bench.collectors.cgroup import FileReader
from bench.host.cgroups.counters import Source, Values, keyed
from bench.model import Missing

if TYPE_CHECKING:
    from bench.runtimes import Sandbox

METRICS: dict[str, Counter] = {
    "host.cpu.total": Counter("s", "counter", "CPU time of all CPUs, idle included"),
    "host.cpu.idle": Counter("s", "counter", "CPU time idle, waiting for IO included"),
    "host.cpu.steal": Counter("s", "counter", "CPU time the hypervisor gave to others"),
    "host.memory.available": Counter("B", "gauge", "memory available without swapping"),
    "host.swap.in": Counter("1", "counter", "pages swapped in"),
    "host.swap.out": Counter("1", "counter", "pages swapped out"),
    "host.oom_kill": Counter("1", "counter", "processes killed for want of memory anywhere"),
    "host.load.runnable": Counter("1", "gauge", "tasks runnable or running now"),
}
_VMSTAT = keyed({"pswpin": "host.swap.in", "pswpout": "host.swap.out", "oom_kill": "host.oom_kill"})


def _runnable(text: str) -> Values:
    """The fourth field of /proc/loadavg is runnable/total; the reader itself is among them."""
    return {"host.load.runnable": int(text.split()[3].partition("/")[0])}


class _Reader:
    def __init__(self, files: FileReader) -> None:
        import psutil

        self._files = files
        self._psutil = psutil

    def read(self) -> tuple[Any, ...]:
        return self._psutil.cpu_times(), self._psutil.virtual_memory(), self._files.read()

    def parse(self, raw: tuple[Any, ...]) -> Mapping[str, float | None]:
        times, memory, files = raw
        found = dict(self._files.parse(files))
        # guest and guest_nice are already part of user and nice.
        counted = [value for name, value in times._asdict().items() if not name.startswith("guest")]
        found["host.cpu.total"] = sum(counted)
        found["host.cpu.idle"] = times.idle + getattr(times, "iowait", 0.0)
        found["host.cpu.steal"] = getattr(times, "steal", None)
        found["host.memory.available"] = memory.available
        return found

    def close(self) -> None:
        self._files.close()


class Collector:
    """CPU time, memory, swap and OOM kills of the whole host, through psutil and /proc."""

    name: ClassVar[str] = "host"
    title: ClassVar[str] = "host load"
    scope: ClassVar[Literal["tenant", "host"]] = "host"
    interval: ClassVar[float] = 1.0
    metrics: ClassVar[Mapping[str, Counter]] = METRICS

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def requires(self) -> Sequence[Missing]:
        """Nothing beyond /proc."""
        if (self.root / "proc/vmstat").exists():
            return []
        return [Missing("/proc", "/proc/vmstat does not exist", "mount -t proc proc /proc")]

    def open(self, sandbox: Sandbox | None) -> _Reader:
        """A reader of the host."""
        proc = self.root / "proc"
        sources = [
            (proc / "vmstat", Source("host", "vmstat", _VMSTAT)),
            (proc / "loadavg", Source("host", "loadavg", _runnable)),
        ]
        return _Reader(FileReader(sources, METRICS))
