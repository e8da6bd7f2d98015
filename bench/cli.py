"""The command line: one short function a command; heavy imports happen inside the commands."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from bench import __version__
from bench.cli_comparing import COMMANDS, RUNS, RUNS_OPTION
from bench.cli_figures import COMMANDS as FIGURES
from bench.cli_image import COMMANDS as IMAGES
from bench.errors import BenchError, under_way

KINDS = ["suites", "runtimes", "workloads", "modes", "collectors", "limits", "runs", "matrix"]


class _Main(click.Group):
    """Turns a BenchError into its message and exit code, and Ctrl-C into 130."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BenchError as error:
            for one in (error, *under_way(error)):
                what = "bench" if one is error else "bench: before that"
                click.secho(f"{what}: {one}", fg="red" if sys.stderr.isatty() else None, err=True)
            sys.exit(error.exit_code)
        except (click.exceptions.Exit, click.ClickException):
            raise
        except (KeyboardInterrupt, click.Abort):
            click.echo("bench: interrupted", err=True)
            sys.exit(130)
        except BrokenPipeError:
            # The reader of our output left, as `| head` does.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)
        except Exception:
            # An exit status of 1 means a limit did not hold; a fault of this program must not look like it.
            traceback.print_exc()
            click.echo(
                "bench: this is a fault of bench itself; the run directory keeps what finished", err=True
            )
            sys.exit(4)


