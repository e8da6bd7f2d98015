"""Comparing runtimes by their starts, interleaved in one run: measure until narrow enough, then judge."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec

from bench import arms as arming
from bench import store
from bench import suite as suites
from bench.commands import apart, assembly
from bench.errors import BenchError, NothingToRunError, UsageError
from bench.feasible import Host
from bench.model import Arm, Comparison, Confirmation, Interval, Plan, Policy, Stop, Suite
from bench.runtimes import OfImage, Runtime
from bench.store import RunDirectory

LOOK = 250
"""Blocks between two looks where the number of blocks is given."""


def compare(names: Sequence[str], *, arms: bool, as_json: bool, report: bool, **options: Any) -> int:
    """Measure, judge, keep `comparison.json` in the run directory, print it; the exit status.

    `names` are the reference and then the candidates, or two run directories unless `arms` is set; `options`
    are those of `measured`.
    """
    from bench.commands import between

    if not arms and between.named(names):
        return between.compare(names, as_json=as_json, **options)
    directory, found = measured(names[0], names[1:], quiet=as_json, **options)
    return told(directory, found, as_json=as_json, report=report)


def measured(
    reference: str,
    candidates: Sequence[str],
    *,
    suite: str,
    runs: Path,
    seed: int | None,
    half_width: float | None,
    seconds: float | None,
    blocks: int | None = None,
    quiet: bool = False,
) -> tuple[RunDirectory, Comparison]:
    """The run directory of a new comparison and what it found; `seconds` are those of one measurement.

    A candidate that comes out slower is measured once more in a run of its own, with all the others, and is
    slower only where both agree.
    """
    arms = arming.of(reference, *candidates)
    wanted = _with_policy(arming.gated(suites.load(suite), arms), half_width, seconds, blocks)
    chosen = seed if seed is not None else int(time.time())
    directory, found = once(wanted, arms, runs=runs, seed=chosen, quiet=quiet)
    if any(j.outcome == "slower" for j in found.judged):
        click.echo("slower: measuring once more before that is said", err=True)
        again, second = once(wanted, arms, runs=runs, seed=chosen + 1, quiet=quiet)
        found = _confirmed(found, second)
        directory.write_comparison(found)
        click.echo(f"second run: {again.path}", err=True)
    return directory, found


def once(
    wanted: Suite, arms: Sequence[Arm], *, runs: Path, seed: int, quiet: bool
) -> tuple[RunDirectory, Comparison]:
    """One measurement by the policies of `wanted`, judged; NothingToRunError where an arm cannot start."""
    host = assembly.host_for([a.runtime for a in arms])
    _refuse_missing(host)
    pinned = [replace(arm, image=_image(host.runtimes[arm.runtime])) for arm in arms]
    first = max((policy.minimum for policy in wanted.gate.values()), default=0)
    plan = arming.plan(wanted, pinned, seed=seed, blocks=first, emulated=assembly.emulated(host))
    return _measured(runs, plan, host, quiet=quiet)


def told(directory: RunDirectory, found: Comparison, *, as_json: bool, report: bool) -> int:
    """Print a comparison, for people or as JSON, and where it and its report lie; the exit status."""
    click.echo(msgspec.json.encode(found).decode() if as_json else "\n".join(lines(found)))
    if report:
        reported(directory)
    click.echo(f"run: {directory.path}", err=True)
    return 130 if found.stopped == "interrupted" else _status(found)


def reported(directory: RunDirectory) -> None:
    """Write the report, in a process of its own, and print where; a report that fails changes no outcome."""
    done = apart.run("report", str(directory.path))
    if done.returncode:
        click.echo(f"no report was written: {done.stderr.strip()}", err=True)
    for file in done.stdout.splitlines():
        click.echo(f"report: {file}", err=True)


def _image(runtime: Runtime) -> str:
    """Digest of the image that an arm has of its own; "" where it takes the sandbox image."""
    return runtime.own_image() if isinstance(runtime, OfImage) else ""


def _with_policy(
    suite: Suite, half_width: float | None, seconds: float | None, blocks: int | None = None
) -> Suite:
    """The suite with the command line's width, time budget and number of blocks in every policy."""

    def changed(policy: Policy) -> Policy:
        kept = replace(policy, half_width=half_width or policy.half_width, seconds=seconds or policy.seconds)
        if blocks is None:
            return kept
        # No width ends it. Each look reads the whole run again, so there are few of them.
        return replace(kept, half_width=0.0, minimum=min(LOOK, blocks), batch=LOOK, maximum=blocks)

    return replace(suite, gate={metric: changed(policy) for metric, policy in suite.gate.items()})


def _refuse_missing(host: Host) -> None:
    for name in host.runtimes:
        for missing in host.missing(name):
            raise NothingToRunError(f"{name} cannot be started here: {missing.cause}", fix=missing.fix)
    if host.image is None:
        raise UsageError("starts are measured with the sandbox image", fix="bench image build")


