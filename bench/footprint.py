"""What sandboxes take of the host, read from outside: memory in every common way of counting, and disk."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.host import daemons
from bench.layering import allocated

if TYPE_CHECKING:
    from bench.host.cgroups import Group
    from bench.runtimes import Sandbox

WRITTEN = "disk.path"
"""The fact of a sandbox that names what holds all it wrote: a directory or a file of this host."""
MEMINFO = {
    "MemAvailable": "host.available",
    "MemFree": "host.free",
    "Cached": "host.cached",
    "Slab": "host.slab",
    "KernelStack": "host.kernelstack",
    "PageTables": "host.pagetables",
    "Percpu": "host.percpu",
}
"""Lines of /proc/meminfo and what they are called here."""
ROLLUP = {"Rss": "rss", "Pss": "pss", "Private_Clean": "uss", "Private_Dirty": "uss",
          "Pss_Anon": "anon", "Pss_Shmem": "anon"}  # fmt: skip
"""Lines of /proc/PID/smaps_rollup and the sums they go into."""
ENGINES: Mapping[str, daemons.Kind] = {
    "docker": "docker",
    "podman": "podman",
    "libvirt": "libvirt",
    "vagrant": "libvirt",
    "docker-vm": "libvirt",
}
"""The engine behind a runtime, by its name."""
TURNS = 5
"""Readings of /proc/meminfo of which the middle one counts."""
QUIET, STEP, STILL, STIR = 12.0, 0.5, 5, 1 << 20
"""The available memory stands still where `STILL` readings, `STEP` seconds apart, differ by less than `STIR`
bytes; that is waited for, `QUIET` seconds at the most."""


def meminfo(text: str) -> dict[str, float]:
    """Bytes by the names of `MEMINFO`; a line that this kernel lacks is left out."""
    found = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        if key in MEMINFO:
            found[MEMINFO[key]] = float(rest.split()[0]) * 1024
    return found


def host(root: Path = Path("/")) -> dict[str, float]:
    """The memory of the host now, each number the middle of several readings."""
    turns = [meminfo((root / "proc/meminfo").read_text()) for _ in range(TURNS)]
    return {name: median(turn[name] for turn in turns) for name in turns[0]}


def available(root: Path = Path("/")) -> float | None:
    """Bytes that new programs could have without swapping; None where the kernel does not say."""
    return host(root).get("host.available")


def settled(
    read: Callable[[], float | None] = available, pause: Callable[[float], None] = time.sleep
) -> float:
    """Wait until the available memory stands still, `QUIET` seconds at the most; how many seconds it took.

    What was removed before is freed in the background, over seconds.
    """
    seen: list[float] = []
    for turn in range(round(QUIET / STEP)):
        now = read()
        seen = [] if now is None else [*seen[1 - STILL :], now]
        if len(seen) == STILL and max(seen) - min(seen) < STIR:
            return turn * STEP
        pause(STEP)
    return QUIET


def rollup(text: str) -> dict[str, float]:
    """`rss`, `pss`, `uss` and `anon`, which no file can give back, in bytes of a smaps_rollup text."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        if key in ROLLUP:
            found[ROLLUP[key]] = found.get(ROLLUP[key], 0.0) + float(rest.split()[0]) * 1024
    return found


def processes(pids: Iterable[int], root: Path = Path("/")) -> dict[str, float | None]:
    """Sums of `rss`, `pss`, `uss` and `anon` over those processes, each None where the kernel refuses one.

    One that has ended, or is the kernel's own and has no memory, adds nothing.
    """
    sums = dict.fromkeys(dict.fromkeys(ROLLUP.values()), 0.0)
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            try:
                text = (root / f"proc/{pid}/smaps_rollup").read_text()
            except PermissionError:
                return dict.fromkeys(sums)
            for name, value in rollup(text).items():
                sums[name] += value
    return dict(sums)


def anonymous(pids: Iterable[int], root: Path = Path("/")) -> float:
    """Bytes without a file behind them that those processes hold, as far as the kernel tells.

    It may refuse even root some processes, such as the first of a machine: they are left out.
    """
    return sum(processes([pid], root)["anon"] or 0.0 for pid in pids)


def charged(groups: Sequence[Group | None]) -> float | None:
    """Bytes that the control groups are charged with; None where one of them has none of its own."""
    total = 0.0
    for group in groups:
        if group is None:
            return None
        name = "memory.current" if group.cgroups.version("memory") == 2 else "memory.usage_in_bytes"
        try:
            total += float(group.file("memory", name).read_text())
        except OSError:
            return None
    return total


def total(root: Path = Path("/")) -> float:
    """Bytes of memory that this machine has."""
    text = (root / "proc/meminfo").read_text()
    return next(float(s.split()[1]) * 1024 for s in text.splitlines() if s.startswith("MemTotal:"))


def of(sandboxes: Sequence[Sandbox], runtime: str, places: Sequence[Path | None]) -> dict[str, float | None]:
    """Everything that can be said of those sandboxes now, by metric; None for what they do not have.

    `places` hold what each of them wrote to disk, None for one that has no such place. `host.…` is of
    the whole machine; `sum.…` over the processes of the sandboxes; `monitor.pss` over the parents of their
    first processes, such as shims; `engine.pss` over the daemons; `others.anon` over all other processes of
    the host, this program included, which `self.pss` is of.
    """
    tree = daemons.parents()
    inside = {pid for one in sandboxes for pid in one.pids()}
    kind = ENGINES.get(runtime.partition(":")[0])
    engine = daemons.find(kind) if kind else None
    serving = {pid for pid, _ in engine.processes} if engine else set()
    above = {tree.get(pid, 0) for pid in inside} - inside - serving - {0, 1, os.getpid()}
    sums: dict[str, float | None] = {f"sum.{name}": value for name, value in processes(inside).items()}
    return {
        **host(),
        **sums,
        "sum.cgroup": charged([one.cgroup for one in sandboxes]),
        "monitor.pss": processes(above)["pss"],
        "engine.pss": processes(serving)["pss"] if engine else None,
        "self.pss": processes([os.getpid()])["pss"],
        "others.anon": anonymous(set(tree) - inside - above - serving),
        "disk.written": written(places),
    }


def place(sandbox: Sandbox) -> Path | None:
    """Where that sandbox's own writes go on this host; None where it has no writable layer or disk."""
    named = sandbox.facts().get(WRITTEN)
    return Path(str(named)) if named else None


def written(places: Sequence[Path | None]) -> float | None:
    """Bytes that those directories and files take on disk; None where one is missing."""
    known = [one for one in places if one is not None]
    return float(sum(map(allocated, known))) if len(known) == len(places) else None
