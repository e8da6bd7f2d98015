"""The operation `watch`: the program's own collectors read inside the guest, stamped by the host.

Each tick sends its number, 4 bytes; the host notes when it arrives, by its own clock. After the end comes
END and then all readings as JSON: [[tick, collector, metric, value], …]. No time of the guest leaves it.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench import collectors
from bench.collectors import Collector, Reader
from bench.errors import UsageError
from bench.guest import calls, child
from bench.host import launch

if TYPE_CHECKING:
    from bench.host.cgroups import Group

TICK = struct.Struct(">I")
END = 0xFFFFFFFF
"""The tick number after which the readings come."""


@dataclass(slots=True)
class Watched:
    """What collectors ask of a sandbox: its group, its disk, its processes."""

    cgroup: Group | None
    device: str | None
    pid: int | None

    def pids(self) -> Sequence[int]:
        """PIDs of everything inside: of the group, else of the session that `pid` leads."""
        if self.cgroup is not None:
            return self.cgroup.pids()
        return launch.session_pids(self.pid) if self.pid else ()


@dataclass(slots=True)
class _Source:
    collector: str
    reader: Reader
    every: int
    raw: list[tuple[int, Any]] = field(default_factory=list)


def watch(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Read until descriptor 0 ends; a byte on it asks for one more reading of everything.

    `collectors` says every how many seconds each is read; one with a longer interval of its own keeps that.
    """
    intervals = {name: float(seconds) for name, seconds in asked["collectors"].items()}
    base = min(intervals.values(), default=1.0)
    if base <= 0:
        raise UsageError(f"an interval of {base} s", fix="give a positive number of seconds")
    sources, unread = _open(intervals, _watched(asked), base)
    child.urgent_if_allowed()
    ticks = _Schedule(sources, base)
    ticks.run()
    os.write(1, TICK.pack(END))
    rows = [
        (tick, source.collector, metric, value)
        for source in sources
        for tick, raw in source.raw
        for metric, value in source.reader.parse(raw).items()
    ]
    rows.sort(key=lambda row: row[0])
    data = json.dumps(rows).encode()
    while data:
        data = data[os.write(1, data) :]
    return {"ticks": ticks.tick + 1, "missed": ticks.missed, "cost": time.process_time(), "unread": unread}


def _watched(asked: Mapping[str, Any]) -> Watched:
    pid, path = asked.get("pid"), asked.get("cgroup")
    return Watched(calls.group(path) if path else None, asked.get("device"), pid)


def _open(
    intervals: Mapping[str, float], watched: Watched, base: float
) -> tuple[list[_Source], dict[str, str]]:
    """Readers of those that have something to read, and why the others have not."""
    sources, unread = [], {}
    for name, interval in intervals.items():
        if name not in collectors.names():
            raise UsageError(f"unknown collector '{name}'", fix=f"there are: {', '.join(collectors.names())}")
        collector: Collector = collectors.load(name)
        missing = collector.requires()
        sandbox: Any = None if collector.scope == "host" else watched
        try:
            reader = None if missing else collector.open(sandbox)
        except ImportError as error:  # a guest without psutil still has the kernel's own files
            unread[name] = str(error)
            continue
        if reader is None:
            unread[name] = missing[0].cause if missing else "it has nothing to read there"
            continue
        sources.append(_Source(name, reader, max(1, round(max(collector.interval, interval) / base))))
    return sources, unread


class _Schedule:
    """Ticks at whole multiples of the interval; missed ones are skipped, not made up."""

    def __init__(self, sources: Sequence[_Source], interval: float) -> None:
        self._sources, self._interval = sources, interval
        self._start = time.monotonic()
        self._due = 0
        self.tick = -1
        """Number of the latest reading; numbers count readings, not periods."""
        self.missed = 0

    def run(self) -> None:
        """Read at every tick, at every byte on descriptor 0, and at its end."""
        self._read(everything=True)
        poll = select.poll()
        poll.register(0, select.POLLIN)
        while True:
            wait = self._start + (self._due + 1) * self._interval - time.monotonic()
            if wait > 0 and poll.poll(wait * 1000):
                asked = os.read(0, 64)
                self._read(everything=True)
                if not asked:
                    return
                continue
            now = max(self._due + 1, int((time.monotonic() - self._start) / self._interval))
            self.missed += now - self._due - 1
            self._due = now
            self._read(everything=False)

    def _read(self, *, everything: bool) -> None:
        due = [s for s in self._sources if everything or self._due % s.every == 0]
        if not due:
            return
        self.tick += 1
        os.write(1, TICK.pack(self.tick))
        for source in due:
            source.raw.append((self.tick, source.reader.read()))
