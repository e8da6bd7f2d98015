"""Primitives: how a suite names them, which can run, how one is made, and what a run of them says."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import analysis, making, primitives, suite
from bench import plan as planning
from bench.errors import SuiteError, UsageError
from bench.frames import Run
from bench.ledger import Ledger
from bench.model import Exit, HostFacts, Observation, Skipped, TenantRecord, TrialRecord
from bench.primitives.processes import Bare
from bench.runtimes import Arena

TOML = """
title = "t"
question = "q?"
kind = "primitives"
runtimes = ["process"]
[[experiment]]
name = "one"
title = "One"
question = "q?"
params.primitive = ["process", "namespace.net"]
[experiment.verdict]
measure = "observed"
metric = "create"
rule = "fact"
unit = "s"
headroom = false
"""


def a_plan(blocks=5, lacking=lambda runtime, case: None):
    return planning.make(
        replace(suite.load("primitives"), warmup=0), ["process"], seed=1, blocks=blocks,
        baseline=lambda r: True, lacking=lacking,
    )  # fmt: skip


def a_run(plan, seconds, failed=lambda name, block: False):
    """A run in which `seconds(name, step, block)` is what a step took."""
    cases, records = {c.id: c for c in plan.cases}, []
    for t in plan.trials:
        case = cases[t.case]
        name = case.params["primitive"]
        broken = failed(name, t.block)
        seen = () if broken else tuple(
            Observation(1.0, step, seconds(name, step, t.block), "s") for step in ("create", "destroy")
        )  # fmt: skip
        tenant = TenantRecord("primitive", {}, Exit("exited", 0), 0.0, 1.0, seen)
        records.append(TrialRecord(
            t.index, t.block, case.id, case.experiment, case.runtime, "broken" if broken else "ok",
            "it said no" if broken else "", "host", "2026-01-01T00:00:00+0000", 1.0, 1.0, (tenant,),
            params=dict(case.params),
        ))  # fmt: skip
    return Run(Path("runs/x"), plan, HostFacts({}, {}, {}), "", "0", (), tuple(records), (), "")


def times(name, step, block):
    base = {"namespace.net": 4e-3, "overlay.50": 1e-3, "process": 1e-4}.get(name, 2e-4)
    return base * (1 + block) * (1 if step == "create" or name != "namespace.net" else 1e-3)


def test_a_suite_names_primitives_and_has_no_tenants():
    (experiment,) = suite.parse(TOML, "s", "s.toml").experiments
    assert experiment.tenants == () and experiment.params["primitive"] == ("process", "namespace.net")


@pytest.mark.parametrize(
    "changed",
    [
        TOML.replace("params.primitive", "params.other"),
        TOML.replace("params.primitive", 'workload = "cpu/spin"\nparams.primitive'),
        TOML.replace("params.primitive", "limits.cpu = 1\nparams.primitive"),
    ],
)
def test_a_suite_without_primitives_or_with_a_workload_is_refused(changed):
    with pytest.raises(SuiteError, match=r"params\.primitive"):
        suite.parse(changed, "s", "s.toml")


def test_the_shipped_suite_has_every_primitive_once_a_block():
    plan = a_plan(blocks=3)
    names = {c.id: c.params["primitive"] for c in plan.cases}
    for block in range(3):
        assert sorted(names[t.case] for t in plan.trials if t.block == block) == sorted(primitives.load())


def test_an_unknown_primitive_names_the_nearest():
    with pytest.raises(UsageError, match=r"did you mean 'namespace\.net'"):
        primitives.find("namespace.nett")


def arena_of(tmp_path):
    return Arena("r", 0, None, None, tmp_path, tmp_path, Ledger(tmp_path / "ledger"))


def a_trial(tmp_path, name, deadline=10.0):
    plan = a_plan(blocks=1)
    case = next(c for c in plan.cases if c.params["primitive"] == name)
    planned = next(t for t in plan.trials if t.case == case.id)
    arena = arena_of(tmp_path)
    record, samples = making.Maker().trial(
        planned, replace(case, deadline=deadline), arena, lambda *_: tmp_path / "out"
    )
    assert samples == [] and arena.ledger.left(include_alive=True) == []
    return record


@pytest.mark.parametrize("name", ["process", "spawn", "fork"])
def test_a_process_is_made_and_unmade_in_a_child_that_is_gone_afterwards(tmp_path, name):
    before = {child.pid for child in psutil.Process().children()}  # of other tests
    record = a_trial(tmp_path, name)
    assert record.status == "ok", record.reason
    seen = {o.metric: o.value for o in record.tenants[0].observations}
    assert set(seen) == {"create", "destroy"} and min(seen.values()) > 0
    assert {child.pid for child in psutil.Process().children()} <= before


def test_a_step_that_does_not_return_is_ended_at_the_deadline(tmp_path, monkeypatch):
    monkeypatch.setattr(Bare, "create", lambda self: signal.pause())
    record = a_trial(tmp_path, "process", deadline=0.2)
    assert record.status == "broken" and "within 0.2 s" in record.reason


def test_one_turn_is_rehearsed_and_only_the_second_is_timed():
    class Steps:
        def __init__(self):
            self.seen = []

        def prepare(self, place):
            self.seen.append("prepare")

        def create(self):
            self.seen.append("create")

        def destroy(self):
            self.seen.append("destroy")

    steps, clock = Steps(), iter([1.0, 3.0, 8.0])

    def tick():
        steps.seen.append("clock")
        return next(clock)

    assert making.timed(steps, primitives.Place(Path("/"), None), tick) == {"create": 2.0, "destroy": 5.0}
    assert steps.seen == ["prepare", "create", "destroy", "clock", "create", "clock", "destroy", "clock"]


def test_medians_have_intervals_and_the_slowest_comes_first():
    found = analysis.analyse(a_run(a_plan(blocks=9), times))
    made = [f for f in found if f.id.startswith("create/")]
    assert len(made) == len(primitives.load()) and len(found) == 2 * len(made)
    assert [f.label for f in made][:2] == ["namespace.net", "overlay.50"]
    assert made[0].measured.estimate == pytest.approx(4e-3 * 5)
    assert made[0].measured.low < made[0].measured.estimate < made[0].measured.high


def test_a_primitive_that_always_failed_has_its_reason_and_comes_last():
    found = analysis.analyse(a_run(a_plan(), times, lambda name, block: name == "namespace.net"))
    last = [f for f in found if f.id.startswith("create/")][-1]
    assert last.label == "namespace.net" and last.measured is None
    assert "all 5 trials failed: it said no" in last.reason


def test_one_that_cannot_run_here_is_a_finding_with_its_cause():
    def lacking(runtime, case):
        lacks = case.params["primitive"] == "veth"
        return Skipped(case, "not testable", "no links", "get them") if lacks else None

    found = analysis.analyse(a_run(a_plan(lacking=lacking), times))
    assert [(f.reason, f.fix) for f in found if f.label == "veth"] == [("no links", "get them")] * 2


PLAN = a_plan(blocks=1)


@given(st.lists(st.floats(1e-6, 1.0), min_size=len(PLAN.cases), max_size=len(PLAN.cases)))
def test_findings_of_a_step_are_ordered_whatever_the_times(values):
    took = dict(zip((c.params["primitive"] for c in PLAN.cases), values, strict=True))
    found = analysis.analyse(a_run(PLAN, lambda name, step, block: took[name]))
    made = [f.measured.estimate for f in found if f.id.startswith("create/")]
    assert made == sorted(values, reverse=True)


ORPHAN = """
import os, signal, time
from bench import making
from bench.host.kernel import IdleChild

class Kept:
    name = title = "kept"
    def requires(self): return None
    def prepare(self, place): self.child = IdleChild()
    def create(self):
        self.child.start()
        print(self.child._pid, flush=True)
        signal.pause()
    def destroy(self): self.child.end()

go, begin = os.pipe()
parent = os.getpid()
if os.fork() == 0:
    making._child(Kept(), None, time.monotonic, parent, go, 1)
os.write(begin, b"x")
signal.pause()
"""


def test_an_idle_child_ends_with_a_bench_that_is_killed():
    bench = subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True)
    assert bench.stdout
    idle = os.pidfd_open(int(bench.stdout.readline()))
    try:
        assert not select.select([idle], [], [], 0)[0], "it is there"
        bench.kill()
        bench.wait()
        assert select.select([idle], [], [], 10)[0], "the idle child outlived the killed program"
    finally:
        os.close(idle)
        bench.stdout.close()
