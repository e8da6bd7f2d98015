"""`bench compare RUN RUN`: two run directories, by the ratios that each found within its own blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import msgspec

from bench import runtimes
from bench.commands import sides
from bench.commands.sides import Side
from bench.comparison import between, decision
from bench.comparison.between import Anchored
from bench.errors import NothingToRunError, UsageError
from bench.model import Interval, Judged, Policy, Ratio, Scalar

_NO_COPIES = "nothing was measured twice, so the interval knows nothing of what differs between runs"
_MEASURING = ("half_width", "seconds", "blocks", "seed")


@dataclass(frozen=True, slots=True)
class Pair:
    """One thing in both runs: its ratio in each, the one over the other, and what may be said of it."""

    metric: str
    arm: str
    """Its name; "docker@app:1 → docker@app:2" where the only candidates of the runs have different ones."""
    against: str
    first: Ratio
    second: Ratio
    ratio: Ratio
    word: str
    reason: str


@dataclass(frozen=True, slots=True)
class Between:
    """Two runs held side by side. `judged` are ratios to the pinned reference, `pairs` all ratios."""

    first: str
    second: str
    pairs: tuple[Pair, ...]
    judged: tuple[Judged, ...]
    state: Mapping[str, tuple[Scalar | None, Scalar | None]]
    """Facts of state that differ: the first run's and the second's."""
    programs: Mapping[str, tuple[str, str]]
    """Programs that carried out runtimes of both runs in versions that differ."""
    notes: tuple[str, ...]


def named(names: Sequence[str]) -> bool:
    """Whether these are two run directories, not arms; UsageError for one of each, or a path to nowhere."""
    paths = [name for name in names if _is_path(name)]
    if not paths:
        return False
    for name in paths:
        if not Path(name).exists():
            raise UsageError(f"there is no run directory {name}", fix="bench list runs")
    if len(paths) != len(names) or len(names) != 2:
        raise UsageError(f"{paths[0]} is a directory: a run is compared with one other run, and with no arm",
                         fix="bench compare RUN RUN; for arms: bench compare --arms NAME NAME")  # fmt: skip
    return True


def _is_path(name: str) -> bool:
    """Whether a name is of a run directory: it holds a run, or is a path that no runtime is called by."""
    if (Path(name) / "run.json").is_file():
        return True
    known = runtimes.split(name)[0] in runtimes.names()
    return not known and (Path(name).exists() or "/" in name)


def compare(names: Sequence[str], *, as_json: bool, **options: object) -> int:
    """Hold two runs side by side and print what may be said; the exit status. `options` must be unset."""
    for name in _MEASURING:
        if options.get(name) is not None:
            raise UsageError(f"two runs are only read: --{name.replace('_', '-')} has no use here",
                             fix=f"bench compare {' '.join(names)}")  # fmt: skip
    one, other = (sides.read(Path(name)) for name in names)
    found = held(one, other)
    click.echo(msgspec.json.encode(found).decode() if as_json else "\n".join(lines(one, other, found)))
    return status(found)


def status(found: Between) -> int:
    """1 for a slow-down against the pinned reference that both measurements of the second run show.

    3 where the ratios to the reference allow no verdict. Ratios to the raw process only warn: alone they
    end with 0.
    """
    return decision.status(found.judged) if found.judged else 0


def held(first: Side, second: Side) -> Between:
    """What two runs say of each other; UsageError where they may not be compared, with what differs."""
    sides.refuse(first, second)
    notes = [*_policies(first, second)]
    pairs, judged = _to_reference(first, second, notes)
    pairs += _to_raw(first, second)
    if not pairs:
        raise NothingToRunError("the two runs have no ratio of the same thing to the same thing",
                                fix="measure both with one reference: bench compare REFERENCE …")  # fmt: skip
    state = {
        name: (first.state.get(name), second.state.get(name))
        for name in dict.fromkeys([*first.state, *second.state])
        if first.state.get(name) != second.state.get(name)
    }
    programs = {
        name: (version, second.programs[name])
        for name, version in first.programs.items()
        if second.programs.get(name, version) != version
    }
    return Between(first.id, second.id, tuple(pairs), tuple(judged), state, programs, tuple(notes))


def _policies(first: Side, second: Side) -> list[str]:
    """Where the policies differ, the second run's holds; UsageError for intervals of different confidence."""
    notes = []
    for metric in sorted(set(first.policy) & set(second.policy)):
        one, other = first.policy[metric], second.policy[metric]
        if one.confidence != other.confidence:
            raise UsageError(f"the intervals of {metric} have different confidence: {one.confidence:g} in "
                             f"{first.id}, {other.confidence:g} in {second.id}",
                             fix="measure both by one policy")  # fmt: skip
        for name in ("margin", "equivalence", "floor"):
            a, b = getattr(one, name), getattr(other, name)
            if a != b:
                notes.append(f"the {name} of {metric} was {a:g} in the first run and is {b:g} in the second, "
                             "which holds")  # fmt: skip
    return notes


