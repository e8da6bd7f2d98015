"""The commands about comparisons: measuring one, exporting it, and the history of many."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

RUNS = Path("runs")
"""Where runs go unless a command is told otherwise."""


@click.command()
@click.argument("reference")
@click.argument("candidate")
@click.option("--suite", default="startup", show_default=True, help="A suite of starts with a [gate].")
@click.option(
    "--runs", type=click.Path(path_type=Path), default=RUNS, show_default=True, help="Where runs go."
)
@click.option(
    "--half-width", type=click.FloatRange(0.0005, 0.5), help="Measure until this narrow, e.g. 0.01."
)
@click.option("--seconds", type=click.FloatRange(1), help="Stop at the latest after this many seconds.")
@click.option("--seed", type=int, help="Seed of the random order.  [default: from the clock]")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def compare(reference: str, candidate: str, as_json: bool, **options: Any) -> None:
    """Say whether sandboxes of CANDIDATE start slower than those of REFERENCE, e.g. docker docker:crun.

    Both are started in turn, in random order, beside a second copy of the reference and the raw process,
    until the interval of their ratio is narrow enough. A slow-down is measured twice before it is said.

    Exit status: 0 no slow-down was shown, 1 slower, 2 wrong usage, 3 nothing could be said, 130 interrupted.
    """
    from bench.commands import comparing, scope

    scope.enter(sys.argv[1:])
    sys.exit(comparing.compare(reference, candidate, as_json=as_json, **options))


FORMATS = ["bencher", "csv", "github_action_benchmark", "junit", "markdown", "openmetrics", "parquet",
           "pytest_benchmark"]  # fmt: skip


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), default="markdown", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A file.  [default: standard output]")
def export(run: Path, form: str, output: Path | None) -> None:
    """Write a comparison in the format of another tool: JUnit, OpenMetrics, a GitHub summary, and so on."""
    from bench.commands import exporting

    exporting.export(run, form, output)


@click.command(hidden=True)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("what", type=click.Choice(["progress", "conclude"]))
@click.argument("seconds", type=float)
@click.argument("stopped", required=False)
def judge(run: Path, what: str, seconds: float, stopped: str | None) -> None:
    """Judge a comparison in progress: the analysing half of `compare`."""
    import msgspec

    from bench.commands import judging

    if what == "progress":
        found = judging.progress(run, seconds)
    else:
        found = judging.conclude(run, seconds, stopped or "")
    click.echo(msgspec.json.encode(found))


COMMANDS = (compare, export, judge)
