"""The command line: one short function a command; heavy imports happen inside the commands."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from bench import __version__
from bench.cli_comparing import COMMANDS, RUNS
from bench.cli_figures import COMMANDS as FIGURES
from bench.errors import BenchError

KINDS = ["suites", "runtimes", "workloads", "modes", "collectors", "limits", "runs", "matrix"]


class _Main(click.Group):
    """Turns a BenchError into its message and exit code, and Ctrl-C into 130."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BenchError as error:
            click.secho(f"bench: {error}", fg="red" if sys.stderr.isatty() else None, err=True)
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


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="bench")
def main() -> None:
    """Does each runtime deliver the limit that was asked for, on this machine?

    \b
    bench doctor                 what can be measured here, and what fixes the rest
    bench plan                   what a run would do and how long it takes
    bench run --suite cgroups    measure, judge, and write an HTML and PDF report
    """


_suite_options = [
    click.option(
        "--suite", default="cgroups", show_default=True, help="Suite name, or path to a .toml file."
    ),
    click.option(
        "--runtimes",
        help="For example process,docker:runsc; or all.  [default: the suite's, and libvirt where KVM works]",
    ),
    click.option("--quick", is_flag=True, help="Fewer limits and blocks: an answer in a minute and a half."),
    click.option("--full", is_flag=True, help="The whole suite, where its default is a slice of it."),
    click.option("--blocks", type=click.IntRange(1, 1000), help="Trials a case.  [default: the suite's]"),
    click.option("--seed", type=int, help="Seed of the random order.  [default: from the clock]"),
    click.option("-k", "--only", help="Only experiments whose name contains this text."),
    click.option(
        "--limit",
        "limits",
        multiple=True,
        metavar="NAME=VALUE",
        help="Replace the values of a limit, e.g. --limit cpu=0.3 --limit memory=1GiB.",
    ),
]


_ON = click.option(
    "--on",
    metavar="GUEST",
    help="Do it inside a fresh virtual machine, libvirt:full, with a kernel and cgroups (v2) of its own.",
)


def _with_suite_options(command: Any) -> Any:
    for option in reversed(_suite_options):
        command = option(command)
    return command


@main.command()
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


@main.command(name="list")
@click.argument("what", type=click.Choice(KINDS), required=False)
def list_(what: str | None) -> None:
    """List suites, runtimes, workloads, modes, collectors, limits, runs; or what each runtime limits."""
    from bench.commands import listing

    for line in listing.lines(what, RUNS):
        click.echo(line)


@main.command()
@_with_suite_options
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(as_json: bool, **options: Any) -> None:
    """Print the trials of a run and the time they will take; nothing is run."""
    from bench.commands import assembly, listing

    made, _ = assembly.assemble(**options)
    click.echo(listing.plan_json(made) if as_json else "\n".join(listing.plan_lines(made)))
    if not made.cases:
        sys.exit(3)


@main.command()
@_with_suite_options
@click.option(
    "--runs", type=click.Path(path_type=Path), default=RUNS, show_default=True, help="Where runs go."
)
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with an unfinished run."
)
@click.option("--json", "as_json", is_flag=True, help="Print findings as JSON on standard output.")
@click.option("--no-report", is_flag=True, help="Skip the HTML and PDF report.")
@_ON
def run(
    runs: Path, resume: Path | None, as_json: bool, no_report: bool, on: str | None, **options: Any
) -> None:
    """Run a suite, judge every limit, and write the report.

    Exit status: 0 all held, 1 a limit failed or was not enforced, 2 wrong usage, 3 no limit
    could be judged here, 4 a trial broke, 130 interrupted (after cleaning up).
    """
    from bench.commands import conduct, scope

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


@main.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print findings as JSON.")
@click.option("--undecided", is_flag=True, help="Print the ids of cases that another block may decide.")
def analyse(run: Path | None, as_json: bool, undecided: bool) -> None:
    """Judge the trials of RUN again and print the table.  [default: the newest run]"""
    from bench.commands import conduct

    sys.exit(conduct.analyse(conduct.chosen(run, RUNS), as_json=as_json, undecided=undecided))


@main.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option("--html/--no-html", default=True, help="Write report.html.")
@click.option("--pdf/--no-pdf", default=True, help="Write report.pdf.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Another directory for the files.")
def report(run: Path | None, html: bool, pdf: bool, output: Path | None) -> None:
    """Write the HTML and PDF report of RUN.  [default: the newest run]"""
    from bench.commands import conduct

    for file in conduct.write_report(conduct.chosen(run, RUNS), html=html, pdf=pdf, output=output):
        click.echo(file)


@main.command()
@click.option("--dry-run", is_flag=True, help="Only list what is left.")
@click.option("--services", is_flag=True, help="Also stop a Docker daemon that this program started.")
def clean(dry_run: bool, services: bool) -> None:
    """Remove what a killed run left behind: cgroups, mounts, containers, links, loop devices."""
    from bench.commands import cleaning

    sys.exit(cleaning.clean(dry_run=dry_run, services=services))


@main.group()
def image() -> None:
    """The sandbox image every runtime uses."""


@image.command(name="build")
@click.option("--vm", is_flag=True, help="Also the boot layer that makes a virtual machine of it.")
@click.option("--box", is_flag=True, help="Also the Vagrant box; prints how to add it.")
def image_build(vm: bool, box: bool) -> None:
    """Build the sandbox image from Debian packages, once; cached by its recipe."""
    from bench import bootlayer
    from bench import image as sandbox

    def progress(text: str) -> None:
        click.echo(text, err=True)

    built = sandbox.build(progress)
    click.echo(f"{built.tag}  {built.digest}")
    if vm or box:
        layer = bootlayer.build(built, progress)
        click.echo(f"boot layer  {layer.digest}  {layer.disk}")
    if box:
        click.echo(f"vagrant box add --force {bootlayer.catalog(layer, progress)}")


@image.command(name="show")
def image_show() -> None:
    """Print tag, digest and place of the sandbox image, and of its boot layer."""
    from bench import bootlayer
    from bench import image as sandbox

    found = sandbox.find()
    if found is None:
        raise BenchError("there is no sandbox image yet", fix="bench image build")
    click.echo(f"{found.tag}\n{found.digest}\n{found.root}")
    layer = bootlayer.find(found)
    if layer is not None:
        click.echo(f"boot layer  {layer.digest}  kernel {layer.kernel_release}\n{layer.disk}")


@image.command(name="rm")
@click.argument("digest")
def image_rm(digest: str) -> None:
    """Remove a sandbox image from the cache, with the boot layers and Vagrant boxes made of it."""
    from bench import bootlayer
    from bench import image as sandbox
    from bench.host.vm import vagrant

    # The layers first: they name the image, and are found through it only.
    removed = bootlayer.remove(digest)
    if removed:
        vagrant.forget_boxes()
    if not sandbox.remove(digest) and not removed:
        raise BenchError(f"there is no sandbox image {digest}", fix="bench image show")


for command in (*COMMANDS, *FIGURES):
    main.add_command(command)