def _to_reference(first: Side, second: Side, notes: list[str]) -> tuple[list[Pair], list[Judged]]:
    """Candidates of both runs against the reference that both are pinned to, judged as one family."""
    if not first.reference or not second.reference:
        return [], []
    if first.reference != second.reference:
        notes.append(f"the references differ ({first.reference}, {second.reference}): only ratios to the raw "
                     "process can be held side by side")  # fmt: skip
        return [], []
    pairs, judged = [], []
    for metric in [m for m in first.policy if m in second.policy]:
        for name, (one, other) in _alike(first.code.get(metric, {}), second.code.get(metric, {})).items():
            policy = second.policy[metric]
            said = replace(between.judge(policy, one, other, second.median.get(metric)), arm=name)
            again = second.again.get(metric, {}).get(other.ratio.arm)
            if again is not None:
                twice = between.judge(policy, one, again, second.median.get(metric))
                said = decision.confirm(said, replace(twice, arm=name))
            judged.append(_void(said, first.void.get((metric, one.ratio.arm)), "first"))
            judged[-1] = _void(judged[-1], second.void.get((metric, other.ratio.arm)), "second")
            pairs.append((metric, name, one, other))
    judged = decision.family(judged, second.policy)
    return [
        _pair(metric, name, one, other, j.outcome, j.reason)
        for (metric, name, one, other), j in zip(pairs, judged, strict=True)
    ], judged


def _void(judged: Judged, why: str | None, which: str) -> Judged:
    """Invalid where that run's own result is."""
    if why is None:
        return judged
    return replace(judged, outcome="invalid", reason=f"the {which} run is invalid by itself: {why}")


def _alike(
    first: Mapping[str, Anchored], second: Mapping[str, Anchored]
) -> dict[str, tuple[Anchored, Anchored]]:
    """Candidates of one name in both; else the only one of each, as two builds are called differently."""
    found = {name: (first[name], second[name]) for name in first if name in second}
    if not found and len(first) == len(second) == 1:
        (one,), (other,) = first, second
        found[f"{one} → {other}"] = (first[one], second[other])
    return found


def _to_raw(first: Side, second: Side) -> list[Pair]:
    pairs = []
    for metric in [m for m in first.raw if m in second.raw]:
        for name, one in first.raw[metric].items():
            other = second.raw[metric].get(name)
            if other is None:
                continue
            ratio = between.apart(one, other)
            margin = second.policy.get(metric, Policy()).margin
            lacking = "" if one.copies and other.copies else _NO_COPIES
            pairs.append(_pair(metric, name, one, other, between.change(ratio, margin), lacking))
    return pairs


def _pair(metric: str, name: str, one: Anchored, other: Anchored, word: str, reason: str) -> Pair:
    ratio = between.apart(one, other)
    return Pair(metric, name, other.ratio.against, one.ratio, other.ratio, ratio, word, reason)


def lines(one: Side, other: Side, found: Between) -> list[str]:
    """What may be said, for people: the outcomes, both ratios of each, and what differs in state."""
    said = [
        "These two runs were not measured in turn, so their absolute times say nothing of each other.",
        "Held side by side is what each found within its own blocks.",
        f"  first:  {one.title}",
        f"  second: {other.title}",
    ]
    for pair in found.pairs:
        why = f": {pair.reason}" if pair.reason else ""
        said.append(f"{pair.metric} of {pair.arm} over {pair.against}: {pair.word}{why}")
        said.append(f"  {_times(pair.first.ratio)} in the first, {_times(pair.second.ratio)} in the second; "
                    f"second over first {_times(pair.ratio.ratio)}")  # fmt: skip
    if any(pair.word in ("higher", "lower") for pair in found.pairs):
        said.append("A changed ratio to the raw process is a reason to measure, and no verdict.")
    said += [f"note: {note}" for note in found.notes]
    if found.programs:
        listed = "; ".join(f"{name} {a} / {b}" for name, (a, b) in found.programs.items())
        said.append(f"programs of other versions, which a change may come from, first / second: {listed}")
    if found.state:
        listed = "; ".join(f"{name} {a} / {b}" for name, (a, b) in found.state.items())
        said.append(f"state that differs, first / second: {listed}")
    said.append("to be sure: measure both in turn on one machine, bench compare REFERENCE CANDIDATE")
    return said


def _times(found: Interval) -> str:
    ends = "" if found.low is None or found.high is None else f" ({found.low:.4g} … {found.high:.4g})"
    return f"×{found.estimate:.4g}{ends}"
