"""The collector `cgroup`: CPU, memory, IO and process counters of a tenant's control group."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.collectors import Counter
from bench.errors import HostError
from bench.host.cgroups import counters, detect
from bench.host.cgroups.counters import Source
from bench.model import Missing

if TYPE_CHECKING:
    from bench.host.cgroups import Group
    from bench.runtimes import Sandbox

Raw = tuple[bytes | None, ...]
SIZE = 16384
"""Bytes to read at most. The longest is io.stat, about 100 a device; memory.stat has about 3000."""

METRICS: dict[str, Counter] = {
    "cpu.usage": Counter("s", "counter", "CPU time used"),
    "cpu.user": Counter("s", "counter", "CPU time in user mode"),
    "cpu.system": Counter("s", "counter", "CPU time in the kernel"),
    "cpu.nr_periods": Counter("1", "counter", "quota periods in which something ran"),
    "cpu.nr_throttled": Counter("1", "counter", "quota periods that ended throttled"),
    "cpu.throttled": Counter("s", "counter", "time throttled, summed over CPUs"),
    "memory.current": Counter("B", "gauge", "memory charged"),
    "memory.peak": Counter("B", "peak", "the most memory ever charged"),
    "memory.events.high": Counter("1", "counter", "throttled above memory.high"),
    "memory.events.max": Counter("1", "counter", "ran into the memory limit"),
    "memory.events.oom": Counter("1", "counter", "out of memory"),
    "memory.events.oom_kill": Counter("1", "counter", "processes killed for want of memory"),
    "io.rbytes": Counter("B", "counter", "bytes read from block devices"),
    "io.wbytes": Counter("B", "counter", "bytes written to block devices"),
    "io.rios": Counter("1", "counter", "read operations"),
    "io.wios": Counter("1", "counter", "write operations"),
    "pids.current": Counter("1", "gauge", "tasks"),
    "pids.peak": Counter("1", "peak", "the most tasks ever"),
    "pids.events.max": Counter("1", "counter", "forks refused by pids.max"),
}


class FileReader:
    """Kept descriptors of several files, read with one pread(2) each and parsed later.

    A file that does not exist is simply not read; one whose cgroup went away reads as None.
    """

    def __init__(
        self, sources: Iterable[tuple[Path, Source]], metrics: Iterable[str], device: str | None = None
    ) -> None:
        self._metrics = tuple(metrics)
        self._device = device
        self._parsers = []
        self._fds: list[int] = []
        for path, source in sources:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.close()
                raise HostError(f"cannot open {path}: {error.strerror}", fix="run as root") from error
            self._fds.append(fd)
            self._parsers.append(self._of_device(source) if source.controller == "io" else source.parse)

    def _of_device(self, source: Source) -> Callable[[str], Mapping[str, float | None]]:
        """A parser of that source which sees the lines of the trial's disk alone, where there is one.

        A loop device and the disk below it both count the same bytes.
        """
        if self._device is None:
            return source.parse
        prefix = f"{self._device} "
        return lambda text: source.parse("".join(x for x in text.splitlines(True) if x.startswith(prefix)))

    def read(self) -> Raw:
        """The text of every file, in order."""
        pread = os.pread
        try:
            return tuple([pread(fd, SIZE, 0) for fd in self._fds])
        except OSError:
            return tuple([_pread(fd) for fd in self._fds])

    def parse(self, raw: Raw) -> Mapping[str, float | None]:
        """Every metric of the collector; None for those this kernel or this moment did not give."""
        found: dict[str, float | None] = dict.fromkeys(self._metrics)
        for parser, data in zip(self._parsers, raw, strict=True):
            if data is not None:
                found.update(parser(data.decode()))
        return found

    def close(self) -> None:
        """Close the descriptors."""
        while self._fds:
            os.close(self._fds.pop())

    def __len__(self) -> int:
        return len(self._fds)


def _pread(fd: int) -> bytes | None:
    """The text, or None where the group was removed (ENODEV) or its controller was taken away."""
    try:
        return os.pread(fd, SIZE, 0)
    except OSError:
        return None


def sources(
    group: Group, v1: Sequence[Source] = counters.V1, v2: Sequence[Source] = counters.V2
) -> list[tuple[Path, Source]]:
    """The files to read for that group, each controller from the hierarchy that owns it."""
    cgroups = group.cgroups
    found = []
    for version, table in ((1, v1), (2, v2)):
        for source in table:
            # cpu.stat of v2 has the CPU time of every group, with or without the controller.
            orphan = version == 2 and source.controller == "cpu" and cgroups.mode == "v2"
            if cgroups.version(source.controller) == version:
                found.append((group.file(source.controller, source.file), source))
            elif orphan:
                found.append((group.file("cgroup", source.file), source))
    return found


def swapless(group: Group) -> bool:
    """Whether that group may use no swap at all, by its own limit or an ancestor's."""
    return group.effective("swap").value == 0


class Collector:
    """Counters of a control group, v1 or v2, under the names of v2."""

    name: ClassVar[str] = "cgroup"
    title: ClassVar[str] = "control group counters"
    scope: ClassVar[Literal["tenant", "host"]] = "tenant"
    interval: ClassVar[float] = 0.1
    metrics: ClassVar[Mapping[str, Counter]] = METRICS

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def requires(self) -> Sequence[Missing]:
        """A mounted cgroup hierarchy; reading needs no permission."""
        if detect(self.root).hierarchies:
            return []
        return [Missing("cgroups", "no cgroup hierarchy is mounted", "mount -t cgroup2 none /sys/fs/cgroup")]

    def open(self, sandbox: Sandbox | None) -> FileReader | None:
        """A reader of that tenant's group; None where it has none."""
        if sandbox is None or sandbox.cgroup is None:
            return None
        v1 = counters.V1_SWAPLESS if swapless(sandbox.cgroup) else counters.V1
        reader = FileReader(sources(sandbox.cgroup, v1), METRICS, getattr(sandbox, "device", None))
        return reader if len(reader) else None
