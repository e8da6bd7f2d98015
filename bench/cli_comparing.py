"""The commands about comparisons: measuring one, exporting it, and the history of many."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

RUNS = Path("runs")
"""Where runs go unless a command is told otherwise."""


RUNS_OPTION = click.option(
    "--runs", type=click.Path(path_type=Path), default=RUNS, show_default=True,
    help="The folder in which each run gets a directory.",
)  # fmt: skip
_WIDTH = click.option(
    "--half-width", type=click.FloatRange(0.0005, 0.5),
    help="Measure until the ratio is known to this share: 0.01 is ±1 %.",
)  # fmt: skip
_SUITE = click.option(
    "--suite", default="startup", show_default=True,
    help="What is started, and in its [gate] what counts as slower.",
)  # fmt: skip
_SEED = click.option("--seed", type=int, help="Of the random order of starts.  [default: from the clock]")
_REPORT = click.option("--no-report", is_flag=True, help="Skip the HTML and PDF report.")


@click.command(short_help="Say whether one thing starts slower than another.")
@click.argument("names", nargs=-1, required=True, metavar="REFERENCE CANDIDATE... | RUN RUN")
@click.option("--arms", is_flag=True, help="The names are runtimes, even where directories are called so.")
@_SUITE
@RUNS_OPTION
@_WIDTH
@click.option("--seconds", type=click.FloatRange(1), help="Stop at the latest after this many seconds.")
@click.option("--blocks", type=click.IntRange(1), help="Start each this many times, however narrow it gets.")
@_SEED
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@_REPORT
def compare(names: tuple[str, ...], arms: bool, as_json: bool, no_report: bool, **options: Any) -> None:
    """Say whether a CANDIDATE starts slower than REFERENCE.

    \b
    bench compare docker docker:crun              two OCI runtimes
    bench compare docker docker:crun docker:runsc several candidates at once
    bench compare docker@app:old docker@app:new   two images that the engine holds
    bench compare runs/OLD runs/NEW               two run directories, by the ratios within each

    REFERENCE and CANDIDATE are runtimes, with a variant or an image behind. They are started in turn, in
    random order, beside a second copy of the reference and the raw process, until the interval of their
    ratio is narrow enough. A slow-down is measured twice before it is said.

    Exit status: 0 no slow-down was shown, 1 slower, 2 wrong usage, 3 nothing could be said (undecided, or
    the machine was disturbed), 130 interrupted.
    """
    from bench.commands import comparing, scope

    scope.enter(sys.argv[1:])
    sys.exit(comparing.compare(names, arms=arms, as_json=as_json, report=not no_report, **options))


@click.command(name="check", short_help="Compare in CI: JUnit, Markdown and a history.")
@click.option(
    "--reference", default="namespace", show_default=True, help="What the candidate is held against."
)
@click.option(
    "--candidate", help="What is judged, e.g. docker:crun.  [default: the reference once more, A/A]"
)
@_SUITE
@RUNS_OPTION
@_WIDTH
@click.option(
    "--seconds",
    type=click.FloatRange(1),
    default=150,
    show_default=True,
    help="Budget of one measurement; a slow-down is measured twice.",
)
@_SEED
@click.option("--junit", type=click.Path(path_type=Path), help="Write the result as JUnit XML.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write it as Markdown.")
@click.option(
    "--summary",
    type=click.Path(path_type=Path),
    envvar="GITHUB_STEP_SUMMARY",
    show_envvar=True,
    help="Append the Markdown to this file.",
)
@click.option("--history", help="Add the result to this history: a folder or a URL.")
@click.option(
    "--aa",
    type=click.IntRange(100, 100_000),
    is_flag=False,
    flag_value=2000,
    metavar="[N]",
    help="Record the reference against itself and replay N comparisons: this machine's false alarms, noise "
    "floor and smallest slow-down.  [N: 2000]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_REPORT
def check_(reference: str, candidate: str | None, aa: int | None, no_report: bool, **options: Any) -> None:
    """A comparison for CI: `bench compare`, written as JUnit, Markdown and history where these are named.

    Without a candidate the reference is compared with itself: a check of the machine, which must stay silent.

    Exit status: 0 no slow-down was shown, 1 slower, 2 wrong usage, 3 nothing could be said (undecided, or
    the machine was disturbed), 130 interrupted.
    """
    from bench.commands import checking, scope
    from bench.errors import UsageError

    named = [name for name in ("junit", "markdown", "history") if options[name]]
    if aa and (candidate or named):
        text = ", ".join(f"--{name}" for name in [*(["candidate"] if candidate else []), *named])
        raise UsageError(f"--aa judges the machine and no candidate; it has no use for {text}",
                         fix=f"bench check --aa --reference {reference}")  # fmt: skip
    scope.enter(sys.argv[1:])
    if aa:
        for name in ("junit", "markdown", "history"):
            options.pop(name)
        sys.exit(checking.gauge(reference, aa, report=not no_report, **options))
    sys.exit(checking.check(reference, candidate, report=not no_report, **options))


FORMATS = ["bencher", "csv", "github_action_benchmark", "junit", "markdown", "openmetrics", "parquet",
           "pytest_benchmark"]  # fmt: skip


@click.command(short_help="Write a comparison in the format of another tool.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), default="markdown", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A file.  [default: standard output]")
def export(run: Path, form: str, output: Path | None) -> None:
    """Write the comparison in RUN, a directory, in the format of another tool."""
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


_HISTORY = click.argument("history")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_BRANCH = click.option("--branch", help="Only comparisons of this branch.")


@click.group(name="history", short_help="Many comparisons: since which commit is a start slower?")
def history_() -> None:
    """Many comparisons over time: did a start get slower, and since which commit?

    \b
    bench history add HISTORY runs/*     put comparisons into it; the first makes it
    bench history check HISTORY          status 1 where the code became slower
    bench history show HISTORY docker    one series, with its changes

    HISTORY is a folder or a URL. A series is one ARM, which is what was compared, on one machine.
    """


@history_.command(short_help="Add comparisons; adding twice adds once.")
@_HISTORY
@click.argument("runs", nargs=-1, required=True)
@_JSON
def add(history: str, runs: tuple[str, ...], as_json: bool) -> None:
    """Add comparisons: run directories, folders of them, or comparison.json files. Adding twice adds once."""
    from bench.commands import history as work

    sys.exit(work.add(history, runs, as_json=as_json))


@history_.command(name="list", short_help="List the series of HISTORY.")
@_HISTORY
@_BRANCH
@_JSON
def list_(history: str, **options: Any) -> None:
    """List the series of HISTORY: arm, metric, machine, how many points, and the newest."""
    from bench.commands import history as work

    sys.exit(work.list_(history, **options))


@history_.command(short_help="Show one series and the commits its changes fall between.")
@_HISTORY
@click.argument("arm")
@click.argument("metric", default="start.ready")
@click.option(
    "--measure", type=click.Choice(["code", "absolute", "to raw"]), default="code", show_default=True,
    help="Candidate over reference, seconds, or over the raw process.",
)  # fmt: skip
@click.option("--fingerprint", default="", help="The machine, where several are in HISTORY.")
@click.option("--image", default="", help="The image, where several are in HISTORY.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Draw it: a .svg or .png file.")
@click.option("--dark", is_flag=True, help="Draw it in the dark theme.")
@_BRANCH
@_JSON
def show(history: str, arm: str, metric: str, **options: Any) -> None:
    """Show one series, see `bench history list`, with its changes and the commits each falls between."""
    from bench.commands import history as work

    sys.exit(work.show(history, arm, metric, **options))


@history_.command(short_help="Look for changes; status 1 where the code became slower.")
@_HISTORY
@_BRANCH
@_JSON
def check(history: str, **options: Any) -> None:
    """Look for changes in every series.

    Exit status 1 where the code became slower and nobody answered it: accept, silence and bad are answers.
    """
    from bench.commands import history as work

    sys.exit(work.check(history, **options))


_MARKS = {
    "accept": "Take the level since COMMIT as the new normal.",
    "annotate": "Put a text at COMMIT.",
    "silence": "Let nothing fail until --expires; the changes are still shown.",
    "bad": "Keep a comparison out of every judgement.",
}


def _marking(kind: str, words: str) -> click.Command:
    """The command that puts a mark of that kind into a history."""

    @click.command(name=kind, help=words)
    @_HISTORY
    @click.argument("commit", default="", metavar="COMPARISON-ID" if kind == "bad" else "[COMMIT]")
    @click.option("--text", default="", help="Why.")
    @click.option("--arm", default="", help="Only this arm.")
    @click.option("--metric", default="", help="Only this metric.")
    @click.option("--fingerprint", default="", help="Only this machine.")
    @click.option("--expires", default="", metavar="DATE", help="When it ends, e.g. 2027-01-31.")
    def mark(history: str, **options: Any) -> None:
        from bench.commands import history as work

        sys.exit(work.mark(history, kind, **options))  # type: ignore[arg-type]  # one of _MARKS

    return mark


for _kind, _words in _MARKS.items():
    history_.add_command(_marking(_kind, _words))

COMMANDS = (compare, check_, export, judge, history_)
