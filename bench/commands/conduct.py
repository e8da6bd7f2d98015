"""The stages of a run in order: carry out, analyse, add blocks where undecided, report."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from bench import plan as planning
from bench import store
from bench.commands import apart, assembly
from bench.errors import BenchError, NothingToRunError, UncleanError, UsageError
from bench.feasible import Host
from bench.model import Finding, Plan
from bench.store import RunDirectory

if TYPE_CHECKING:
    from bench.commands.progress import Display
    from bench.frames import Run
    from bench.render.html import Content


def named(run: Path, runs: Path) -> Path:
    """That directory; where there is none, the one of that name below `runs`."""
    return runs / run if not run.exists() and (runs / run).is_dir() else run


def chosen(run: Path | None, runs: Path) -> Path:
    """The run that was named, or the newest one below `runs`."""
    found = named(run, runs) if run else store.latest(runs)
    if found is None:
        raise BenchError(f"there is no run below {runs}/", fix="bench run --suite cgroups")
    return found


def place(resume: Path | None, on: str | None) -> str | None:
    """The guest to carry a run out in, None for this host; an unfinished run goes on where it was begun."""
    if resume is None:
        return on
    was = store.open_run(resume).host().identity.get("inside")
    if on and on != was:
        begun = f"inside {was}" if was else "on this host itself"
        raise UsageError(f"{resume} was begun {begun}, not inside {on}",
                         fix=f"bench run --resume {resume}")  # fmt: skip
    return str(was) if was else None


def run(runs: Path, resume: Path | None, *, as_json: bool, report: bool, options: dict[str, Any]) -> int:
    """Carry out a new or unfinished run on this host; returns the exit status."""
    from bench.commands.progress import Display

    began = time.monotonic()
    with opened(runs, resume, options) as (directory, host):
        unclean: UncleanError | None = None
        interrupted = False
        with Display(directory, quiet=as_json) as display:
            try:
                interrupted = carry_out(
                    directory, host, display, more=lambda go_on: decide_more(directory, display.note, go_on)
                )
            except UncleanError as error:
                unclean = error
        status = conclude(directory, began, as_json=as_json, report=report, interrupted=interrupted)
        if unclean is not None:
            raise unclean
        return status


@contextlib.contextmanager
def opened(
    runs: Path, resume: Path | None, options: dict[str, Any], run_id: str | None = None
) -> Iterator[tuple[RunDirectory, Host]]:
    """The directory of a new or unfinished run and the host it is for, while this host's lock is held."""
    from bench.ledger import state_dir
    from bench.session import exclusive

    if resume:
        directory = store.open_run(resume)
        host = assembly.host_for(directory.info.plan.runtimes)
        assembly.check_same_image(directory, host)
    else:
        plan, host = assembly.assemble(**options)
        if not plan.cases:
            causes = sorted({f"{s.case.runtime}: {s.cause}" for s in plan.skipped})
            raise NothingToRunError("nothing can run here: " + "; ".join(causes), fix="bench doctor")
    with exclusive(state_dir() / "lock"):
        if not resume:
            directory = store.create(runs, plan, assembly.facts_of(host), run_id=run_id)
        yield directory, host


def carry_out(
    directory: RunDirectory,
    host: Host,
    display: Display,
    finished: Callable[[int], None] = lambda index: None,
    more: Callable[[Callable[[Plan], None]], None] = lambda go_on: None,
) -> bool:
    """Run the trials of the plan that are not on disk yet; True where it was interrupted.

    `finished` is told the index of each; `more` may go on with a grown plan in the same session.
    """
    from bench import collectors as registry
    from bench.engine import Interrupted
    from bench.feasible import collectors_here
    from bench.session import Session

    usable, lacking = collectors_here([registry.load(name) for name in registry.names()])
    for missing in lacking:
        display.note(f"collector {missing.what} is off: {missing.cause}")
    try:
        progress = display.progress(finished)
        with Session(
            directory, host.runtimes, usable, host.image, progress, applications=host.applications
        ) as session:

            def go_on(plan: Plan) -> None:
                display.plan(plan)
                session.carry_out(plan)

            try:
                go_on(directory.info.plan)
                more(go_on)
            finally:
                directory.update_plan(directory.info.plan, session.notes)
    except Interrupted:
        return True
    return False


