"""One control group: the same path in every hierarchy this host has."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import HostError
from bench.host.cgroups import delegation, enforcement, files
from bench.host.cgroups.hierarchy import Cgroups, Hierarchy
from bench.ledger import Ledger
from bench.model import Reading, Scalar

DRAIN = 30.0
"""Seconds to wait for processes that were killed to leave, before giving up."""
_STEP = 0.002
_RACES = 10


@dataclass(frozen=True)
class Group:
    """A control group; `path` is relative to the mount points. Two of the same path are equal."""

    path: str
    cgroups: Cgroups = field(compare=False, repr=False)

    def child(self, name: str) -> Group:
        """The group `name` inside this one."""
        return Group(f"{self.path}/{name}".strip("/"), self.cgroups)

    def parent(self) -> Group | None:
        """The group this one is in; None for the root."""
        return Group(self.path.rpartition("/")[0], self.cgroups) if self.path else None

    def levels(self) -> Iterator[Group]:
        """This group and its ancestors, up to and including the root."""
        group: Group | None = self
        while group is not None:
            yield group
            group = group.parent()

    def directories(self) -> list[tuple[Hierarchy, Path]]:
        """Its directory in each hierarchy, whether that exists or not."""
        return [(h, h.mount / self.path) for h in self.cgroups.hierarchies]

    def _present(self) -> list[tuple[Hierarchy, Path]]:
        return [(h, d) for h, d in self.directories() if d.is_dir()]

    def exists(self) -> bool:
        """Whether any hierarchy has it."""
        return bool(self._present())

    def absolute(self) -> str:
        """The host path that stands for it in records: its directory in the memory hierarchy."""
        owner = self.cgroups.owner("memory") or next(iter(self.cgroups.hierarchies), None)
        return str(owner.mount / self.path) if owner else "/" + self.path

    def file(self, controller: str, name: str) -> Path:
        """Host path of a file in the hierarchy that owns `controller`; HostError where none does."""
        owner = self.cgroups.owner(controller) or (self.cgroups.unified() if controller == "cgroup" else None)
        if owner is None:
            raise HostError(
                f"no cgroup hierarchy has the controller '{controller}'",
                fix="see `bench doctor` for what is mounted",
            )
        return owner.mount / self.path / name

    # --- life ---------------------------------------------------------------------------------

    def create(self, ledger: Ledger | None = None) -> None:
        """Make it, and its ancestors below `Cgroups.base`, in every hierarchy.

        The ledger hears of each first. Idempotent. HostError where the kernel refuses.
        """
        if not self.path or self.path == self.cgroups.base:
            return
        for _ in range(_RACES):
            if self._try_create(ledger):
                return
        raise HostError(f"the parents of {self.absolute()} vanish while it is made", fix="run again")

    def _try_create(self, ledger: Ledger | None) -> bool:
        """False where another run removed the parent, empty at that moment, between two steps."""
        parent = self.parent()
        assert parent is not None
        parent.create(ledger)
        if ledger and self.path not in self.cgroups.entries and not self.exists():
            self.cgroups.entries[self.path] = (ledger, ledger.will_create("cgroup", self.path))
        for h, directory in self.directories():
            if h.version == 2:
                delegation.enable(self.cgroups, h, parent.path)
            with files.explained(f"cannot create the group {directory}"):
                try:
                    directory.mkdir(exist_ok=True)
                except FileNotFoundError:
                    return False
            if h.version == 1:
                _initialise_v1(h, directory)
        return True

    def remove(self) -> None:
        """Remove it and everything below it, waiting for processes that are on their way out.

        Idempotent. HostError with the PIDs where something still runs inside.
        """
        self._check_ours_to_end("remove")
        deadline = time.monotonic() + DRAIN
        for _, directory in self.directories():
            for inner in reversed([directory, *_below(directory)]):
                while not _rmdir(inner):
                    if time.monotonic() > deadline:
                        raise HostError(
                            f"the group {inner} still holds processes {self.pids()[:8]}", fix="bench clean"
                        )
                    time.sleep(_STEP)
        self._forget()

    def remove_if_empty(self) -> bool:
        """Remove it where it has neither processes nor children; True where it is gone after that."""
        if not self.path or self.path == self.cgroups.base:
            return False
        gone = [_rmdir(directory) for _, directory in self.directories()]
        self._forget()
        return all(gone)

    def _forget(self) -> None:
        for path in [p for p in self.cgroups.entries if p == self.path or p.startswith(self.path + "/")]:
            ledger, entry = self.cgroups.entries.pop(path)
            ledger.gone(entry)

    # --- processes ----------------------------------------------------------------------------

    def attach_files(self) -> list[Path]:
        """Every cgroup.procs that a process writes "0" to in order to enter the group."""
        return [directory / "cgroup.procs" for _, directory in self._present()]

    def attach(self, pid: int) -> None:
        """Move a process, and so its children to come, into the group."""
        for file in self.attach_files():
            files.write(file, str(pid))

    def pids(self) -> list[int]:
        """PIDs of everything in it and below, in any hierarchy, sorted."""
        found: set[int] = set()
        for _, directory in self._present():
            for place in [directory, *_below(directory)]:
                found.update(int(pid) for pid in (files.read(place / "cgroup.procs") or "").split())
        # A process outside this PID namespace is listed as 0.
        return sorted(found - {0})

    def kill(self) -> None:
        """Kill everything inside and wait until it left. HostError after `DRAIN` seconds.

        v2 does it with one write to cgroup.kill. v1 has no such file: the group is frozen, so that
        nothing forks meanwhile, all is sent SIGKILL, and it is thawed, until nothing is left.
        """
        self._check_ours_to_end("kill")
        deadline = time.monotonic() + DRAIN
        while True:
            unified = self.cgroups.unified()
            if unified and (unified.mount / self.path / "cgroup.kill").exists():
                files.write(unified.mount / self.path / "cgroup.kill", "1")
            pids = self.pids()
            if not pids:
                return
            if time.monotonic() > deadline:
                raise HostError(
                    f"processes {pids[:8]} in {self.absolute()} outlived SIGKILL for {DRAIN:g} s",
                    fix="look for processes in state D: ps -eo pid,stat,wchan,comm",
                )
            self._sweep(pids)
            time.sleep(_STEP)

    def _sweep(self, pids: list[int]) -> None:
        """One round on v1: freeze, SIGKILL each, thaw."""
        freezer = self.cgroups.owner("freezer")
        state = freezer.mount / self.path / "freezer.state" if freezer and freezer.version == 1 else None
        frozen = state is not None and state.exists()
        if frozen and state:
            files.write(state, "FROZEN")
        try:
            for pid in self.pids() if frozen else pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue  # it was already on its way out, which is all we want
        finally:
            if frozen and state:
                files.write(state, "THAWED")

    def _check_ours_to_end(self, verb: str) -> None:
        if not self.path or self.path == self.cgroups.base or os.getpid() in self.pids():
            raise HostError(
                f"refusing to {verb} the group '/{self.path}': this process, or the whole host, is inside",
                fix="name a group that this program created",
            )

    # --- limits -------------------------------------------------------------------------------

    def set(self, limits: Mapping[str, Scalar], device: str | None = None) -> None:
        """Write those limits (names of `bench.limits`, SI) and read each back.

        `device` is "MAJ:MIN" and needed by limits of IO rates. LimitNotSetError names the file, what was
        wanted, what the kernel holds, and a way out.
        """
        enforcement.enforce(self, limits, device)

    def effective(self, limit: str, device: str | None = None) -> Reading:
        """What binds this group: the smallest of its own and its ancestors' values, in SI.

        A CPU set is the one the kernel calls effective. A weight only compares siblings, so it is the
        group's own. None with reason "unlimited" where no level holds a limit.
        """
        return enforcement.effective(list(self.levels()), limit, device)


def _below(directory: Path) -> list[Path]:
    """Every group below, parents before their children; those that vanish meanwhile are left out."""
    return [Path(place) / name for place, names, _ in os.walk(directory) for name in names]


def _rmdir(directory: Path) -> bool:
    """Remove one group; False where it is still busy."""
    try:
        directory.rmdir()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        with files.explained(f"cannot remove the group {directory}"):
            raise
    return True


def _initialise_v1(h: Hierarchy, directory: Path) -> None:
    """What v1 leaves to user space: CPUs and memory nodes of a new cpuset, hierarchical accounting."""
    if "cpuset" in h.controllers:
        for name in ("cpuset.cpus", "cpuset.mems"):
            inherited = (files.read(directory.parent / name) or "").strip()
            if inherited and not (files.read(directory / name) or "").strip():
                files.write(directory / name, inherited)
    if "memory" in h.controllers and (files.read(directory / "memory.use_hierarchy") or "1").strip() == "0":
        files.write(directory / "memory.use_hierarchy", "1")
