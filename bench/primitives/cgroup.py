"""A control group of one controller: made and removed, and a process moved into it and back."""

from __future__ import annotations

import os
from pathlib import Path

from bench.errors import HostError
from bench.host import cgroups
from bench.host.cgroups.hierarchy import USED
from bench.model import Missing
from bench.primitives import Place, Primitive


class Directory:
    """A group in the hierarchy of one controller; on v2 with that controller alone enabled."""

    def __init__(self, controller: str) -> None:
        self._controller = controller
        self.name, self.title = f"cgroup.{controller}", f"{controller} cgroup"

    def requires(self) -> Missing | None:
        """The controller, and the right to make groups."""
        return _lacking(self._controller)

    def prepare(self, place: Place) -> None:
        """The parent of the group."""
        self._path = str(_parent(place, self._controller) / "made")

    def create(self) -> None:
        """Make its directory."""
        os.mkdir(self._path)  # noqa: PTH102 - a Path would be timed as well

    def destroy(self) -> None:
        """Remove its directory; the kernel frees the group in the background."""
        os.rmdir(self._path)  # noqa: PTH106


class Attached:
    """A process in a group of one controller; unmade by moving it to the group beside."""

    def __init__(self, controller: str) -> None:
        self._controller = controller
        self.name, self.title = f"attach.{controller}", f"process into a {controller} cgroup"

    def requires(self) -> Missing | None:
        """The controller, and the right to make groups."""
        return _lacking(self._controller)

    def prepare(self, place: Place) -> None:
        """Two groups, and this process in one of them."""
        parent = _parent(place, self._controller)
        self._files = []
        for name in ("inside", "beside"):
            (parent / name).mkdir()
            self._files.append(os.open(parent / name / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))
        self.destroy()

    def create(self) -> None:
        """Move this process in."""
        os.write(self._files[0], b"0")

    def destroy(self) -> None:
        """Move this process out."""
        os.write(self._files[1], b"0")


def _parent(place: Place, controller: str) -> Path:
    """The trial's group in the hierarchy of `controller`, ready to have groups inside."""
    if place.group is None:
        raise HostError("there is no cgroup of this trial", fix="run as root")
    parent = place.group.file(controller, "cgroup.procs").parent
    if place.group.cgroups.version(controller) == 2:
        enabled = "cpu" if controller == "cpuacct" else controller
        (parent / "cgroup.subtree_control").write_text(f"+{enabled}")
    elif (parent / "cgroup.clone_children").exists():
        (parent / "cgroup.clone_children").write_text("1")  # else a group has no CPUs and takes no process
    return parent


def _lacking(controller: str) -> Missing | None:
    found = cgroups.detect()
    cause = f"this host has no cgroup controller {controller}"
    version = found.version(controller)
    if version is None or (version == 2 and controller == "freezer"):
        return Missing(controller, cause, "bench doctor")
    return found.refuses()


PRIMITIVES: tuple[Primitive, ...] = (*(Directory(c) for c in USED), *(Attached(c) for c in USED))
