"""A comparison as the content of a report: what came out and why, pictures, numbers, and how it was made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from bench.analysis import paired
from bench.analysis.starts import PHASES
from bench.comparison.blocks import Table
from bench.frames import Run
from bench.model import ArmSummary, Comparison, Interval, Policy, Ratio
from bench.render import compared_about, method, numbers, outcomes
from bench.render.figures import compared as figures
from bench.render.figures.svg import Figure
from bench.render.method import Fact
from bench.render.verdicts import Mark

COPIES = ("repeat", "raw repeat")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out for one metric of one candidate; `words` say what the metric is."""

    mark: Mark
    arm: str
    words: str
    metric: str
    reason: str


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column; numbers stand to the right."""

    name: str
    number: bool = True


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text; the first cell of each row is its head."""

    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Document:
    """The whole report of a comparison."""

    template: ClassVar[str] = "comparison.html.j2"
    title: str
    question: str
    outcomes: tuple[Outcome, ...]
    figures: tuple[Figure, ...]
    """A metric each: the ratios against the margin, and every start of every arm."""
    short: tuple[Fact, ...]
    """The few numbers to know the outcome by: noise floor, what would have been found, blocks."""
    courses: tuple[Figure, ...]
    """A metric each: the ratios over the blocks."""
    grids: tuple[Grid, ...]
    about: method.About
    glossary: tuple[Mark, ...]


def build(run: Run, found: Comparison) -> Document:
    """The document of a comparison, for every format; `run` is where its starts are."""
    table, readings = paired.table(run)
    candidates = [a.name for a in run.plan.arms if a.role == "candidate"]
    reference = next(a.name for a in run.plan.arms if a.role == "reference")
    metrics = list(enumerate(_metrics(found), 1))
    judged = sorted(found.judged, key=lambda j: outcomes.mark(j).rank)
    return Document(
        title=f"{', '.join(candidates)} against {reference}",
        question="Does a sandbox start slower? Both were started in turn, in random order, on one machine.",
        outcomes=tuple(
            Outcome(outcomes.mark(j), j.arm, _words(j.metric), j.metric, j.reason) for j in judged
        ),
        figures=tuple(figure for m in metrics for figure in _figures(found, table, *m)),
        short=tuple(_short(found)),
        courses=tuple(figure for m in metrics for figure in _courses(found, table, *m)),
        grids=tuple(_grids(found)),
        about=compared_about.about(run, found, readings),
        glossary=(*outcomes.MARKS.values(), outcomes.ONCE),
    )


def _words(metric: str) -> str:
    words = PHASES.get(metric, metric)
    return words[:1].lower() + words[1:]


def _metrics(found: Comparison) -> list[str]:
    """Those that are judged, in order; the first that was measured where none is."""
    judged = list(dict.fromkeys(j.metric for j in found.judged))
    return judged or [a.metric for a in found.arms[:1]]


def _level(found: Comparison, metric: str) -> float:
    return found.policy.get(metric, Policy()).confidence


def _figures(found: Comparison, table: Table, number: int, metric: str) -> Iterator[Figure]:
    """The two pictures of the first screen, where there is something to draw."""
    drawn = (_intervals(found, number, metric), _starts(found, table, number, metric))
    return (figure for figure in drawn if figure is not None)


def _intervals(found: Comparison, number: int, metric: str) -> Figure | None:
    """The candidates, their second measurement, and both copies."""
    policy = found.policy.get(metric, Policy())
    margins = [j.margin for j in found.judged if j.metric == metric]
    return figures.intervals(
        f"fig-ratio-{number}", f"Time {_words(metric)}.", list(_lines(found, metric)),
        max(margins, default=policy.margin), policy.equivalence, policy.confidence,
    )  # fmt: skip


def _lines(found: Comparison, metric: str) -> Iterator[figures.Line]:
    second = found.confirmation.ratios if found.confirmation else ()
    judged = [j for j in found.judged if j.metric == metric]
    copies = {a.arm for a in found.arms if a.role in COPIES}
    for one in judged:
        for kind, ratios in (("judged", found.ratios), ("second", second)):
            for ratio in ratios:
                if (ratio.metric, ratio.arm, ratio.against) == (metric, one.arm, one.against):
                    name = f"{ratio.arm} over {ratio.against}"
                    yield figures.Line(f"{name}, again" if kind == "second" else name, ratio, kind)
    for ratio in found.ratios:
        if ratio.metric == metric and ratio.arm in copies:
            yield figures.Line(f"{ratio.arm} over {ratio.against} (A/A)", ratio, "copy")


def _short(found: Comparison) -> Iterator[Fact]:
    several = len({(j.metric, j.arm) for j in found.judged}) > 1
    for judged in found.judged:
        of = f", {judged.metric} of {judged.arm}" if several else ""
        if judged.detectable is not None:
            yield Fact(f"slower would have been found 19 times in 20{of}", numbers.percent(judged.detectable))
    for metric in _metrics(found):
        for ratio in found.ratios:
            copy = any(a.arm == ratio.arm and a.role == "repeat" for a in found.arms)
            if copy and ratio.metric == metric and ratio.half_width is not None:
                yield Fact(f"is the noise floor of {metric}", f"±{numbers.percent(ratio.half_width)}",
                           f"two copies of the reference: {figures.spelled(ratio)}")  # fmt: skip
    left = sum(found.excluded.values())
    why = ", ".join(f"{count} for {reason}" for reason, count in found.excluded.items())
    ended = f"{left} left out{': ' + why if why else ''}; ended because {outcomes.ENDED[found.stopped]}"
    yield Fact(f"in {found.duration:.0f} s", f"{found.blocks} blocks", ended)
    second = found.confirmation
    if second is not None:
        agreed = {True: "agreed", False: "did not agree"}
        said = {f"{j.arm}: {agreed[j.confirmed]}" for j in found.judged if j.confirmed is not None}
        left = sum(second.excluded.values())
        blocks = f"{second.blocks} blocks, {left} left out"
        yield Fact("is the second measurement", second.id, "; ".join([blocks, *sorted(said)]))


