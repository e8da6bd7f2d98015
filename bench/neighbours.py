"""A matrix of victims beside aggressors, as a suite writes it down: one experiment a cell. Pure.

A suite names the axes in `params`, what belongs to its default in `slice`, and in tables `[control.NAME]`
the limits that each control gives to the two tenants. Once the suite was read there are only plain
experiments of two tenants.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.limits import nearest
from bench.model import AGGRESSOR, AXES, CONTROL, PLACEMENT, VICTIM, Case, Scalar

UNCONTROLLED = "none"
"""The control that limits nothing."""
PLACEMENTS: Mapping[str, tuple[int, int]] = {"same": (0, 0), "other": (0, 1), "free": (-1, -1)}
"""The CPU that victim and aggressor pin themselves to, by placement; -1 for none."""
DISJOINT = "cpuset"
"""The limit that itself says where the tenants run: then they are on CPUs of their own in any case."""
ON_DISK = frozenset({"disk", "metadata", "inodes"})
"""Victims and aggressors that work on the trial's disk."""
PHASES = ("before", "during", "after", "alone")
"""Args of both programs: seconds of each phase. They make up a trial's time."""
WITHOUT = "without"
"""Param of a case: the limits of its control that the runtime cannot give, and that it runs without."""
BOUND = 1 << 30
"""Bytes that both tenants have together, whatever the control: what a bomb without limits can take."""

Complain = Callable[[str, str, str | None], Exception]
"""(message, key, fix) → the error that names the suite's line."""


def is_matrix(raw: Mapping[str, Any]) -> bool:
    """Whether an experiment of a suite is such a matrix."""
    return VICTIM in raw.get("params", {})


def expanded(
    raw: Mapping[str, Any], controls: Mapping[str, Any], complain: Complain
) -> Iterator[dict[str, Any]]:
    """The experiments of a matrix, each as a suite would write it. Raises what `complain` makes."""
    axes = {axis: _named(raw, axis, complain) for axis in AXES}
    for control in axes[CONTROL]:
        if control != UNCONTROLLED and control not in controls:
            raise complain(f"unknown control '{control}'{nearest(control, controls)}", CONTROL,
                           f"one of: {', '.join([UNCONTROLLED, *controls])}")  # fmt: skip
    for placement in axes[PLACEMENT]:
        if placement not in PLACEMENTS:
            raise complain(f"unknown placement '{placement}'{nearest(placement, PLACEMENTS)}", PLACEMENT,
                           f"one of: {', '.join(PLACEMENTS)}")  # fmt: skip
    usual, quick = raw.get("slice"), dict(raw.get("quick", {}))
    brief = quick.pop("slice", None)
    for setting in itertools.product(*axes.values()):
        cell = dict(zip(AXES, setting, strict=True))
        limits = {} if cell[CONTROL] == UNCONTROLLED else controls[cell[CONTROL]]
        if _disjoint(limits) and cell[PLACEMENT] != "other":
            continue
        yield {
            **{k: v for k, v in raw.items() if k not in ("slice", "args", "quick")},
            "name": _name(cell),
            "title": f"{cell[VICTIM]} beside {cell[AGGRESSOR]}",
            "tenant": _tenants(cell, raw.get("args", {}), limits),
            "params": {axis: [value] for axis, value in cell.items()},
            "needs": [*raw.get("needs", ()), *(["disk"] if _on_disk(cell) else [])],
            "full": usual is not None and not _within(cell, usual),
            "quick": {**quick, "skip": brief is not None and not _within(cell, brief)},
        }


def offered(case: Case, controls: frozenset[str], lacks: Callable[[str], object]) -> Case:
    """The case without those limits of its control that its runtime cannot give; they are named in a param.

    A case of nothing but such limits stays as it is, and cannot run.
    """
    if VICTIM not in case.params:
        return case
    asked = {name for t in case.tenants for name in t.limits}
    short = sorted(n for n in asked if n not in controls or lacks(n) is not None)
    if not short or set(short) == asked:
        return case
    tenants = tuple(
        replace(t, limits={n: v for n, v in t.limits.items() if n not in short}) for t in case.tenants
    )
    return replace(case, tenants=tenants, params={**case.params, WITHOUT: ", ".join(short)})


def label(params: Mapping[str, Scalar]) -> str:
    """What a row of such an experiment is called: "limits, same"."""
    return f"{params[CONTROL]}, {params[PLACEMENT]}"


def pointless(params: Mapping[str, Scalar]) -> bool:
    """Whether a runtime without limits would only repeat what it does under no control."""
    return params.get(CONTROL, UNCONTROLLED) != UNCONTROLLED


def _named(raw: Mapping[str, Any], axis: str, complain: Complain) -> Sequence[str]:
    values = raw["params"].get(axis)
    if not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
        raise complain(f"a matrix of neighbours needs params.{axis}, a list of names", axis, None)
    return values


def _name(cell: Mapping[str, str]) -> str:
    return "-".join([cell[VICTIM], "beside", cell[AGGRESSOR], cell[CONTROL], cell[PLACEMENT]])


def _tenants(
    cell: Mapping[str, str], args: Mapping[str, Scalar], limits: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Both tenants; rates of a disk are limited where there is one."""
    found = []
    for tenant, cpu in zip((VICTIM, AGGRESSOR), PLACEMENTS[cell[PLACEMENT]], strict=True):
        own = {k: v for k, v in limits.get(tenant, {}).items() if k != "io" or _on_disk(cell)}
        wanted = {k: v for k, v in args.items() if tenant == VICTIM or k != "load"}
        found.append({"name": tenant, "workload": f"{tenant}/{cell[tenant]}",
                      "args": {**wanted, "cpu": cpu}, "limits": own})  # fmt: skip
    return found


def _on_disk(cell: Mapping[str, str]) -> bool:
    return bool({cell[VICTIM], cell[AGGRESSOR]} & ON_DISK)


def _disjoint(limits: Mapping[str, Any]) -> bool:
    return any(DISJOINT in own for own in limits.values())


def _within(cell: Mapping[str, str], parts: Sequence[Mapping[str, Sequence[str]]]) -> bool:
    """Whether one of those parts of the matrix holds the cell; an axis that a part does not name is whole."""
    return any(all(cell[axis] in part.get(axis, (cell[axis],)) for axis in AXES) for part in parts)
