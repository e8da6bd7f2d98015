"""Moments within a start: medians in their order, hooks held against no hooks, a guest's clock apart."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_analysis_starts import record

from bench import analysis, suite
from bench import plan as planning
from bench.analysis import moments
from bench.analysis.series import Series
from bench.frames import Run
from bench.model import HostFacts, Observation
from bench.render import figures, matrix
from bench.render.figures.material import Material

RUNTIMES = ("process", "runc", "docker", "libvirt")
EXTRA = {
    "docker": {"start.engine.create": 0.2, "start.api.created": 0.25, "start.engine.start": 0.38},
    "libvirt": {"start.domain.resumed": 0.05},
    "runc": {},
}
HOOK = {"start.hook.createRuntime": 0.15, "start.hook.poststart": 0.39}


def a_run(cost=1.25, blocks=8, extra=EXTRA):
    plan = planning.make(
        replace(suite.load("startup"), warmup=0), RUNTIMES, seed=1, blocks=blocks,
        baseline=lambda r: r == "process", lacking=lambda runtime, case: None, emulated=("libvirt",),
    )  # fmt: skip
    plan = replace(
        plan,
        suite=replace(
            plan.suite, experiments=tuple(e for e in plan.suite.experiments if "entry" not in e.params)
        ),
        cases=tuple(c for c in plan.cases if "entry" not in c.params),
    )
    cases = {c.id: c for c in plan.cases}
    records = []
    for planned in plan.trials:
        if planned.case not in cases:
            continue
        case = cases[planned.case]
        hooked = bool(case.params.get("hooks"))
        pace = (1 + planned.block) * (cost if hooked else 1.0)
        one = record(planned, case, pace)
        shares = HOOK if hooked else extra.get(case.runtime, {})
        more = [Observation(s * pace, name, s * pace, "s") for name, s in shares.items()]
        more.append(Observation(1.0, "start.engine.destroy", pace + 0.5, "s"))
        facts = {"guest.uptime": 3.25} if case.runtime == "libvirt" else {}
        tenant = one.tenants[0]
        tenant = replace(tenant, observations=(*tenant.observations, *more), ended=pace, facts=facts)
        records.append(replace(one, tenants=(tenant,), params=dict(case.params)))
    return Run(Path("runs/x"), plan, HostFacts({}, {}, {}), "", "0", (), tuple(records), (), "")


def of(found, runtime, metric):
    return next(f for f in found if f.runtime == runtime and f.id.startswith(f"{metric}/"))


def test_moments_are_medians_in_their_order_up_to_the_answer():
    found = {(t.runtime, t.hooked): t for t in moments.timelines(a_run())}
    assert set(found) == {("docker", False), ("libvirt", False), ("runc", True)}
    docker = found["docker", False]
    assert [m.metric for m in docker.moments] == [
        "start.created", "start.engine.create", "start.api.created", "start.engine.start",
        "start.started", "start.first", "start.listening", "start.ready",
    ]  # fmt: skip
    assert docker.moments[1].at.estimate == pytest.approx(0.2 * 4.5)
    assert docker.moments[1].word == "engine: created"
    hooked = found["runc", True].moments
    assert hooked[1].metric == "start.hook.createRuntime"
    assert hooked[1].at.estimate == pytest.approx(0.15 * 4.5 * 1.25)


def test_a_moment_that_few_starts_have_is_no_moment_of_the_timeline():
    run = a_run()
    first = next(r for r in run.records if r.runtime == "docker")
    rare = replace(first.tenants[0], observations=(
        *first.tenants[0].observations, Observation(0.01, "start.engine.init", 0.01, "s"),
    ))  # fmt: skip
    changed = tuple(replace(r, tenants=(rare,)) if r is first else r for r in run.records)
    (docker,) = [t for t in moments.timelines(replace(run, records=changed)) if t.runtime == "docker"]
    assert "start.engine.init" not in [m.metric for m in docker.moments]


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.floats(0.001, 3), max_size=4))
def test_a_timeline_never_goes_back_and_ends_with_the_answer(shares):
    run = a_run(extra={"docker": {f"start.engine.{name}": share for name, share in shares.items()}}, blocks=3)
    for one in moments.timelines(run):
        at = [m.at.estimate for m in one.moments]
        assert all(a <= b for a, b in itertools.pairwise(at))
        assert one.moments[-1].metric == "start.ready"
        assert {m.metric for m in one.moments} >= set(moments.STEPS)


def test_moments_stand_as_evidence_of_the_answer_and_those_after_the_kill_of_the_removal():
    found = analysis.analyse(a_run())
    assert of(found, "docker", "start.ready").evidence["start.engine.create"] == pytest.approx(0.9)
    assert "start.engine.destroy" not in of(found, "docker", "start.ready").evidence
    assert of(found, "docker", "stop.removed").evidence["stop.engine.destroy"] == pytest.approx(0.5)
    assert "start.engine.create" not in of(found, "process", "start.ready").evidence


def test_hooks_are_compared_with_the_same_runtime_without_them_within_blocks():
    found = of(analysis.analyse(a_run(cost=1.25)), "runc", "start.hooked")
    assert found.measured.estimate == pytest.approx(4.5 * 1.25) and found.section == "hooks"
    assert "1.25 times as long (95 % 1.25 … 1.25, within blocks)" in found.reason
    assert found.evidence["start.hook.poststart"] > found.evidence["start.hook.createRuntime"]


def test_starts_with_hooks_are_no_starts_of_the_suite():
    found = analysis.analyse(a_run(cost=9.0))
    ready = [f for f in found if f.id.startswith("start.ready/") and f.runtime == "runc"]
    assert len(ready) == 1 and ready[0].measured.estimate == pytest.approx(4.5)


def test_a_run_of_hooks_alone_concludes_what_they_cost_and_any_other_says_who_is_ready():
    run = a_run()
    found = analysis.analyse(run)
    assert analysis.summary(run, found).startswith("Ready to answer")
    alone = [f for f in found if f.id.startswith("start.hooked")]
    assert analysis.summary(run, alone).startswith("runc with hooks: the median of 8 starts")


def test_where_every_start_with_hooks_failed_the_reason_is_said():
    run = a_run()
    failed = tuple(
        replace(r, status="broken", reason="no such hook") if r.params.get("hooks") else r
        for r in run.records
    )
    found = of(analysis.analyse(replace(run, records=failed)), "runc", "start.hooked")
    assert (
        found.measured is None
        and found.verdict == "not testable"
        and found.reason.endswith("failed: no such hook")
    )


def test_the_uptime_of_a_guest_is_a_series_of_its_own():
    found = analysis.analyse(a_run())
    uptime = of(found, "libvirt", "guest.uptime")
    assert uptime.measured.estimate == 3.25 and uptime.deviation is None and uptime.emulated
    assert [f.runtime for f in found if f.id.startswith("guest.uptime")] == ["libvirt"]


def test_the_picture_has_a_panel_a_runtime_with_every_moment_named():
    run = a_run()
    run = replace(run, finding_list=tuple(analysis.analyse(run)))
    material = Material(run, Series(run.samples), matrix.columns(run.finding_list, run.plan.runtimes))
    (picture,) = [f for f in figures.draw(material)["start"] if f.id == "fig-moments"]
    said = re.findall(r">([^<>]+)</text>", picture.svg)
    assert {"docker", "libvirt (emulated)", "runc, with hooks"} <= set(said)
    for one in moments.timelines(run):
        assert {m.word for m in one.moments} <= set(said)


def test_where_nobody_else_stamped_anything_there_is_no_picture():
    run = a_run(extra={})
    run = replace(run, records=tuple(r for r in run.records if not r.params.get("hooks")), finding_list=())
    assert moments.timelines(run) == []