def _starts(found: Comparison, table: Table, number: int, metric: str) -> Figure | None:
    """Every start of every arm, the candidates first."""
    order = ("candidate", "reference", "repeat", "raw", "raw repeat")
    arms = sorted(found.arms, key=lambda a: order.index(a.role))
    title = f"Every start, {_words(metric)}."
    return figures.every_start(f"fig-starts-{number}", title, table, metric, arms, _level(found, metric))


def _courses(found: Comparison, table: Table, number: int, metric: str) -> list[Figure]:
    """Ratios to the reference over the blocks, of the candidates and of its second copy."""
    of = [a for a in found.arms if a.metric == metric]
    reference = [a.arm for a in of if a.role == "reference"]
    pairs = [(a.arm, r) for role in ("candidate", "repeat") for a in of if a.role == role for r in reference]
    policy = found.policy.get(metric, Policy())
    return figures.over_blocks(f"fig-blocks-{number}", table, metric, pairs, policy)


def _grids(found: Comparison) -> Iterator[Grid]:
    names = ("Arm", "Role", "n", "Failed", "Median", "Interval", "p10", "p95", "p99")
    gated = _metrics(found)
    metrics = dict.fromkeys([*gated, *(a.metric for a in found.arms)])
    for metric in metrics:
        level = f"{100 * _level(found, metric):g} %"
        yield Grid(
            f"{metric}: the arms",
            f"{PHASES.get(metric, metric)}. The interval of the median is exact, at {level}.",
            tuple(Column(name, name not in ("Arm", "Role")) for name in names),
            tuple(_arm(a) for a in found.arms if a.metric == metric),
        )  # fmt: skip
        if metric in gated:
            yield from _ratios(found, metric, level)


def _arm(arm: ArmSummary) -> tuple[str, ...]:
    middle = numbers.quantity(arm.median.estimate, arm.unit) if arm.median else numbers.NONE
    tails = (numbers.quantity(v, arm.unit) for v in (arm.p10, arm.p95, arm.p99))
    name = f"{arm.arm} ({arm.image.removeprefix('sha256:')[:12]})" if arm.image else arm.arm
    return (name, arm.role, str(arm.n), str(arm.failed), middle, _ends(arm.median, arm.unit), *tails)


def _ends(found: Interval | None, unit: str) -> str:
    if found is None or found.low is None or found.high is None:
        return numbers.NONE
    return numbers.span(numbers.quantity(found.low, unit), numbers.quantity(found.high, unit))


def _ratios(found: Comparison, metric: str, level: str) -> Iterator[Grid]:
    heads = ("Arm over another", "Ratio", "n", "Half-width", "Median ratio", "Dependence", "Widened")
    yield Grid(
        f"{metric}: the ratios",
        f"Trimmed means of log ratios within blocks at {level}. The median ratio with its sign-test interval "
        "is a cross-check. Dependence is that of neighbouring blocks (lag-1 autocorrelation of ranks) and "
        "widens the interval. Ratios of tails (p95, p99) are for reading only.",
        tuple(Column(name, name != heads[0]) for name in heads),
        tuple(_ratio(r, metric) for r in found.ratios if r.metric.partition(" ")[0] == metric),
    )  # fmt: skip
    names = ("Candidate", "Outcome", "Margin", "p", "p after Holm", "Would be found")
    rows = []
    for one in found.judged:
        if one.metric == metric:
            ps = (numbers.NONE if p is None else f"{p:.2g}" for p in (one.p, one.adjusted))
            catch = numbers.NONE if one.detectable is None else numbers.percent(one.detectable)
            rows.append((one.arm, outcomes.mark(one).word, numbers.percent(one.margin), *ps, catch))
    if rows:
        yield Grid(
            f"{metric}: the judgement",
            "p is of a slow-down of at most the margin; Holm's correction is over all that gate together.",
            tuple(Column(name, name not in names[:2]) for name in names), tuple(rows),
        )  # fmt: skip


def _ratio(ratio: Ratio, metric: str) -> tuple[str, ...]:
    tail = ratio.metric.removeprefix(metric)
    half = numbers.NONE if ratio.half_width is None else numbers.percent(ratio.half_width)
    check = numbers.NONE
    if ratio.median is not None:
        check = numbers.change(ratio.median.estimate - 1, "relative", "")
        if ratio.median.low is not None and ratio.median.high is not None:
            ends = (numbers.change(v - 1, "relative", "") for v in (ratio.median.low, ratio.median.high))
            check += f" ({numbers.span(*ends)})"
    name = f"{ratio.arm} over {ratio.against}{',' + tail if tail else ''}"
    dependence = numbers.NONE if tail else f"{ratio.autocorrelation:.2f}".replace("-", "−")
    widened = f"×{ratio.widened:.2f}" if ratio.widened > 1 else "no"
    return (name, figures.spelled(ratio), str(ratio.ratio.n), half, check, dependence, widened)
