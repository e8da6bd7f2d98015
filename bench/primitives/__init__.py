"""What the start of a container is made of, one by one: the contract of a primitive, and the registry."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bench.errors import UsageError
from bench.limits import nearest
from bench.model import Missing

if TYPE_CHECKING:
    from pathlib import Path

    from bench.host.cgroups import Group

_MODULES = ("processes", "namespaces", "cgroup", "overlay", "veth")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a primitive may work: a directory and a cgroup of this trial alone, removed after it."""

    scratch: Path
    group: Group | None


class Primitive(Protocol):
    """One thing that the kernel makes and unmakes. All three steps run in a process of this trial alone.

    Only `create` and `destroy` are timed, by the caller; each may come several times, in turn.
    """

    @property
    def name(self) -> str:
        """What a suite calls it: "namespace.net"."""

    @property
    def title(self) -> str:
        """What a report calls it."""

    def requires(self) -> Missing | None:
        """Why this host cannot make it, with what would help; None where it can."""

    def prepare(self, place: Place) -> None:
        """All that has to be there first. What it makes ends with the process, or lies in `place`."""

    def create(self) -> None:
        """Make it, and nothing else."""

    def destroy(self) -> None:
        """Unmake it; returns when the call does, though the kernel may go on in the background."""


def load() -> Mapping[str, Primitive]:
    """All primitives by name, in the order of a report."""
    found = (importlib.import_module(f"{__name__}.{module}").PRIMITIVES for module in _MODULES)
    return {one.name: one for primitives in found for one in primitives}


def find(name: str) -> Primitive:
    """The primitive of that name; UsageError with the nearest name otherwise."""
    known = load()
    if name not in known:
        raise UsageError(f"unknown primitive '{name}'{nearest(name, known)}",
                         fix=f"the primitives are: {', '.join(known)}")  # fmt: skip
    return known[name]
