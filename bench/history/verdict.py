"""Series, steps and marks in; changes out: what happened, where, and whether somebody has to act."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from bench.history import detect
from bench.history.detect import Bools, Floats, Level, Step
from bench.history.marks import Marks
from bench.history.series import Key, Measure, Series
from bench.model import Interval

RECENT = 500
"""Points of an environment series that are searched: what the machine did long ago warns nobody."""
_SIDE = 20
"""Values on each side of a step by which siblings are asked whether they moved as well."""


@dataclass(frozen=True, slots=True)
class Change:
    """A step in a series between two commits, and what follows from it.

    `shift` is the relative change (0.05 for 5 % slower) with its 99 % interval over `n` points.
    """

    key: Key
    measure: Measure
    kind: Literal["code", "environment"]
    """Environment for steps of the environment series, and of the code where the machine changed with it."""
    level: Level
    before: str
    """The last good commit: the predecessor of the first bad one."""
    first: str
    index: int
    """Of the first bad point in its series."""
    shift: Interval
    z: float
    moved: bool = False
    """The machine or image changed between these commits."""
    facts: tuple[str, ...] = ()
    """What differs between the machines, where `moved`."""
    silenced: str | None = None
    """Until when, ISO 8601."""
    isolated: bool | None = None
    """Whether no sibling moved the same way; None where no sibling can say."""
    undone: bool = False
    """Whether a later level was back at the one from before."""

    @property
    def fails(self) -> bool:
        """Whether a check fails for it: slower by the code, not undone, not silenced."""
        slower = self.shift.estimate > 0 and self.level in ("alert", "gross")
        return self.kind == "code" and slower and not self.undone and self.silenced is None


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A series without a history verdict, and why."""

    key: Key
    measure: Measure
    reason: str


@dataclass(frozen=True, slots=True)
class Checked:
    """All changes, in order of series and time, and the series that are too short."""

    changes: tuple[Change, ...]
    unjudged: tuple[Unjudged, ...]
    judged: int


Facts = Mapping[tuple[str, str], Mapping[str, Mapping[str, object]]]


def check(
    series: Sequence[Series], marks: Marks, *, now: float | None = None, facts: Facts | None = None
) -> Checked:
    """What the series of one history say. `now` in seconds since 1970 decides on silences, else the clock.

    `facts` by fingerprint and image, as `archive.facts` gives them, name what differs between machines.
    """
    moment = time.time() if now is None else now
    changes: list[Change] = []
    unjudged: list[Unjudged] = []
    for one in series:
        found, searched = _changes(one, marks)
        changes += found
        if searched < detect.FEWEST:
            reason = (
                f"no history verdict: {searched} usable points since the baseline, {detect.FEWEST} are needed"
            )
            unjudged.append(Unjudged(one.key, one.measure, reason))
    changes += [c for c in _across(series, facts or {}) if not marks.accepted(c.key, [c.first])]
    told = [_told(change, series, marks, moment) for change in changes]
    return Checked(tuple(told), tuple(unjudged), len(series) - len(unjudged))


def baselines(one: Series, marks: Marks) -> list[int]:
    """Indices at which the search begins anew: the start, accepted changes, and pins without a link."""
    start = 0 if one.kind == "code" else max(0, len(one.values) - RECENT)
    later = {*one.breaks, *marks.accepted(one.key, list(one.commits))}
    return [start, *sorted(index for index in later if index > start)]


def _changes(one: Series, marks: Marks) -> tuple[list[Change], int]:
    """Changes of one series by itself, and the number of usable points since its last baseline."""
    found: list[Change] = []
    searched = 0
    for begin, end in pairwise([*baselines(one, marks), len(one.values)]):
        chosen = np.flatnonzero(one.usable[begin:end]) + begin
        searched = len(chosen)
        values = one.values[chosen]
        may = _may(one, chosen)
        steps = detect.steps(values, may)
        for step, undone in zip(steps, _undone(values, steps), strict=True):
            found.append(replace(_change(one, chosen, step), undone=undone))
    last = max(baselines(one, marks))
    # A screening level is about the newest point; one before an accepted change is past.
    return [c for c in found if c.level != "screen" or c.index >= last], searched


