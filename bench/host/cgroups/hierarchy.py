"""Which cgroup hierarchies are mounted, which of them owns which controller, and what they refuse."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import HostError
from bench.host.cgroups import files, offers
from bench.model import Missing

if TYPE_CHECKING:
    from bench.host.cgroups.group import Group
    from bench.ledger import Ledger

V1_CONTROLLERS = frozenset(
    {
        "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls", "net_prio",
        "perf_event", "hugetlb", "rdma", "misc",
    }
)  # fmt: skip
USED = ("cpu", "cpuacct", "cpuset", "memory", "io", "pids", "freezer")
"""Canonical names of the controllers whose v1 hierarchies a group lives in; v1 calls "io" blkio."""
LEAF = "isobench-self.leaf"
"""Where this process moves when its own group must become an inner one."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted tree: `top` is the path of the group that the mount point shows."""

    version: int
    mount: Path
    top: str
    controllers: frozenset[str]
    read_only: bool = False

    def below(self, kernel_path: str) -> str:
        """The path under the mount point of a group as /proc/PID/cgroup names it."""
        path = kernel_path.strip("/")
        top = self.top.strip("/")
        if top and (path == top or path.startswith(top + "/")):
            path = path[len(top) :]
        return path.strip("/")


@dataclass(eq=False)
class Cgroups:
    """The cgroup hierarchies of this host, as this process sees them.

    `mode` is "v1", "v2", "hybrid" or "none"; what counts is `version(controller)`, since a hybrid host
    may have any controller on either side. `base` is the path under which `group` puts its groups: ""
    for root, the process's own delegated group otherwise.
    """

    root: Path
    mode: str
    hierarchies: tuple[Hierarchy, ...]
    base: str = ""
    refused: dict[str, HostError] = field(default_factory=dict)
    """Controllers the kernel would not enable for child groups, with its answer."""
    entries: dict[str, tuple[Ledger, str]] = field(default_factory=dict)
    """Open ledger entries by path of the group."""

    def version(self, controller: str) -> int | None:
        """1 or 2: the hierarchy that owns `controller`; None where none does."""
        owner = self.owner(controller)
        return owner.version if owner else None

    def owner(self, controller: str) -> Hierarchy | None:
        """The hierarchy of `controller`; on v2 the usage of cpuacct belongs to cpu."""
        for h in self.hierarchies:
            if controller in h.controllers:
                return h
        unified = self.unified()
        if controller == "cpuacct" and unified and "cpu" in unified.controllers:
            return unified
        return None

    def unified(self) -> Hierarchy | None:
        """The v2 hierarchy, which has cgroup.kill and pressure files even where it owns no controller."""
        return next((h for h in self.hierarchies if h.version == 2), None)

    def group(self, path: str) -> Group:
        """The group of that path below `base`, whether it exists or not; the same in every hierarchy."""
        from bench.host.cgroups.group import Group

        return Group("/".join(p for p in (self.base, path.strip("/")) if p), self)

    def refuses(self) -> Missing | None:
        """Why this user cannot create groups here, with what would help; None where it can."""
        return offers.refuses(self)

    def lacks(self, limit: str) -> Missing | None:
        """Why `limit` cannot be enforced on this host by a cgroup; None where it can."""
        return offers.lacks(self, limit)


def detect(root: Path = Path("/"), uid: int | None = None) -> Cgroups:
    """The hierarchies below `root`, read from proc/self/mountinfo, proc/self/cgroup and cgroup.controllers.

    A host without cgroups gives mode "none", never an error.
    """
    found = _mounted(root)
    versions = {h.version for h in found}
    mode = {0: "none", 1: f"v{min(versions, default=0)}", 2: "hybrid"}[len(versions)]
    wanted = tuple(h for h in found if h.version == 2 or h.controllers & set(USED))
    base = "" if (os.geteuid() if uid is None else uid) == 0 else _own_base(root, wanted)
    if base and mode == "v2":
        # What this user was given is the list of its own group, not that of the mount point.
        given = files.read(wanted[0].mount / base / "cgroup.controllers") or ""
        wanted = (_replace_controllers(wanted[0], frozenset(given.split())),)
    return Cgroups(root, mode, wanted, base)


def _replace_controllers(h: Hierarchy, controllers: frozenset[str]) -> Hierarchy:
    return Hierarchy(h.version, h.mount, h.top, controllers, h.read_only)


def _mounted(root: Path) -> list[Hierarchy]:
    """Every cgroup mount once, v1 before v2; of two mounts of one hierarchy the first that shows most."""
    found: dict[frozenset[str] | str, Hierarchy] = {}
    for line in (files.read(root / "proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        words, tail = left.split(), right.split()
        if len(words) < 6 or len(tail) < 3 or tail[0] not in ("cgroup", "cgroup2"):
            continue
        top, mount = _unescape(words[3]), root / _unescape(words[4]).lstrip("/")
        read_only = "ro" in words[5].split(",")
        if tail[0] == "cgroup2":
            listed = frozenset((files.read(mount / "cgroup.controllers") or "").split())
            key: frozenset[str] | str = "v2"
            h = Hierarchy(2, mount, top, listed, read_only)
        else:
            owned = frozenset(tail[2].split(",")) & V1_CONTROLLERS
            if not owned:
                continue
            key = owned
            h = Hierarchy(1, mount, top, frozenset("io" if c == "blkio" else c for c in owned), read_only)
        if key not in found or len(h.top) < len(found[key].top):
            found[key] = h
    return sorted(found.values(), key=lambda h: (h.version, str(h.mount)))


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text)


def memberships(root: Path, pid: int | str, hierarchies: tuple[Hierarchy, ...]) -> dict[Hierarchy, str]:
    """The path under the mount point of the group of `pid`, by hierarchy; empty where it is gone."""
    found: dict[Hierarchy, str] = {}
    for line in (files.read(root / "proc" / str(pid) / "cgroup") or "").splitlines():
        _, names, path = line.split(":", 2)
        listed = frozenset("io" if c == "blkio" else c for c in names.split(",") if c)
        for h in hierarchies:
            if (h.version == 2 and not names) or (h.version == 1 and listed and listed <= h.controllers):
                found[h] = h.below(path)
    return found


def _own_base(root: Path, hierarchies: tuple[Hierarchy, ...]) -> str:
    """The group this process is in where its user may make groups in it; "" otherwise."""
    own = set(memberships(root, "self", hierarchies).values())
    if len(own) != 1:
        return ""
    base = own.pop().removesuffix(LEAF).rstrip("/")
    writable = all(os.access(h.mount / base / "cgroup.procs", os.W_OK) for h in hierarchies)
    return base if writable else ""