def decide_more(directory: RunDirectory, note: Callable[[str], None], go_on: Callable[[Plan], None]) -> None:
    """Add blocks of undecided cases, one at a time, up to the suite's cap; `go_on` carries each out."""
    suite = directory.info.plan.suite
    plan = directory.info.plan
    cap = suite.max_blocks if not plan.quick else suite.quick_blocks + 2
    for _ in range(plan.blocks, max(plan.blocks, cap)):
        undecided = _undecided(directory)
        if not undecided:
            return
        plan = planning.extend(directory.info.plan, undecided)
        if len(plan.trials) == len(directory.info.plan.trials):
            return
        directory.update_plan(plan)
        note(f"{len(undecided)} cells are undecided: one more block of them")
        go_on(plan)


def _undecided(directory: RunDirectory) -> list[str]:
    """Ids of cases that another block may decide, judged in a process of its own."""
    done = apart.run("analyse", str(directory.path), "--undecided")
    if done.returncode not in (0, 1, 3):
        raise BenchError(f"the analysis failed: {done.stderr.strip()}")
    try:
        return msgspec.json.decode(done.stdout, type=list[str])
    except msgspec.MsgspecError as error:
        raise BenchError(f"the analysis failed: {done.stderr.strip()}") from error


def conclude(directory: RunDirectory, began: float, *, as_json: bool, report: bool, interrupted: bool) -> int:
    """Analyse and report what there is; the exit status of the run."""
    status = analyse(directory.path, as_json=as_json)
    if report:
        for file in write_report(directory.path, html=True, pdf=True, output=None):
            click.echo(f"report: {file}", err=as_json)
    records = directory.trials()
    busy = sum(r.workload_seconds for r in records)
    spent = time.monotonic() - began
    click.echo(
        f"{len(records)} trials, {busy:.0f} s of workload in {spent:.0f} s; run: {directory.path}", err=True
    )
    if interrupted:
        click.echo(f"interrupted; go on with: bench run --resume {directory.path}", err=True)
        return 130
    if any(r.status == "broken" for r in records):
        return 4
    return status


def analyse(path: Path, *, as_json: bool, undecided: bool = False) -> int:
    """Judge the run at `path`, store the findings, print them; the exit status as `_status` says."""
    from bench import analysis, frames
    from bench.render import prose, terminal

    directory = store.open_run(path)
    loaded = frames.load(path)
    found = analysis.analyse(loaded)
    conclusion = analysis.summary(loaded, found)
    directory.write_findings(found, conclusion)
    if undecided:
        click.echo(msgspec.json.encode(sorted(analysis.undecided(loaded, found))).decode())
    elif as_json:
        click.echo(msgspec.json.encode(found).decode())
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(terminal.table(found))
        click.echo("\n".join(prose.sentences(conclusion)))
    else:
        click.echo("\n".join([*terminal.plain(found), *prose.sentences(conclusion)]))
    return _status(found) if loaded.plan.suite.kind == "limits" else _finished(found)


def _status(findings: list[Finding]) -> int:
    """1 where a limit did not hold, 3 where not one limit could be judged, else 0. Controls do not count."""
    verdicts = {f.verdict for f in findings if not f.control}
    if verdicts & {"fail", "not enforced"}:
        return 1
    return 0 if verdicts & {"pass", "inconclusive"} else 3


def _finished(findings: list[Finding]) -> int:
    """3 where nothing came out at all, else 0: there is nothing to pass or fail."""
    return 0 if any(f.measured for f in findings) else 3


def write_report(path: Path, *, html: bool, pdf: bool, output: Path | None) -> list[Path]:
    """Write the documents of the run at `path`; judged first where that was not done yet."""
    loaded, content = _document(path)
    target = output or path
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    if html:
        from bench.render import html as html_document

        (target / "report.html").write_text(html_document.render(loaded, content), encoding="utf-8")
        written.append(target / "report.html")
    if pdf:
        from bench.render import pdf as pdf_document

        (target / "report.pdf").write_bytes(pdf_document.render(loaded, content))
        written.append(target / "report.pdf")
    return written


def _document(path: Path) -> tuple[Run, Content]:
    """The run and what its report says; of a comparison that was killed, what its blocks until then say."""
    from bench import frames
    from bench.render import compared, document

    directory = store.open_run(path)
    if directory.info.plan.arms:
        if directory.comparison() is None:
            from bench.commands import judging

            judging.conclude(path, sum(r.duration for r in directory.trials()), "interrupted")
        found = directory.comparison()
        assert found is not None
        loaded = frames.load(path)
        return loaded, compared.build(loaded, found)
    if directory.findings() is None:
        analyse(path, as_json=False)
    loaded = frames.load(path)
    return loaded, document.build(loaded)
