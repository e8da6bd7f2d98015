"""The collector `throttling`: how long a CPU quota around this very program held back what is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.collectors import Counter
from bench.collectors.cgroup import FileReader
from bench.host.cgroups import Cgroups, Group, detect
from bench.host.cgroups.counters import Source, keyed
from bench.host.cgroups.hierarchy import memberships
from bench.model import Missing

if TYPE_CHECKING:
    from bench.runtimes import Sandbox

METRIC = "throttling.throttled"
METRICS: dict[str, Counter] = {
    METRIC: Counter("s", "counter", "time that the groups around this program were throttled, all added")
}
_FIELDS = {1: ("throttled_time", 1e-9), 2: ("throttled_usec", 1e-6)}
"""Of cpu.stat, by version: the key and its unit."""


class _Reader:
    def __init__(self, files: FileReader, levels: Sequence[str]) -> None:
        self._files, self._levels = files, levels

    def read(self) -> tuple[bytes | None, ...]:
        return self._files.read()

    def parse(self, raw: tuple[bytes | None, ...]) -> Mapping[str, float | None]:
        found = self._files.parse(raw)
        known = [value for level in self._levels if (value := found[level]) is not None]
        return {METRIC: sum(known) if known else None}

    def close(self) -> None:
        self._files.close()


class Collector:
    """Time throttled in the group of this program and in its ancestors, as far up as they can be seen.

    Inside a container that is the container's own quota. The sandboxes' quotas are below, and never count.
    """

    name: ClassVar[str] = "throttling"
    title: ClassVar[str] = "CPU quota around this program"
    scope: ClassVar[Literal["tenant", "host"]] = "host"
    interval: ClassVar[float] = 1.0
    metrics: ClassVar[Mapping[str, Counter]] = METRICS

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def requires(self) -> Sequence[Missing]:
        """Nothing: without a CPU controller nothing is throttled, and there is no reading."""
        return []

    def open(self, sandbox: Sandbox | None) -> _Reader | None:
        """A reader of every level that can be throttled; None without any."""
        files = list(_files(detect(self.root)))
        levels = [str(path) for path, _ in files]
        reader = FileReader(files, levels)
        return _Reader(reader, levels) if len(reader) else None


def _files(cgroups: Cgroups) -> Iterator[tuple[Path, Source]]:
    """cpu.stat of each level, from this program's group upwards; each parsed under its own path."""
    owner = cgroups.owner("cpu")
    if owner is None:
        return
    key, scale = _FIELDS[owner.version]
    for group in Group(_own(cgroups), cgroups).levels():
        path = owner.mount / group.path / "cpu.stat"
        yield path, Source("cpu", "cpu.stat", keyed({key: str(path)}, scale))


def _own(cgroups: Cgroups) -> str:
    """The path of this program's group below the mount point of the CPU controller."""
    found = memberships(cgroups.root, "self", cgroups.hierarchies)
    return next((path for h, path in found.items() if "cpu" in h.controllers), "")