def _may(one: Series, chosen: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Bools:
    """Before which points code can have changed: not between two runs of the same commit."""
    may = np.ones(len(chosen), dtype=np.bool_)
    if one.measure == "code":
        commits = one.commits[chosen]
        may[1:] = (commits[1:] != commits[:-1]) | (commits[1:] == "")
    return may


def _change(one: Series, chosen: np.ndarray[tuple[int], np.dtype[np.intp]], step: Step) -> Change:
    estimate, low, high = (float(np.expm1(v)) for v in (step.shift, step.low, step.high))
    index = int(chosen[step.index])
    return Change(
        one.key, one.measure, one.kind, step.level, _name(one, int(chosen[step.index - 1])),
        _name(one, index), index, Interval(estimate, low, high, step.n), step.z,
    )  # fmt: skip


def _name(one: Series, index: int) -> str:
    """The commit of a point; the id of its comparison where that is not known."""
    return str(one.commits[index] or one.comparisons[index])


def _undone(values: Floats, steps: Sequence[Step]) -> list[bool]:
    """Of every step whether a later level, at the latest the newest, is back at what was before it."""
    places = [0, *(s.index for s in steps), len(values)]
    levels = [float(np.median(values[a:b])) if a < b else math.inf for a, b in pairwise(places)]
    newest = float(np.median(values[-detect.BEFORE :])) if len(values) else math.inf
    found = []
    for i, step in enumerate(steps):
        later = [*levels[i + 2 :], *([newest] if len(values) - step.index >= 2 * detect.BEFORE else [])]
        back = [(level - levels[i]) * math.copysign(1, step.shift) for level in later]
        limit = min(detect.SMALLEST, abs(step.shift) / 2)
        found.append(step.level != "screen" and any(one < limit for one in back))
    return found


def _across(series: Sequence[Series], facts: Facts) -> list[Change]:
    """Steps of the code ratio where the machine or its image changed, which several series show together.

    Series whose newest reference is not the same are not put together: their ratios mean different things.
    """
    together: dict[tuple[str, str, str], list[Series]] = defaultdict(list)
    for one in series:
        if one.measure == "code":
            together[one.key.arm, one.key.metric, str(one.references[-1])].append(one)
    found: list[Change] = []
    for group in (g for g in together.values() if len(g) > 1):
        joined = [
            (s.times[i], s.created[i], s.comparisons[i], s, i)
            for s in group
            for i in np.flatnonzero(s.usable)
        ]
        joined.sort(key=lambda point: point[:3])
        values = np.array([s.values[i] for *_, s, i in joined])
        may = np.array([False, *(a[3] is not b[3] for a, b in pairwise(joined))][: len(joined)])
        for step in detect.steps(values, may):
            (*_, old, last), (*_, new, first) = joined[step.index - 1], joined[step.index]
            change = _change(new, np.array([first]), replace(step, index=0))
            named = differing(facts, old.key, new.key)
            found.append(
                replace(change, kind="environment", before=_name(old, int(last)), moved=True, facts=named)
            )
    return found


def differing(facts: Facts, one: Key, other: Key) -> tuple[str, ...]:
    """Identity facts that two machines do not share, each as "name: one | other", the image among them."""
    a, b = (dict(facts.get((k.fingerprint, k.image), {}).get("identity", {})) for k in (one, other))
    a["image"], b["image"] = one.image, other.image
    names = sorted(name for name in {*a, *b} if a.get(name) != b.get(name))
    return tuple(f"{name}: {a.get(name)} | {b.get(name)}" for name in names)


def _told(change: Change, series: Sequence[Series], marks: Marks, now: float) -> Change:
    silenced = marks.silenced(change.key, (change.before, change.first), now)
    return replace(change, silenced=silenced, isolated=_isolated(change, series))


def _isolated(change: Change, series: Sequence[Series]) -> bool | None:
    """Whether none of the other series of that measure on that machine moved the same way at that time."""
    home = next(s for s in series if s.key == change.key and s.measure == change.measure)
    moment = home.times[change.index]
    answers = []
    for other in series:
        near = (other.key.fingerprint, other.key.image) == (home.key.fingerprint, home.key.image)
        if not near or other.measure != home.measure or other.key == home.key:
            continue
        values, times = other.values[other.usable], other.times[other.usable]
        before, after = values[times < moment][-_SIDE:], values[times >= moment][:_SIDE]
        if len(before) >= detect.BEFORE and len(after) >= detect.AFTER:
            moved, low, high = detect.shift(before, after)
            answers.append(max(low, -high) > 0 and moved * change.shift.estimate > 0)
    return not any(answers) if answers else None
