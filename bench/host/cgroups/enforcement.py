"""Putting limits in force on a group, and reading back what binds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.errors import HostError, LimitNotSetError
from bench.host.cgroups import files, v1, v2
from bench.host.cgroups.offers import CONTROLLER
from bench.host.cgroups.values import agrees, bounded
from bench.limits import known
from bench.model import Reading, Scalar

if TYPE_CHECKING:
    from bench.host.cgroups.group import Group


def enforce(group: Group, limits: Mapping[str, Scalar], device: str | None) -> None:
    """Write every limit and compare what the kernel then holds; LimitNotSetError where that differs."""
    for name in limits:
        if _version(group, name) is None:
            lack = group.cgroups.lacks(name)
            cause, fix = (lack.cause, lack.fix) if lack else ("no hierarchy has its controller", "")
            raise LimitNotSetError(f"{name}: {cause}", fix=fix or None)
    for version, module in ((1, v1), (2, v2)):
        mine = {name: value for name, value in limits.items() if _version(group, name) == version}
        try:
            todo = module.writes(mine, _getter(group), device)
        except ValueError as error:
            raise LimitNotSetError(f"cannot set limits of {group.absolute()}: {error}") from error
        for write in todo:
            _put(group, write, limits.get(write.limit))
    for name, wanted in limits.items():
        held = own(group, name, device)
        if not agrees(name, wanted, held):
            found = held.reason if held.value is None else held.value
            raise LimitNotSetError(
                f"{name}: wanted {wanted} in {held.source}, the kernel holds: {found}",
                fix="ask for a value this kernel can hold; look at the parent group's own limits",
            )


def _put(group: Group, write: v1.Write, wanted: Scalar | None) -> None:
    path = group.file(write.controller, write.file)
    try:
        files.write(path, write.text)
    except HostError as error:
        held = (files.read(path) or "nothing").strip()
        why = group.cgroups.refused.get(write.controller, error)
        raise LimitNotSetError(
            f"{write.limit}: wanted {wanted}; {why.message}; the file holds '{held}'", fix=why.fix
        ) from error


def effective(levels: Sequence[Group], limit: str, device: str | None) -> Reading:
    """What binds the first of `levels`, the others being its ancestors; see `Group.effective`."""
    if known(limit).kind in ("weight", "cpus"):
        return own(levels[0], limit, device)
    if limit == "swap" and _version(levels[0], limit) == 1:
        return _effective_swap_v1(levels)
    return bounded([own(level, limit, device) for level in levels])


def _effective_swap_v1(levels: Sequence[Group]) -> Reading:
    """v1 bounds memory and swap together: what is left for swap once memory is full."""
    both = bounded([own(level, "memsw", None) for level in levels])
    memory = bounded([own(level, "memory", None) for level in levels])
    if both.value is None or memory.value is None:
        return Reading(None, both.source, both.reason or memory.reason)
    return Reading(max(int(both.value) - int(memory.value), 0), both.source)


def own(group: Group, limit: str, device: str | None) -> Reading:
    """What that one group holds; `source` is the host path of the file."""
    version = _version(group, limit)
    if version is None:
        return Reading(None, "", f"no cgroup hierarchy has the controller of {limit}")
    found = (v1 if version == 1 else v2).own(limit, _getter(group), device)
    source = str(group.file(CONTROLLER.get(limit, "memory"), found.source)) if found.source else ""
    return Reading(found.value, source, found.reason)


def _version(group: Group, limit: str) -> int | None:
    return group.cgroups.version(CONTROLLER.get(limit, "memory" if limit == "memsw" else limit))


def _getter(group: Group) -> v1.Get:
    def get(controller: str, name: str) -> str | None:
        owner = group.cgroups.owner(controller)
        return files.read(owner.mount / group.path / name) if owner else None

    return get
