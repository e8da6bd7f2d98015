"""The daemons of an engine: which processes they are, and how much CPU time they used.

They are found from the socket they listen at and from the tree of processes, never by name.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from bench.host import cgroups, engines
from bench.host.cgroups import Cgroups, Hierarchy, formats
from bench.host.cgroups.hierarchy import memberships
from bench.host.cgroups.leftovers import OUTER
from bench.host.vm import libvirtd
from bench.ledger import process_start

Kind = Literal["docker", "podman", "libvirt"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PID_FILES = {"docker": "run/docker.pid", "libvirt": "run/libvirtd.pid"}
"""Asked where systemd listens in the daemon's place."""
DOCKER = "unix:///var/run/docker.sock"
CONTAINERD = ("/run/docker/containerd/containerd.sock", "/run/containerd/containerd.sock")
"""Where the containerd listens that dockerd started, and the one that the system started."""
_SCHED = 2
_INIT = 1


@dataclass(frozen=True, slots=True)
class Daemons:
    """The processes of one engine, by PID and start time, and the groups of their services.

    `groups` are directories that hold these daemons and what they start, and nothing else; empty where
    a daemon has none, as without an init system.
    """

    processes: tuple[tuple[int, int], ...]
    groups: tuple[Path, ...] = ()
    version: int = 2
    """Of the cgroup hierarchy that the groups are in."""

    def alive(self) -> bool:
        """Whether they all still run."""
        return all(process_start(pid) == start for pid, start in self.processes)


def find(kind: Kind, root: Path = Path("/")) -> Daemons | None:
    """The daemons of that engine on this host; None where nobody listens for it."""
    main = _main(kind, root)
    if main is None:
        return None
    tree = parents(root)
    pids = [main, *below(main, tree)]
    if kind == "docker" and engines.endpoint("docker") == DOCKER:
        pids += _containerd(pids, tree)
    known = tuple((pid, start) for pid in pids if (start := process_start(pid)) is not None)
    groups, version = _services([pid for pid, _ in known], cgroups.detect(root))
    return Daemons(known, groups, version) if known else None


def _main(kind: Kind, root: Path) -> int | None:
    """The process that listens at the engine's socket, or for which the init system does."""
    path = str(libvirtd.SOCKET) if kind == "libvirt" else engines.endpoint(kind).removeprefix("unix://")
    try:
        pid = engines.listener(path)
    except OSError:
        return None
    if pid != _INIT:
        return pid
    with contextlib.suppress(KeyError, OSError, ValueError):
        return int((root / PID_FILES[kind]).read_text())
    return None


def _containerd(dockerd: Sequence[int], tree: Mapping[int, int]) -> list[int]:
    """The containerd that dockerd speaks to, with what is below it, where dockerd did not start it."""
    listening = []
    for path in CONTAINERD:
        with contextlib.suppress(OSError):
            listening.append(engines.listener(path))
    if not listening or set(listening) & set(dockerd):
        return []
    return [listening[-1], *(pid for pid in below(listening[-1], tree) if pid not in dockerd)]


def _services(pids: Sequence[int], found: Cgroups) -> tuple[tuple[Path, ...], int]:
    """The groups that count CPU time of systemd's services, where all of these processes are in some."""
    owner = counts_cpu(found)
    paths = {memberships(found.root, pid, (owner,)).get(owner, "") for pid in pids} if owner else set()
    if owner is None or not paths or not all(path.endswith(".service") for path in paths):
        return (), 2
    return tuple(owner.mount / path for path in sorted(paths)), owner.version


def counts_cpu(found: Cgroups) -> Hierarchy | None:
    """The hierarchy whose groups count CPU time: that of cpuacct, else v2, which always does."""
    return found.owner("cpuacct") or found.unified()