class OfSuite(click.Command):
    """A command with --suite: whoever names the suite without it is told."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if "unexpected extra argument" not in error.message:
                raise
            hint = f"a suite is chosen by --suite, as in: {ctx.command_path} --suite startup"
            raise click.UsageError(f"{error.message}; {hint}", ctx) from error


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="bench")
def main() -> None:
    """Does an isolation boundary hold on this machine, what does it cost, and what is it worth?

    \b
    bench doctor                 what can be measured here; what fixes the rest
    bench list suites            the questions that can be asked
    bench plan                   what a run would do, and how long it takes
    bench run --suite cgroups    measure, judge, and write a report
    bench compare docker podman  does the second start slower than the first?
    """


_suite_options = [
    click.option(
        "--suite",
        default="cgroups",
        show_default=True,
        help="One of `bench list suites`, or the path of a .toml file.",
    ),
    click.option(
        "--runtimes",
        help="Of `bench list runtimes`, with a variant where they have some: process,docker:runsc; or all.  "
        "[default: the suite's, and libvirt where KVM works]",
    ),
    click.option("--quick", is_flag=True, help="A first answer: fewer limits, sizes and blocks."),
    click.option("--full", is_flag=True, help="The whole suite, where by default a part of it runs."),
    click.option(
        "--blocks", type=click.IntRange(1, 1000), help="Trials of each case.  [default: the suite's]"
    ),
    click.option("--seed", type=int, help="Of the random order of trials.  [default: from the clock]"),
    click.option("-k", "--only", help="Only experiments whose name, see `bench plan`, contains this text."),
    click.option(
        "--limit",
        "limits",
        multiple=True,
        metavar="NAME=VALUE",
        help="Test these values of a limit instead, e.g. --limit cpu=0.3 --limit memory=1GiB.",
    ),
]


_ON = click.option(
    "--on",
    metavar="GUEST",
    help="Do it inside a fresh virtual machine, which has a kernel and cgroups (v2) of its own; GUEST is "
    "libvirt:full.",
)


def _with_suite_options(command: Any) -> Any:
    for option in reversed(_suite_options):
        command = option(command)
    return command


@main.command(short_help="Say what can be measured here and what cannot, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--start", is_flag=True, help="Start a Docker daemon by hand where no init system does.")
@_ON
def doctor(as_json: bool, start: bool, on: str | None) -> None:
    """Say what can be measured here and what cannot, each with its cause and fix."""
    from bench.commands import doctor as examination

    if on:
        from bench.commands import remote

        sys.exit(remote.tell(on, ["doctor", *(["--json"] if as_json else [])]))
    if start:
        examination.start_daemons()
    sys.exit(examination.report(as_json=as_json))


@main.command(name="list", short_help="List suites, runtimes, workloads, limits, runs and more.")
@click.argument("what", type=click.Choice(KINDS), required=False)
def list_(what: str | None) -> None:
    """List suites, runtimes, workloads, modes, collectors, limits and runs; alone the matrix of limits."""
    from bench.commands import listing

    for line in listing.lines(what, RUNS):
        click.echo(line)


@main.command(cls=OfSuite, short_help="Print the trials of a run and the time they will take.")
@_with_suite_options
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(as_json: bool, **options: Any) -> None:
    """Print the trials of a run and the time they will take; nothing is run."""
    from bench.commands import assembly, listing

    made, _ = assembly.assemble(**options)
    click.echo(listing.plan_json(made) if as_json else "\n".join(listing.plan_lines(made)))
    if not made.cases:
        sys.exit(3)


@main.command(cls=OfSuite, short_help="Run a suite, judge what came out, and write the report.")
@_with_suite_options
@RUNS_OPTION
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Go on with that unfinished run: a directory, or its name below --runs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print findings as JSON on standard output.")
@click.option("--no-report", is_flag=True, help="Skip the HTML and PDF report.")
@_ON
def run(
    runs: Path, resume: Path | None, as_json: bool, no_report: bool, on: str | None, **options: Any
) -> None:
    """Run a suite, judge what came out, and write the report.

    \b
    bench run --quick                             a first answer about limits
    bench run --suite startup -k network          one experiment of another suite
    bench run --runtimes process,docker           fewer runtimes
    bench run --resume RUN                        go on with an unfinished run

    Exit status: 0 every limit held, or a suite that tests none has its numbers; 1 a limit failed or was not
    enforced; 2 wrong usage; 3 nothing could be judged here; 4 a trial broke, or something could not be
    removed; 130 interrupted, after cleaning up.
    """
    from bench.commands import conduct, scope

    resume = resume and conduct.named(resume, runs)
    if guest := conduct.place(resume, on):
        from bench.commands import remote

        sys.exit(remote.run(guest, runs, resume, as_json=as_json, report=not no_report, options=options))
    scope.enter(sys.argv[1:])
    sys.exit(conduct.run(runs, resume, as_json=as_json, report=not no_report, options=options))


@main.command(name="carry-out", hidden=True)
@_with_suite_options
@click.option("--runs", type=click.Path(path_type=Path), required=True)
@click.option("--id", "run_id")
@click.option("--resume", type=click.Path(path_type=Path))
@click.option("--emulated", "all_emulated", is_flag=True, help="This host's CPU is emulated.")
def carry_out(runs: Path, run_id: str | None, resume: Path | None, **options: Any) -> None:
    """Carry out a plan, judge nothing, write the run's files to standard output: the guest's half of --on."""
    from bench.commands import inside

    sys.exit(inside.carry_out(runs, resume, run_id, options))


@main.command(short_help="Judge a run again and print its table.")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print findings as JSON.")
@click.option("--undecided", is_flag=True, help="Print the ids of cases that another block may decide.")
def analyse(run: Path | None, as_json: bool, undecided: bool) -> None:
    """Judge the trials of RUN, a directory, again and print the table.  [default: the newest below runs/]"""
    from bench.commands import conduct

    sys.exit(conduct.analyse(conduct.chosen(run, RUNS), as_json=as_json, undecided=undecided))


@main.command(short_help="Write the HTML and PDF report of a run.")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--html/--no-html", default=True, help="Write report.html.")
@click.option("--pdf/--no-pdf", default=True, help="Write report.pdf.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Another directory for the files.")
def report(run: Path | None, html: bool, pdf: bool, output: Path | None) -> None:
    """Write the HTML and PDF report of RUN, a directory.  [default: the newest below runs/]"""
    from bench.commands import conduct

    for file in conduct.write_report(conduct.chosen(run, RUNS), html=html, pdf=pdf, output=output):
        click.echo(file)


@main.command(short_help="Remove what a killed run left behind.")
@click.option("--dry-run", is_flag=True, help="Only list what is left.")
@click.option("--services", is_flag=True, help="Also stop daemons that this program started.")
def clean(dry_run: bool, services: bool) -> None:
    """Remove what a killed run left behind: cgroups, mounts, containers, links, loop devices."""
    from bench.commands import cleaning

    sys.exit(cleaning.clean(dry_run=dry_run, services=services))


for command in (*COMMANDS, *FIGURES, *IMAGES):
    main.add_command(command)
