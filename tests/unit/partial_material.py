"""Whole runs of every kind, and what may be left of one that was interrupted, resumed, broken or starved."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import applications_material
import interference_material
import modes_material
import overhead_material
import places_material
import test_analysis_effort as effort_material
import test_analysis_factors as factors_material
import test_analysis_moments as moments_material
import test_analysis_stops as stops_material
import test_density as density_material
import test_layers as layers_material
import test_network_claims as ways_material
import test_primitives as primitives_material
import test_visibility as visibility_material
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from bench import frames, store
from bench.frames import Run
from bench.model import AGAIN, Exit, TrialRecord
from tests import builders, machines
from tests.builders import HOST

NOTHING = re.compile(r"\b(nan|inf)\b|(?<!“)\bNone\b(?! of)")
"""What a missing number looks like in a text. “None” is the name of a control, and “None of them” English."""
DAMAGES = ("broken", "empty", "unexplained", "silent", "cut", "void")

few = settings(
    max_examples=10, deadline=None, suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)  # fmt: skip
"""For tests that judge what is left of a run."""
fewer = settings(few, max_examples=2)
"""For tests that draw its report as well."""


def _directory() -> Path:
    return Path(tempfile.mkdtemp())


def _neighbours() -> Run:
    plan = interference_material.a_plan(("process", "namespace", "docker"))
    cases = {c.id: c for c in plan.cases}
    directory = store.create(_directory(), plan, HOST, run_id="20260102-030405-test")
    for one in plan.trials:
        case = cases[one.case]
        deed = interference_material.believable(case, one.block)
        directory.write_trial(interference_material.a_record(one, case, deed), [])
    return frames.load(directory.path)


def _machines() -> Run:
    return frames.load(machines.write_run(_directory(), machines.make_plan(blocks=2)))


MADE: dict[str, Callable[[], Run]] = {
    "limits": lambda: frames.load(builders.sample_run(_directory(), blocks=3, quick=True)),
    "machines": _machines,
    "starts": lambda: factors_material.a_run(factors_material.a_plan(blocks=4), factors_material.believable),
    "moments": lambda: moments_material.a_run(blocks=4),
    "stops": lambda: stops_material.a_run(stops_material.trap),
    "effort": lambda: effort_material.written(_directory()),
    "primitives": lambda: primitives_material.a_run(primitives_material.a_plan(), primitives_material.times),
    "visibility": lambda: visibility_material.a_run(_directory()),
    "neighbours": _neighbours,
    "ladder": lambda: overhead_material.a_run(overhead_material.a_plan(), overhead_material.rates({})),
    "places": lambda: places_material.a_run(places_material.a_plan(), places_material.rates({})),
    "modes": lambda: modes_material.a_run(modes_material.a_plan(), modes_material.times({"bridge": 2.0})),
    "ways": ways_material.run_of,
    "applications": lambda: applications_material.a_run(
        applications_material.a_plan(), applications_material.slower({"proxy": 2.0})
    ),
    "layers": lambda: layers_material.a_run(layers_material.a_plan(blocks=4)),
    "density": lambda: density_material.a_run(density_material.a_plan()),
}  # fmt: skip


@functools.cache
def whole(kind: str) -> Run:
    """Every trial of a plan of that kind, all of them good."""
    return MADE[kind]()


def keeping(run: Run, records: tuple[TrialRecord, ...], *, read: bool = True) -> Run:
    """The run with these records alone, and the samples of those; without any where `read` is False."""
    left = replace(run, records=records)
    samples = run.samples
    kept = samples["trial"].isin({r.index for r in records} if read else set())
    vars(left)["samples"] = samples[kept]  # as the cached property keeps it, read from disk once for all
    return left


def damaged(record: TrialRecord, how: str, share: float) -> TrialRecord:
    """The record of a trial that went wrong in that way; `share` of what it told is left where it was cut.

    "broken": with a reason of two lines; "empty": before it had tenants; "unexplained": without a reason;
    "silent": its workloads told nothing; "cut": they were killed; "void": all their numbers are missing.
    """
    if how in ("broken", "empty", "unexplained"):
        reason = "" if how == "unexplained" else "it broke\nbecause"
        tenants = record.tenants if how == "broken" else ()
        return replace(record, status="broken", reason=reason, tenants=tenants)
    tenants = ()
    for one in record.tenants:
        told = one.observations[: int(share * len(one.observations)) if how == "cut" else None]
        if how == "void":
            told = tuple(replace(o, value=None) for o in told)
        if how == "silent":
            told = ()
        end = Exit("oom", signal=9) if how == "cut" else one.exit
        tenants += (replace(one, observations=told, exit=end),)
    return replace(record, tenants=tenants)


@st.composite
def remains(draw: st.DrawFn, run: Run) -> Run:
    """What is left of a run: its first trials, without some runtimes, blocks and ends, some of it damaged."""
    few = draw(st.sampled_from([len(run.records), 12, len(run.records)]))
    records = run.records[: draw(st.integers(0, few))]
    gone = draw(st.sets(st.sampled_from(sorted({r.runtime for r in run.records})), max_size=2))
    blocks = draw(st.sets(st.integers(0, run.plan.blocks)))
    control = draw(st.sampled_from(["kept", "first gone", "last gone"]))
    rate = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    ways = draw(st.sampled_from([DAMAGES, *((how,) for how in DAMAGES)]))
    rng = draw(st.randoms(use_true_random=False))
    kept = [r for r in records if r.runtime not in gone and r.block not in blocks]
    if control != "kept":
        twice = {(r.experiment, r.runtime, r.block) for r in run.records if AGAIN in r.params}
        end = control == "last gone"
        kept = [
            r for r in kept
            if (r.experiment, r.runtime, r.block) not in twice or (AGAIN in r.params) is not end
        ]  # fmt: skip
    left = (damaged(r, rng.choice(ways), rng.random()) if rng.random() < rate else r for r in kept)
    return keeping(run, tuple(left), read=draw(st.booleans()))


def no_number_is_none(page: str) -> None:
    """Neither the words of a page nor its pictures have a number that is none."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    assert not re.search(r"<[^>]*[\"\s,(](nan|inf|None)\b[^>]*>", bare), bare
    words = re.sub(r"<[^>]*>", " ", bare)
    found = NOTHING.search(words)
    assert not found, words[found.start() - 100 : found.end() + 100]
