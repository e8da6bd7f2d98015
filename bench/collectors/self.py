"""The collector `self`: what observing costs, in CPU time of this very program."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.collectors import Counter
from bench.model import Missing

if TYPE_CHECKING:
    from bench.runtimes import Sandbox

METRICS: dict[str, Counter] = {
    "self.cpu": Counter("s", "counter", "CPU time of the thread that takes the samples"),
    "self.process": Counter("s", "counter", "CPU time of the whole harness process"),
    "self.children": Counter("s", "counter", "CPU time of its children that have ended, and of theirs"),
}
Clocks = tuple[Callable[[], int], Callable[[], int], Callable[[], float]]


def children() -> float:
    """CPU seconds of all children that were waited for, and of those that they waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class _Reader:
    def __init__(self, clocks: Clocks) -> None:
        self._thread, self._process, self._children = clocks

    def read(self) -> tuple[int, int, float]:
        """Nanoseconds used by the calling thread and by the process, seconds by its children."""
        return self._thread(), self._process(), self._children()

    def parse(self, raw: tuple[int, int, float]) -> Mapping[str, float | None]:
        return {"self.cpu": raw[0] / 1e9, "self.process": raw[1] / 1e9, "self.children": raw[2]}

    def close(self) -> None:
        pass


class Collector:
    """CPU time of the sampler and of the harness; read it in the thread that samples."""

    name: ClassVar[str] = "self"
    title: ClassVar[str] = "cost of observing"
    scope: ClassVar[Literal["tenant", "host"]] = "host"
    interval: ClassVar[float] = 1.0
    metrics: ClassVar[Mapping[str, Counter]] = METRICS

    def __init__(self, clocks: Clocks = (time.thread_time_ns, time.process_time_ns, children)) -> None:
        self._clocks = clocks

    def requires(self) -> Sequence[Missing]:
        """Nothing."""
        return []

    def open(self, sandbox: Sandbox | None) -> _Reader:
        """A reader of this process's own clocks."""
        return _Reader(self._clocks)
