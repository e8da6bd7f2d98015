"""What others published beside what came out here, as a section of the report."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.analysis.claims import Evaluated, Severity, Word, counted
from bench.published import Figure as Published
from bench.published import figures, rows
from bench.render.figures import Figure
from bench.render.figures import literature as picture
from bench.render.verdicts import Mark

MARKS: dict[Word, Mark] = {
    "reproduced": Mark("✓", "reproduced", "pass", 3, "The interval is clear of the bound, as was claimed."),
    "inverted": Mark("⇄", "inverted", "unenforced", 0,
                     "The interval is clear of the bound, on the other side: a finding, and no failure."),
    "inconclusive": Mark("≈", "inconclusive", "inconclusive", 1, "The interval straddles the bound."),
    "not applicable": Mark("–", "not applicable", "untestable", 2, "For the reason that is given."),
}  # fmt: skip
SEVERITIES: dict[Severity, str] = {
    "must": "promised by the kernel",
    "should": "expected from how it is built",
    "era": "numbers of their time",
}
FEW = 3
"""Figures of one kind and source up to which each is told; more are told together."""


@dataclass(frozen=True, slots=True)
class Here:
    """One claim and what came out of it on this machine."""

    text: str
    mark: Mark
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """One publication: who and when, on what, whether anybody checked the transcription, and its figures."""

    name: str
    title: str
    hardware: str
    verified: bool
    figures: tuple[tuple[str, str], ...]
    """Ids and what they say."""


@dataclass(frozen=True, slots=True)
class Group:
    """Claims that lean on the same figures."""

    id: str
    severity: str
    claims: tuple[Here, ...]
    sources: tuple[Source, ...]
    by: str


@dataclass(frozen=True, slots=True)
class Literature:
    """The section: how many claims came out how, pictures, and the claims beside their figures."""

    counts: tuple[tuple[Mark, int], ...]
    pictures: tuple[Figure, ...]
    groups: tuple[Group, ...]


def section(found: Sequence[Evaluated]) -> Literature | None:
    """The section; None where nobody says anything of what the run measured."""
    if not found:
        return None
    by_group = itertools.groupby(found, key=_together_with)
    return Literature(
        counts=tuple((MARKS[word], n) for word, n in counted(found).items()),
        pictures=picture.draw(found),
        groups=tuple(_group(list(of)) for _, of in by_group),
    )


def _together_with(one: Evaluated) -> tuple[object, ...]:
    """What claims that stand together have in common."""
    cited = one.claim.cited
    return one.claim.id, cited.rows, cited.by, cited.severity


def _group(of: Sequence[Evaluated]) -> Group:
    cited = of[0].claim.cited
    published = [figures()[row] for row in cited.rows]
    severity = SEVERITIES[cited.severity]
    if cited.severity == "era" and published:
        severity += f", {_years(published)}"
    return Group(
        of[0].claim.id,
        severity,
        tuple(Here(one.claim.text, MARKS[one.word], one.reason) for one in of),
        tuple(_sources(published)),
        cited.by,
    )


def _years(published: Sequence[Published]) -> str:
    years = [one.year for one in published]
    return f"{min(years)} … {max(years)}" if min(years) < max(years) else f"{years[0]}"


def _sources(published: Sequence[Published]) -> Iterator[Source]:
    groups: dict[tuple[str, int, str, bool], list[Published]] = {}
    for one in published:
        groups.setdefault((one.source, one.year, one.hardware, one.verified), []).append(one)
    for (source, year, hardware, verified), of in groups.items():
        yield Source(
            f"{_short(source)} {year}",
            source,
            "" if hardware == "-" else hardware,
            verified,
            tuple(_told(of)),
        )


def _short(source: str) -> str:
    """Who published it: what stands before the title."""
    head = source.partition(" - ")[0].partition(" (")[0]
    *most, last = head.split("; ")
    return f"{', '.join(most)} and {last}" if most else last


def _told(of: Sequence[Published]) -> Iterator[tuple[str, str]]:
    """Each figure in words; those of one kind together where they are many."""
    kinds: dict[tuple[str, str], list[Published]] = {}
    for one in of:
        kinds.setdefault((one.metric, one.unit), []).append(one)
    for alike in kinds.values():
        if len(alike) > FEW:
            yield _ids(alike), _together(alike)
        else:
            for one in alike:
                yield one.id, _alone(one)


def _ids(of: Sequence[Published]) -> str:
    """The first and the last id of some figures of one source, and how many where not all between."""
    names = [one.id for one in of]
    first, last = names[0], names[-1]
    every = rows(f"{first}..{last.rpartition('-')[2]}") == tuple(names)
    return f"{first} … {last}" if every else f"{len(names)} of {first} … {last}"


def _alone(one: Published) -> str:
    beside = "" if one.baseline in ("-", "") else f" against {_names(one.baseline)}"
    if one.silent:
        return f"{_names(one.runtime)}{beside}: did not respond, {one.workload}"
    if one.low is None:
        return f"{_names(one.runtime)}{beside}: {one.claim}"
    return f"{_names(one.runtime)}{beside}: {_value(one.low, one.high, one)}, {one.workload}"


def _together(of: Sequence[Published]) -> str:
    who = ", ".join(dict.fromkeys(_names(one.runtime) for one in of))
    ends = [end for one in of for end in (one.low, one.high) if end is not None]
    silent = sum(one.silent for one in of)
    parts = [f"{_value(min(ends), max(ends), of[0])}"] if ends else []
    parts += [f"no response in {silent}"] if silent else []
    parts += ["orders without a number"] if not parts else []
    return f"{who}: {' and '.join(parts)}, {len(of)} figures"


def _value(low: float, high: float | None, one: Published) -> str:
    unit = {"us": "µs", "x": "", "-": "", one.metric: ""}.get(one.unit, one.unit)
    ends = f"{low:g} or more" if high is None else f"{low:g}" if low == high else f"{low:g} … {high:g}"
    text = ("×" if one.unit == "x" else "") + ends.replace("-", "−")
    return " ".join(f"{text} {unit} {one.metric.strip('|')}".split())


def _names(text: str) -> str:
    return text.replace("|", ", ")