def _measured(runs: Path, plan: Plan, host: Host, *, quiet: bool) -> tuple[RunDirectory, Comparison]:
    """Blocks of every arm until each metric that gates is as narrow as its policy asks, or a budget ends."""
    from bench import collectors as registry
    from bench.commands.progress import Display
    from bench.engine import Interrupted
    from bench.feasible import collectors_here
    from bench.ledger import state_dir
    from bench.session import Session, exclusive

    usable, _ = collectors_here([registry.load(name) for name in registry.names()])
    began = time.monotonic()
    stopped: Stop | None = None
    with exclusive(state_dir() / "lock"):
        directory = store.create(runs, plan, assembly.facts_of(host))
        try:
            with (
                Display(directory, quiet=quiet) as display,
                Session(directory, host.runtimes, usable, host.image, display.progress()) as session,
            ):
                while stopped is None:
                    display.plan(directory.info.plan)
                    session.carry_out(directory.info.plan)
                    stopped, further = judge(directory, time.monotonic() - began)
                    if stopped is None:
                        directory.update_plan(arming.more(directory.info.plan, further))
        except Interrupted:
            stopped = "interrupted"
    _asked(directory, "conclude", str(time.monotonic() - began), str(stopped))
    found = directory.comparison()
    assert found is not None
    return directory, found


def judge(directory: RunDirectory, seconds: float) -> tuple[Stop | None, int]:
    """Why measuring ends, or None and the number of further blocks."""
    found = msgspec.convert(_asked(directory, "progress", str(seconds)), _Progress)
    return found.stopped, found.further


class _Progress(msgspec.Struct):
    stopped: Stop | None
    further: int


def _asked(directory: RunDirectory, *words: str) -> object:
    """The answer of the judge, a process of its own."""
    done = apart.run("judge", str(directory.path), *words)
    if done.returncode:
        raise BenchError(f"the judge failed: {done.stderr.strip()}")
    return msgspec.json.decode(done.stdout)


def _confirmed(first: Comparison, second: Comparison) -> Comparison:
    """The first comparison, its slow-downs held against the second measurement."""
    from bench.comparison import decision

    others = {(j.metric, j.arm): j for j in second.judged}
    judged = tuple(
        decision.confirm(j, others[j.metric, j.arm]) if (j.metric, j.arm) in others else j
        for j in first.judged
    )
    gated, references = {j.metric for j in judged}, {j.against for j in judged}
    again = Confirmation(
        second.id, second.blocks, second.excluded,
        tuple(r for r in second.ratios if r.metric in gated and r.against in references), second.judged,
    )  # fmt: skip
    note = f"measured once more as {second.id}"
    return replace(first, judged=judged, notes=(*first.notes, note), confirmation=again)


def _status(found: Comparison) -> int:
    from bench.comparison import decision

    return decision.status(found.judged)


def lines(found: Comparison) -> list[str]:
    """The outcome of each metric, the medians of the arms, the noise floor, and what was left out."""
    several = len({j.arm for j in found.judged}) > 1
    named = {j: f"{j.metric} of {j.arm}" if several else j.metric for j in found.judged}
    said = [f"{name}: {j.outcome}: {j.reason}" for j, name in named.items()]
    gated = {j.metric for j in found.judged}
    for arm in found.arms:
        if arm.metric in gated and arm.median is not None:
            said.append(f"  {arm.arm:<20} {arm.role:<11} median {_milliseconds(arm.median)}, n {arm.n}, "
                        f"failed {arm.failed}")  # fmt: skip
    copies = {arm.arm for arm in found.arms if arm.role in ("repeat", "raw repeat")}
    for ratio in found.ratios:
        if ratio.metric in gated and ratio.arm in copies:
            said.append(f"  noise floor: {ratio.arm} over {ratio.against} {_ratio(ratio.ratio)}")
    for judged in found.judged:
        if judged.detectable is not None:
            of = f", {judged.arm}" if several else ""
            said.append(f"  smallest slow-down found 19 times in 20{of}: {100 * judged.detectable:.1f} %")
    left = ", ".join(f"{n} for {why}" for why, n in found.excluded.items())
    ended = {"width": "narrow enough", "blocks": "the most blocks", "time": "time is up"}
    said.append(f"{found.blocks} blocks in {found.duration:.0f} s, left out: {left or 'none'}; "
                f"ended: {ended.get(found.stopped, found.stopped)}")  # fmt: skip
    return said


def _milliseconds(value: Interval) -> str:
    ends = (
        ""
        if value.low is None or value.high is None
        else f" ({value.low * 1e3:.3g} … {value.high * 1e3:.3g})"
    )
    return f"{value.estimate * 1e3:.3g}{ends} ms"


def _ratio(value: Interval) -> str:
    ends = "" if value.low is None or value.high is None else f" ({value.low:.3f} … {value.high:.3f})"
    return f"{value.estimate:.3f}{ends}"
