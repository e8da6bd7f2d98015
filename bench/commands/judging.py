"""The judge of a comparison: a process of its own, so that the one that times starts stays light."""

from __future__ import annotations

import hashlib
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from bench import __version__, frames, store
from bench.analysis import paired
from bench.analysis.starts import PHASES
from bench.comparison import blocks, guards, stopping, summary
from bench.comparison.blocks import Table
from bench.comparison.guards import Guards, Reading
from bench.comparison.summary import Roles
from bench.frames import Run
from bench.model import Commit, Comparison, Judged, Ratio, Scalar, Stop

FORMAT = 1
"""Of comparison.json. 1: the first."""
_GIT = 10.0
"""Seconds git has to say which revision this is."""


def progress(path: Path, seconds: float) -> dict[str, object]:
    """{"stopped": why measuring ends or None, "further": blocks until the next look}."""
    run = frames.load(path)
    table, _ = paired.table(run)
    counted = guards.counted(len(table.excluded), sum(map(bool, table.excluded)), Guards())
    stops, further = [], [1]
    for metric, policy in run.plan.suite.gate.items():
        width = summary.half_width(table, roles(run), metric, policy)
        stops.append(stopping.enough(stopping.Progress(counted, width, seconds), policy))
        look = stopping.next_look(counted, policy)
        further.append((look or counted) - counted)
    return {"stopped": stopping.together(stops), "further": max(further)}


def conclude(path: Path, seconds: float, why: str) -> dict[str, object]:
    """Judge what was measured and keep it as comparison.json; {}. `why` measuring ended: see `Stop`."""
    run = frames.load(path)
    stopped = msgspec.convert(why, Stop)
    store.open_run(path).write_comparison(comparison(run, *paired.table(run), seconds, stopped))
    return {}


def roles(run: Run) -> Roles:
    """The parts that the arms of the run play."""
    return Roles(
        {a.name: a.role for a in run.plan.arms},
        {a.name: a.runtime for a in run.plan.arms},
        dict.fromkeys(PHASES, "s"),
    )


def comparison(
    run: Run, table: Table, readings: Sequence[Reading], seconds: float, stopped: Stop
) -> Comparison:
    """The whole comparison of a run of arms; every outcome is invalid where the machine was too disturbed."""
    found = summary.summarise(table, roles(run), run.plan.suite.gate, seed=run.plan.seed)
    own = {a.name: a.image for a in run.plan.arms if a.image}
    disturbed = guards.environment(readings, Guards())
    judged = tuple(_invalid(j, disturbed) if disturbed else j for j in found.judged)
    gate = run.plan.suite.gate
    # With no median to put the floor in relation to, any slow-down is tolerated; a file has no infinity.
    judged = tuple(j if math.isfinite(j.margin) else replace(j, margin=gate[j.metric].margin) for j in judged)
    reference = next(a for a in run.plan.arms if a.role == "reference")
    return Comparison(
        format=FORMAT, id=run.id, created=run.created, version=__version__, suite=run.plan.suite.name,
        seed=run.plan.seed, policy=run.plan.suite.gate, fingerprint=fingerprint(run.host.identity),
        identity=run.host.identity, state=run.host.state,
        image=", ".join(sorted({r.image for r in run.records} - set(own.values()))),
        reference=" ".join(filter(None, (reference.runtime, reference.image))),
        commit=commit(), blocks=len(table.excluded), excluded=blocks.exclusions(table), stopped=stopped,
        duration=seconds, arms=tuple(replace(a, image=own.get(a.arm, "")) for a in found.arms),
        ratios=_known(found.ratios), judged=judged, notes=run.notes,
    )  # fmt: skip


def _known(ratios: Sequence[Ratio]) -> tuple[Ratio, ...]:
    """Those that are numbers: without a block in which both arms started there is none."""
    return tuple(r for r in ratios if math.isfinite(r.ratio.estimate))


def _invalid(judged: Judged, why: str) -> Judged:
    return replace(judged, outcome="invalid", reason=f"{why}; otherwise: {judged.outcome}, {judged.reason}")


def fingerprint(identity: Mapping[str, Scalar | None]) -> str:
    """A hash of the machine's identity facts, the same in whatever order they come."""
    return hashlib.sha256(msgspec.json.encode(dict(sorted(identity.items())))).hexdigest()[:16]


def commit(directory: Path = Path()) -> Commit | None:
    """The revision checked out there; None outside of a repository or without git."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(directory), *words], capture_output=True, text=True, timeout=_GIT, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        head = git("rev-parse", "HEAD")
        if not head:
            return None
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
        return Commit(
            head, git("show", "-s", "--format=%cI", "HEAD"), git("rev-parse", "--abbrev-ref", "HEAD"), dirty
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
