"""A journal of every system resource this program makes, written before the resource exists.

One JSON line a fact, appended with O_APPEND and fsynced: `{"id", "kind", "name", "pid", "start"}`
when something is about to be made, `{"id", "gone": true}` once it was removed. `bench clean`
walks what is left. How a kind is undone is registered by the module that makes it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# kind → "module:function"; the function takes the entry's name, is idempotent, and raises on failure.
UNDO: dict[str, str] = {
    "cgroup": "bench.host.cgroups:undo",
    "mount": "bench.host.mounts:undo",
    "loop": "bench.host.blockdev:undo_loop",
    "swap": "bench.host.blockdev:undo_swap",
    "path": "bench.host.mounts:undo_path",
    "netns": "bench.host.network:undo_netns",
    "link": "bench.host.network:undo_link",
    "container": "bench.host.engines:undo_container",
    "engine-image": "bench.host.engines:undo_image",
    "oci-container": "bench.host.bundle:undo",
    "libvirt-network": "bench.host.vm.nat:undo_network",
    "domain": "bench.host.vm.machines:undo_domain",
    "vagrant": "bench.host.services:undo_process",
    "libvirt-pool": "bench.host.vm.storage:undo_pool",
    "docker-network": "bench.host.engines:undo_network",
    "docker-volume": "bench.host.engines:undo_volume",
    "service": "bench.host.services:undo",
    "process": "bench.host.services:undo_process",
    "shm-segment": "bench.host.shm:undo_segment",
    "shm-object": "bench.host.shm:undo_object",
}
# The order in which kinds are undone: what runs is ended first (removing a cgroup kills what is inside),
# what holds others comes last.
ORDER = (
    "vagrant", "container", "oci-container", "domain", "process", "cgroup", "link", "netns", "docker-network",
    "docker-volume", "engine-image", "libvirt-network", "libvirt-pool", "swap", "mount", "loop", "path",
    "shm-segment", "shm-object", "service",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource: `start` is the maker's start time in clock ticks, so a reused PID is not its maker."""

    id: str
    kind: str
    name: str
    pid: int
    start: int


def default_path() -> Path:
    """The journal of this user: /var/lib/isobench for root, else below XDG_STATE_HOME."""
    return state_dir() / "ledger.jsonl"


def state_dir() -> Path:
    """Where this program keeps what outlives a run: the ledger and, below `cache`, images."""
    override = os.environ.get("ISOBENCH_STATE")
    if override:
        return Path(override)
    if os.geteuid() == 0:
        return Path("/var/lib/isobench")
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local/state") / "isobench"


def process_start(pid: int, root: Path = Path("/")) -> int | None:
    """Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), None if gone."""
    try:
        stat = (root / "proc" / str(pid) / "stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


class Ledger:
    """The journal at `path`; safe to append to from several runs at once."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._pid = os.getpid()
        self._start = process_start(self._pid) or 0

    def will_create(self, kind: str, name: str) -> str:
        """Record that a resource is about to exist; the id goes to `gone` later."""
        if kind not in UNDO:
            raise KeyError(f"no way to undo a '{kind}' is registered")
        entry_id = uuid.uuid4().hex[:12]
        self._append({"id": entry_id, "kind": kind, "name": name, "pid": self._pid, "start": self._start})
        return entry_id

    def gone(self, entry_id: str) -> None:
        """Record that the resource no longer exists."""
        self._append({"id": entry_id, "gone": True}, sync=False)

    @contextlib.contextmanager
    def holding(self, kind: str, name: str) -> Iterator[None]:
        """Record a resource for the length of the block; the block itself makes and removes it.

        The entry stays open when the block fails, so that `bench clean` looks again.
        """
        entry_id = self.will_create(kind, name)
        yield
        self.gone(entry_id)

    def left(self, *, include_alive: bool = False) -> list[Entry]:
        """Resources that were made and not removed, whose maker is dead (or all of them)."""
        entries: dict[str, Entry] = {}
        with contextlib.suppress(FileNotFoundError):
            for line in self.path.read_bytes().split(b"\n"):
                self._take(line, entries)
        found = [e for e in entries.values() if include_alive or process_start(e.pid) != e.start]
        newest_first = list(reversed(found))
        return sorted(newest_first, key=lambda e: ORDER.index(e.kind) if e.kind in ORDER else 0)

    @staticmethod
    def _take(line: bytes, entries: dict[str, Entry]) -> None:
        """Apply one line; a torn or foreign one says nothing and is passed over."""
        try:
            fact = json.loads(line)
            if not isinstance(fact, dict):
                return
            if fact.get("gone"):
                entries.pop(fact["id"], None)
            else:
                entry = Entry(fact["id"], fact["kind"], fact["name"], int(fact["pid"]), int(fact["start"]))
                entries[entry.id] = entry
        except (ValueError, TypeError, KeyError):
            return

    def undo(self, entry: Entry) -> None:
        """Remove the resource of that entry and record it; raises whatever its undo raises."""
        module, _, name = UNDO[entry.kind].partition(":")
        function: Callable[[str], None] = getattr(importlib.import_module(module), name)
        function(entry.name)
        self.gone(entry.id)

    def compact(self) -> None:
        """Forget what is gone, atomically, when nothing is left at all."""
        if self.path.exists() and not self.left(include_alive=True):
            self.path.write_text("")

    def _append(self, fact: dict[str, object], *, sync: bool = True) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, json.dumps(fact).encode() + b"\n")
            if sync:
                os.fdatasync(fd)
        finally:
            os.close(fd)
