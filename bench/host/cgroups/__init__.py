"""Control groups of either version, or both at once: one path, one vocabulary, every limit read back."""

from __future__ import annotations

from bench.host.cgroups.group import Group
from bench.host.cgroups.guard import bounds, guard, of_pid, remove_run, restore, run_group, unbounded, undo
from bench.host.cgroups.hierarchy import Cgroups, Hierarchy, detect
from bench.host.cgroups.leftovers import sweep
from bench.host.cgroups.v1 import CPU_PERIOD

__all__ = [
    "CPU_PERIOD", "Cgroups", "Group", "Hierarchy", "bounds", "detect", "guard", "of_pid", "remove_run",
    "restore", "run_group", "sweep", "unbounded", "undo",
]  # fmt: skip
