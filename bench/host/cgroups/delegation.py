"""Handing controllers down a v2 hierarchy, and making room in a group that was delegated to us.

On v2 a group that hands controllers to its children may hold no processes itself (the "no internal
processes" rule of cgroup-v2.rst), the real root excepted. So a process that was given its own group
first moves into a leaf below it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.errors import HostError
from bench.host.cgroups import files
from bench.host.cgroups.hierarchy import LEAF, USED

if TYPE_CHECKING:
    from pathlib import Path

    from bench.host.cgroups.hierarchy import Cgroups, Hierarchy


def enable(cgroups: Cgroups, h: Hierarchy, path: str) -> None:
    """Let children of the group `path` have every controller it has; refused ones go to `cgroups.refused`."""
    directory = h.mount / path
    offered = set((files.read(directory / "cgroup.controllers") or "").split()) & set(USED)
    enabled = set((files.read(directory / "cgroup.subtree_control") or "").split())
    missing = sorted(offered - enabled)
    if missing and path == cgroups.base and (directory / "cgroup.type").exists():
        enter_leaf(directory)
    for controller in missing:
        try:
            files.write(directory / "cgroup.subtree_control", f"+{controller}")
        except HostError as error:
            cgroups.refused[controller] = HostError(
                f"'{controller}' cannot be handed to groups below {directory}: {error.message}",
                fix="start bench alone in its scope: systemd-run --user --scope -p Delegate=yes bench …",
            )


def enter_leaf(base: Path) -> None:
    """Move this process out of the delegated group `base` into a leaf below it, if it is in there."""
    pid = str(os.getpid())
    if pid not in (files.read(base / "cgroup.procs") or "").split():
        return
    with files.explained(f"cannot create the group {base / LEAF}"):
        (base / LEAF).mkdir(exist_ok=True)
    files.write(base / LEAF / "cgroup.procs", pid)


def leave_leaf(cgroups: Cgroups) -> None:
    """Undo `enter_leaf`: take the controllers back, return to the delegated group, remove the leaf.

    Only possible once every other group below is gone; call it at the end of a run. Idempotent.
    """
    h = cgroups.unified()
    leaf = h.mount / cgroups.base / LEAF if h else None
    if h is None or leaf is None or not leaf.is_dir():
        return
    base = leaf.parent
    for controller in (files.read(base / "cgroup.subtree_control") or "").split():
        files.write(base / "cgroup.subtree_control", f"-{controller}")
    for pid in (files.read(leaf / "cgroup.procs") or "").split():
        files.write(base / "cgroup.procs", pid)
    with files.explained(f"cannot remove the group {leaf}"):
        leaf.rmdir()
