"""Sentences of a report that are made from findings: what came out, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.analysis.wording import runtime_name
from bench.model import Finding
from bench.render.verdicts import MARKS, Mark

UNKNOWN = ("inconclusive", "not testable", "not offered")


@dataclass(frozen=True, slots=True)
class Gap:
    """Cells without an answer for one and the same cause."""

    mark: Mark
    title: str
    runtimes: tuple[str, ...]
    labels: tuple[str, ...]
    cause: str
    fix: str


def listed(words: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    items = list(words)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def sentences(text: str) -> tuple[str, ...]:
    """A text cut after every full stop that a capital letter or a digit follows; ("",) for none."""
    return tuple(re.split(r"(?<=\.) +(?=[A-Z0-9“])", text))


def outcome(findings: Sequence[Finding]) -> str:
    """One sentence on what came out of these findings, runtime by runtime; controls are left out."""
    groups: dict[str, list[str]] = {}
    for runtime in dict.fromkeys(runtime_name(f) for f in findings if not f.control):
        of = [f for f in findings if runtime_name(f) == runtime and f.verdict is not None]
        if of:
            groups.setdefault(_result(of), []).append(runtime)
    if not groups:
        return (
            "Nothing is judged here; the table shows what was seen." if findings else "Nothing was run here."
        )
    return ". ".join(f"{listed(names)}: {result}" for result, names in groups.items()) + "."


def _result(findings: Sequence[Finding]) -> str:
    total = len(findings)
    verdicts = [f.verdict for f in findings]
    if set(verdicts) == {"pass"}:
        return "the limit holds" if total == 1 else f"all {total} limits hold"
    if len(set(verdicts)) == 1:
        word = MARKS[verdicts[0]].word
        return word if total == 1 else f"all {total} {word}"
    ordered = sorted(set(verdicts), key=lambda v: MARKS[v].rank)
    parts = [f"{verdicts.count(v)} {'hold' if v == 'pass' else MARKS[v].word}" for v in ordered]
    return f"of {total} limits, {listed(parts)}"


def gaps(findings: Sequence[Finding], titles: dict[str, str]) -> list[Gap]:
    """What has no answer and why; cells of one experiment with one cause are one entry.

    Controls are left out: nothing was asked of them.
    """
    grouped: dict[tuple[str, str, str, str], list[Finding]] = {}
    for f in findings:
        if f.verdict in UNKNOWN and not f.control:
            grouped.setdefault((f.experiment, f.verdict, f.reason, f.fix), []).append(f)
    found = [
        Gap(
            mark=MARKS[of[0].verdict],
            title=titles.get(experiment, experiment),
            runtimes=tuple(dict.fromkeys(runtime_name(f) for f in of)),
            labels=tuple(dict.fromkeys(f.label for f in of)),
            cause=cause,
            fix=fix,
        )
        for (experiment, _, cause, fix), of in grouped.items()
    ]
    return sorted(found, key=lambda gap: gap.mark.rank)


def counts(findings: Sequence[Finding]) -> list[tuple[Mark, int]]:
    """How often each verdict was given outside of the controls, worst first; zero is left out."""
    verdicts = [f.verdict for f in findings if not f.control]
    pairs = [(m, verdicts.count(verdict)) for verdict, m in MARKS.items()]
    return [(m, n) for m, n in sorted(pairs, key=lambda p: p[0].rank) if n]
