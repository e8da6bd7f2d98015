"""`bench check`: a comparison for CI, which is handed on as well; and what the gate is worth here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from bench import arms as arming
from bench import suite as suites
from bench.commands import comparing
from bench.errors import NothingToRunError, UsageError
from bench.model import Comparison, Policy
from bench.store import RunDirectory

if TYPE_CHECKING:
    from bench.comparison.instrument import Instrument
    from bench.comparison.replay import Rate


def check(
    reference: str,
    candidate: str | None,
    *,
    junit: Path | None,
    markdown: Path | None,
    summary: Path | None,
    history: str | None,
    as_json: bool,
    report: bool,
    **options: Any,
) -> int:
    """Compare, write every output that was asked for, print; the exit status is that of `bench compare`.

    `candidate` None is the reference once more (A/A). `summary` is appended to, the other files are
    replaced. `options` are those of `comparing.measured`.
    """
    for file in (junit, markdown, summary):
        _refuse_unwritable(file)
    directory, found = comparing.measured(reference, [candidate or reference], quiet=as_json, **options)
    _hand_on(directory, found, junit, markdown, summary)
    if history:
        _remember(history, found)
    return comparing.told(directory, found, as_json=as_json, report=report)


def gauge(
    reference: str,
    count: int,
    *,
    suite: str,
    runs: Path,
    seed: int | None,
    half_width: float | None,
    seconds: float,
    summary: Path | None,
    as_json: bool,
    report: bool,
) -> int:
    """Record the reference against itself for `seconds`, replay `count` comparisons, print what came out."""
    from bench.exchange.markdown import escape

    _refuse_unwritable(summary)
    arms = arming.of(reference, reference)
    wanted = arming.gated(suites.load(suite), arms)
    judged = {m: replace(p, half_width=half_width or p.half_width) for m, p in wanted.gate.items()}
    # No width ends a recording: it lasts as long as there is time, or for the largest number of blocks.
    whole = {metric: replace(p, half_width=0.0, seconds=seconds) for metric, p in wanted.gate.items()}
    chosen = seed if seed is not None else int(time.time())
    directory, found = comparing.once(
        replace(wanted, gate=whole), arms, runs=runs, seed=chosen, quiet=as_json
    )
    if found.stopped != "interrupted":
        gauged = instruments(directory, judged, count, chosen)
        said = lines(reference, gauged)
        click.echo(msgspec.json.encode(gauged).decode() if as_json else "\n".join(said))
        if summary is not None:
            _append(summary, "".join(f"- {escape(line)}\n" for line in said))
    if report:
        comparing.reported(directory)
    click.echo(f"run: {directory.path}", err=True)
    return 130 if found.stopped == "interrupted" else 0


def instruments(
    directory: RunDirectory, gate: Mapping[str, Policy], count: int, seed: int
) -> list[Instrument]:
    """What the policies of `gate`, by metric, are worth on that run: one of a thing against its own copies.

    NothingToRunError where the recording is too short.
    """
    from bench import frames
    from bench.analysis import paired
    from bench.comparison import instrument, replay

    run = frames.load(directory.path)
    table, _ = paired.table(run)
    reference = next(a.runtime for a in run.plan.arms if a.role == "reference")
    copies = tuple(
        a.name
        for a in run.plan.arms
        if a.role in ("reference", "candidate", "repeat") and a.runtime == reference
    )
    gauged = []
    for metric, policy in gate.items():
        recorded = replay.series(table, metric, copies)
        try:
            gauged.append(instrument.gauge(metric, recorded, policy, count=count, seed=seed))
        except ValueError as error:
            left = sum(map(bool, table.excluded))
            raise NothingToRunError(
                f"{metric}: {error}; {left} more were left out because the host was disturbed",
                fix="bench check --aa --seconds 600",
            ) from error
    return gauged


def lines(reference: str, gauged: list[Instrument]) -> list[str]:
    """What the gate is worth, for people: false alarms with their intervals, noise floor, what it finds."""
    said = []
    for one in gauged:
        said += [
            f"{one.metric}: {reference} against itself, {one.recorded} blocks recorded, "
            f"{one.alarms.windows} comparisons of at most {one.longest} blocks replayed",
            f"  false alarms of one measurement: {_rate(one.alarms)}",
            f"  false alarms that a second measurement repeats: {_rate(one.confirmed)}",
            f"  noise floor: ±{100 * one.floor:.1f} %, after {one.alarms.blocks:.0f} blocks on average",
            "  smallest slow-down found 19 times in 20: "
            + ("above 100 %" if one.detectable is None else f"{100 * one.detectable:.1f} %"),
        ]
    return said


def _rate(rate: Rate) -> str:
    return (
        f"{rate.hits} of {rate.windows}, {100 * rate.share:.2f} % "
        f"(95 % interval {100 * rate.low:.2f} … {100 * rate.high:.2f} %)"
    )


def _hand_on(
    directory: RunDirectory,
    found: Comparison,
    junit: Path | None,
    markdown: Path | None,
    summary: Path | None,
) -> None:
    """The comparison as JUnit XML and as Markdown, where files for them are named."""
    from bench import exchange
    from bench.commands import exporting

    if not (junit or markdown or summary):
        return
    starts = exporting.starts(directory.path)
    if junit is not None:
        junit.write_bytes(exchange.exported("junit", found, starts))
    if markdown is not None:
        markdown.write_bytes(exchange.exported("markdown", found, starts))
    if summary is not None:
        _append(summary, exchange.exported("markdown", found, starts).decode())


def _append(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8") as stream:
        stream.write(text)


def _remember(history: str, found: Comparison) -> None:
    from bench.history import archive

    added = archive.add(history, [found])
    click.echo(f"history: {len(added.new)} added to {history}", err=True)


def _refuse_unwritable(file: Path | None) -> None:
    """UsageError before minutes are spent on a result that could not be written."""
    if file is not None and not file.absolute().parent.is_dir():
        raise UsageError(f"{file} cannot be written: its directory does not exist",
                         fix=f"mkdir -p {file.parent}")  # fmt: skip