def parents(root: Path = Path("/")) -> dict[int, int]:
    """PID of the parent of every process."""
    found = {}
    for entry in (root / "proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                found[int(entry.name)] = int(_fields(_stat(entry))[1])
    return found


def below(pid: int, tree: Mapping[int, int]) -> list[int]:
    """All descendants of that process in a tree of `parents`, nearest first."""
    found, generation = [], [pid]
    while generation:
        generation = [child for child, parent in sorted(tree.items()) if parent in generation]
        found += generation
    return found


def clock(pid: int) -> int | None:
    """Nanoseconds of CPU time of all threads of that process, ended ones included; None once it is gone.

    This is its CPU-time clock (clock_getcpuclockid(3)), exact where /proc/PID/stat counts ticks of 10 ms.
    """
    with contextlib.suppress(OSError):
        return time.clock_gettime_ns((~pid << 3) | _SCHED)
    return None


def waited_for(stat: str) -> float:
    """CPU seconds of the children that a process has waited for, and theirs, in a /proc/PID/stat text.

    Ticks of 10 ms: of one start it is off by up to one tick, of the mean of many it is not.
    """
    fields = _fields(stat)
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def monitor_cpu(pid: int, root: Path = Path("/")) -> float | None:
    """CPU seconds so far of the process that watches over a container whose first process is `pid`.

    That is its parent: a shim of containerd. It left the tree of the daemons when it was started, and what it
    used goes with it when it ends. None where there is none, or one inside the groups of this program, whose
    time is counted there.
    """
    with contextlib.suppress(OSError, IndexError, ValueError):
        parent = int(_fields(_stat(root / "proc" / str(pid)))[1])
        found = cgroups.detect(root)
        owner = counts_cpu(found)
        path = memberships(found.root, parent, (owner,)).get(owner, "") if owner else ""
        if parent <= _INIT or parent == os.getpid() or path.startswith(found.group(OUTER).path):
            return None
        own = clock(parent)
        return None if own is None else own / 1e9 + waited_for(_stat(root / "proc" / str(parent)))
    return None


class Meter:
    """The CPU time of some daemons, read without parsing. Close it after use."""

    def __init__(self, daemons: Daemons) -> None:
        self.daemons = daemons
        self._stats = [_opened(Path(f"/proc/{pid}/stat")) for pid, _ in daemons.processes]
        name = "cpuacct.usage" if daemons.version == 1 else "cpu.stat"
        self._usages = [_opened(group / name) for group in daemons.groups]

    def read(self) -> tuple[tuple[int | None, ...], tuple[bytes, ...], tuple[bytes, ...]]:
        """Clocks and stat texts of the processes, texts of the groups; empty for what is gone."""
        clocks = tuple(clock(pid) for pid, _ in self.daemons.processes)
        return clocks, tuple(map(_pread, self._stats)), tuple(map(_pread, self._usages))

    def parse(
        self, raw: tuple[Sequence[int | None], Sequence[bytes], Sequence[bytes]]
    ) -> tuple[float | None, float | None]:
        """CPU seconds of the processes with the children they waited for, and of their groups."""
        clocks, stats, usages = raw
        known = [own for own in clocks if own is not None]
        processes = None
        if len(known) == len(clocks) and all(stats):
            processes = sum(known) / 1e9 + sum(waited_for(text.decode()) for text in stats)
        groups = None
        if usages and all(usages):
            groups = sum(self._usage(text.decode()) for text in usages)
        return processes, groups

    def _usage(self, text: str) -> float:
        if self.daemons.version == 1:
            return int(text) / 1e9
        return formats.flat(text)["usage_usec"] / 1e6

    def close(self) -> None:
        """Close every file. Idempotent."""
        for fd in (*self._stats, *self._usages):
            if fd >= 0:
                os.close(fd)
        self._stats, self._usages = [], []


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1  # it is gone already: every reading is empty


def _pread(fd: int) -> bytes:
    if fd < 0:
        return b""
    try:
        return os.pread(fd, 4096, 0)
    except OSError:
        return b""  # the process or the group has gone


def _stat(directory: Path) -> str:
    return (directory / "stat").read_text(errors="replace")


def _fields(stat: str) -> list[str]:
    """The fields of a /proc/PID/stat text from the third on; the second may hold blanks and brackets."""
    return stat.rpartition(")")[2].split()
