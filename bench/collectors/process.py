"""The collector `process`: what psutil says of the processes of a tenant, with or without a cgroup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from bench.collectors import Counter
from bench.errors import BenchError
from bench.model import Missing

if TYPE_CHECKING:
    from bench.runtimes import Sandbox

METRICS: dict[str, Counter] = {
    "process.count": Counter("1", "gauge", "processes"),
    "process.threads": Counter("1", "gauge", "threads"),
    "process.rss": Counter("B", "gauge", "resident memory, shared pages counted in each process"),
    "process.cpu": Counter("s", "gauge", "CPU time of living processes and of children they reaped"),
}


class Totals(NamedTuple):
    """Sums over the processes of one reading."""

    processes: int
    threads: int
    rss: int
    cpu: float


class _Reader:
    def __init__(self, sandbox: Sandbox) -> None:
        import psutil

        self._psutil = psutil
        self._sandbox = sandbox
        self._known: dict[int, Any] = {}

    def read(self) -> Totals | None:
        """Sums over everything inside; None where the sandbox cannot say what is inside."""
        try:
            pids = self._sandbox.pids()
        except (BenchError, OSError):
            return None
        self._known = {
            pid: p for pid in pids if (p := self._known.get(pid) or self._process(pid)) is not None
        }
        count = threads = rss = 0
        cpu = 0.0
        for process in self._known.values():
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    memory = process.memory_info().rss
                    inside = process.num_threads()
            except self._psutil.Error:
                continue  # it ended between the listing and now; the next reading does not list it
            count, threads, rss = count + 1, threads + inside, rss + memory
            cpu += times.user + times.system + times.children_user + times.children_system
        return Totals(count, threads, rss, cpu)

    def _process(self, pid: int) -> Any:
        try:
            return self._psutil.Process(pid)
        except self._psutil.Error:
            return None

    def parse(self, raw: Totals | None) -> Mapping[str, float | None]:
        if raw is None:
            return dict.fromkeys(METRICS)
        return dict(zip(METRICS, raw, strict=True))

    def close(self) -> None:
        self._known.clear()


class Collector:
    """Sums over the processes of a tenant, for runtimes that have no cgroup too."""

    name: ClassVar[str] = "process"
    title: ClassVar[str] = "process tree"
    scope: ClassVar[Literal["tenant", "host"]] = "tenant"
    interval: ClassVar[float] = 1.0
    metrics: ClassVar[Mapping[str, Counter]] = METRICS

    def requires(self) -> Sequence[Missing]:
        """Nothing: psutil comes with this program."""
        return []

    def open(self, sandbox: Sandbox | None) -> _Reader | None:
        """A reader of that tenant's processes."""
        return None if sandbox is None else _Reader(sandbox)
