"""The ladder of a suite of kind "overhead": its tables, its second control, and the order of its trials."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench import modes, places
from bench.errors import SuiteError
from bench.model import AGAIN, Case, Rung

KIND = "overhead"
_KEYS = {"runtime", "title", "adds", "below", "group"}
Fail = Callable[..., SuiteError]


def read(tables: Sequence[Mapping[str, Any]], kind: str, fail: Fail) -> tuple[Rung, ...]:
    """The rungs of the `[[rung]]` tables; `fail` makes the error, where something is wrong with them.

    Every rung but the first stands on one that was named before it.
    """
    if bool(tables) != (kind == KIND):
        raise fail(f"a ladder belongs to a suite of kind '{KIND}', and such a suite has one", "rung",
                   "name its steps in [[rung]] tables")  # fmt: skip
    found: list[Rung] = []
    for raw in tables:
        texts = {key: value for key, value in raw.items() if key in _KEYS and isinstance(value, str)}
        if len(texts) != len(raw) or not {"runtime", "title", "adds", "group"} <= set(texts):
            raise fail("a rung has the texts runtime, title, adds, group, and below unless it is the first",
                       "rung")  # fmt: skip
        rung = Rung(**texts)
        known = {r.runtime for r in found} or {""}
        if rung.below not in known:
            raise fail(f"rung '{rung.runtime}' stands on '{rung.below}', which none before it is", "below")
        if rung.runtime in known:
            raise fail(f"rung '{rung.runtime}' is there twice", "rung")
        found.append(rung)
    return tuple(found)


def closing(case: Case) -> Case:
    """The same case once more, for the end of its part of a block."""
    return replace(case, id=f"{case.id},{AGAIN}", params={**case.params, AGAIN: True})


def ordered(cases: Sequence[Case], bottom: str, emulated: Collection[str], rng: random.Random) -> list[Case]:
    """The trials of one block: experiment by experiment in random order.

    Within one the runtime `bottom` comes first and, as its closing case, last, and the others between in
    random order: so what is compared lies close together in time. Where its files lie in several places,
    these two have them in a directory of the host. Emulated machines, which take so much longer that they
    would move the two apart, come after.
    """
    parts: dict[str, list[Case]] = {}
    for case in cases:
        parts.setdefault(case.experiment, []).append(case)
    names = list(parts)
    rng.shuffle(names)
    result: list[Case] = []
    for name in names:
        of = list(parts[name])
        rng.shuffle(of)
        result += sorted(of, key=lambda case: _place(case, bottom, emulated))
    return result


def _place(case: Case, bottom: str, emulated: Collection[str]) -> int:
    own = modes.closes(case.params) and places.closing(case.params)
    if case.runtime == bottom and own:  # also where the host itself is emulated
        return 2 if AGAIN in case.params else 0
    return 3 if case.runtime in emulated else 1
