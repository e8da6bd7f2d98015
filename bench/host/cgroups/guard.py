"""The groups every run and trial live in: isobench.slice/isobench-RUN.slice/isobench-RUN-TRIAL.slice.

The names are those systemd derives for nested slices, so a container engine with the systemd driver
takes the same path as its cgroup parent as one with the cgroupfs driver does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bench.host.cgroups import enforcement
from bench.host.cgroups.delegation import leave_leaf
from bench.host.cgroups.group import Group
from bench.host.cgroups.hierarchy import Cgroups, detect, memberships
from bench.host.cgroups.leftovers import OUTER, sweep
from bench.ledger import Ledger
from bench.model import Missing, Scalar

OUTER_WEIGHT = 10000
"""The largest CPU weight, for the outermost group: with it, work of others on the host does not shift the
shares of the tenants."""


def guard(run: str, trial: int, cgroups: Cgroups, ledger: Ledger | None, *, memory: int, pids: int) -> Group:
    """The group that bounds one trial to `memory` bytes and `pids` processes, created with its ancestors.

    Swap is left alone. A bound whose controller is missing is not set: `unbounded` lists those.
    """
    group = run_group(run, cgroups).child(f"isobench-{_name(run)}-{trial}.slice")
    group.create(ledger)
    _put_first(cgroups)
    bounds = {"memory": memory, "pids": pids}
    group.set({name: value for name, value in bounds.items() if cgroups.lacks(name) is None})
    return group


def _put_first(cgroups: Cgroups) -> None:
    """Give the outermost group its weight, where that is for us to set."""
    if cgroups.lacks("cpu.weight") is None and "cpu" not in cgroups.refused:
        cgroups.group(OUTER).set({"cpu.weight": OUTER_WEIGHT})


def bounds(group: Group) -> dict[str, Scalar]:
    """The bounds that a guard itself holds now, to be handed to `restore`."""
    found = {name: enforcement.own(group, name, None).value for name in ("memory", "pids")}
    return {name: value for name, value in found.items() if value is not None}


def restore(group: Group, held: Mapping[str, Scalar]) -> None:
    """Set the bounds of a guard again where they were changed.

    systemd, asked by a container engine for a slice of that name, takes the group over and puts its own
    defaults, which bound nothing, in their place.
    """
    changed = {name: value for name, value in held.items() if bounds(group).get(name) != value}
    if changed:
        group.set(changed)
        _put_first(group.cgroups)


def unbounded(cgroups: Cgroups) -> list[Missing]:
    """What a guard of this host cannot bound, so that a runaway trial could take the host down."""
    return [missing for name in ("memory", "pids") if (missing := cgroups.lacks(name))]


def run_group(run: str, cgroups: Cgroups) -> Group:
    """The group that holds all trials of a run; a dash would mean another level to systemd."""
    return cgroups.group(OUTER).child(f"isobench-{_name(run)}.slice")


def remove_run(run: str, cgroups: Cgroups) -> None:
    """Remove the group of a finished run, and the outermost one where no other run is inside."""
    run_group(run, cgroups).remove()
    cgroups.group(OUTER).remove_if_empty()
    if cgroups.base:
        leave_leaf(cgroups)


def undo(name: str, cgroups: Cgroups | None = None) -> None:
    """Kill what is inside the group of that path, in every hierarchy, and remove it. Idempotent.

    What an OCI runtime left of it in hierarchies that this program does not use goes as well. The
    outermost group may hold a run of somebody else and is only removed when empty.
    """
    cgroups = cgroups or detect()
    group = Group(name.strip("/"), cgroups)
    if group.path.rpartition("/")[2] == OUTER:
        group.remove_if_empty()
        return
    if group.exists():
        group.kill()
    group.remove()
    sweep(group.path, cgroups.root)


def of_pid(pid: int, cgroups: Cgroups) -> Group:
    """The group a process is in: the deepest of its memory, cpu and v2 paths.

    A container engine uses one path in every hierarchy. A process that is gone gives the root.
    """
    paths = memberships(cgroups.root, pid, cgroups.hierarchies)
    order = [cgroups.owner("memory"), cgroups.owner("cpu"), cgroups.unified()]
    known = [paths[h] for h in order if h is not None and h in paths]
    return Group(max(known, key=lambda p: p.count("/") + bool(p), default=""), cgroups)


def _name(run: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", run)
