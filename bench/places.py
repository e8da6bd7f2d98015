"""Where the files of a workload lie, as a param of an experiment; and what a runtime with several such places
promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from bench.model import PLACE, Missing, Scalar

BIND, VOLUME, ROOT, RAW, QCOW2, TMPFS = PLACES = ("bind", "volume", "root", "raw", "qcow2", "tmpfs")
"""A directory of the host (bind mounted, where there is a boundary), a named volume of an engine, the
sandbox's own root, the disk of a machine by the format of its file, and a file system in memory. All but the
last lie on the file system of the state directory."""
TITLES: Mapping[str, str] = {
    BIND: "host directory", VOLUME: "named volume", ROOT: "own root", RAW: "raw disk",
    QCOW2: "qcow2 disk", TMPFS: "tmpfs",
}  # fmt: skip
NATIVE = (BIND, ROOT, TMPFS)
"""Where a raw process can have its files: it mounts the overlay and the tmpfs that a container would have."""
DIRECTORY = "/var/tmp"  # noqa: S108 - a name inside a sandbox
"""The directory of the root, as seen inside, that the files are in."""
POINT = "/mnt"
"""Where a volume or a tmpfs is mounted, as seen inside. Every image has it."""


@runtime_checkable
class Placing(Protocol):
    """A runtime that can have the files of a workload in several places."""

    places: frozenset[str]
    """Which of `PLACES`."""

    def misplaced(self, place: str) -> Missing | None:
        """Why files in that place of its would not lie on the file system of the state directory, if so."""


@runtime_checkable
class Housed(Protocol):
    """A sandbox whose files lie where its case asks for."""

    files: str
    """Directory of the workload's files, as seen inside; "" for the scratch directory."""


def complaint(params: Mapping[str, Sequence[Scalar]]) -> tuple[str, str] | None:
    """The param and what is wrong with it, where an experiment names places that are none."""
    if set(params.get(PLACE, ())) <= set(PLACES):
        return None
    return PLACE, f"'{PLACE}' is one of: {', '.join(PLACES)}"


def pointless(params: Mapping[str, Scalar]) -> bool:
    """Whether a raw process has no such place: a volume or a disk is a host directory to it."""
    return params.get(PLACE, BIND) not in NATIVE


def closing(params: Mapping[str, Scalar]) -> bool:
    """Whether the raw process of that case is what others are compared with, so that it is repeated."""
    return params.get(PLACE, BIND) == BIND


def not_offered(params: Mapping[str, Scalar], runtime: object) -> str | None:
    """Why that runtime has no such place; None where it has."""
    if PLACE not in params:
        return None
    place = str(params[PLACE])
    offered = runtime.places if isinstance(runtime, Placing) else frozenset()
    if place in offered:
        return None
    only = ", ".join(TITLES[p] for p in PLACES if p in offered)
    return f"its files cannot lie in a place of the kind '{TITLES[place]}', only: {only or 'where they do'}"


def misplaced(params: Mapping[str, Scalar], runtime: object) -> Missing | None:
    """Why what lies there could not be compared with the raw process, where that is known before a trial."""
    return runtime.misplaced(str(params[PLACE])) if PLACE in params and isinstance(runtime, Placing) else None


def files(sandbox: object, scratch: str) -> str:
    """The directory of the workload's files inside: where the case asked for, else the scratch directory."""
    return (sandbox.files if isinstance(sandbox, Housed) else "") or scratch
