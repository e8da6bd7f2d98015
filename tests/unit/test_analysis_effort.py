"""CPU seconds of a start: each is counted once, for the part that used it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_analysis_starts import a_plan, record

from bench import analysis, frames, store
from bench.analysis import effort
from bench.analysis.series import Series
from bench.model import HostFacts, Sample
from bench.render import figures, matrix
from bench.render.figures.material import Material

seconds = st.floats(0, 100)
unknown = st.none() | seconds
CHILD = {"parked.cpu": 0.0}


def spent(facts=None, **grown):
    plan = a_plan(1)
    one = record(plan.trials[0], plan.cases[0], 0.01)
    one = replace(one, tenants=(replace(one.tenants[0], facts=facts or {}),))
    return effort.spent(one, {(one.index, name.replace("__", ".")): v for name, v in grown.items()})


def test_a_child_of_this_program_is_in_its_group_as_well_and_counts_once():
    found = spent(CHILD, self__children=0.5, cpuacct__tenants=0.4, self__process=0.1)
    assert found.parts == {"cpu.tree": 0.5, "cpu.engine": None, "cpu.harness": 0.1}
    assert spent(CHILD, self__children=0.5, cpuacct__tenants=0.7).parts["cpu.tree"] == 0.7
    assert spent(CHILD, self__children=0.5).parts["cpu.tree"] == 0.5  # the process has no group


def test_what_an_engine_made_is_in_its_group_alone():
    found = spent({"engine": "docker"}, self__children=0.5, cpuacct__tenants=0.25)
    assert found.parts["cpu.tree"] == 0.75
    assert spent({"engine": "docker"}, self__children=0.5).parts["cpu.tree"] is None


def test_the_engine_is_its_daemons_and_the_monitor_or_else_the_groups_of_its_services():
    facts = {"engine": "docker", "engine.monitor.cpu": 0.0625}
    found = spent(facts, engine__docker__cpu=0.25, engine__podman__cpu=9.0)
    assert found.parts["cpu.engine"] == 0.3125 and found.engine == effort.MONITORED
    found = spent(facts, engine__docker__cpu=0.25, engine__docker__group=0.5)
    assert found.parts["cpu.engine"] == 0.5 and found.engine == effort.GROUPED
    assert spent(facts).parts["cpu.engine"] is None
    hidden = spent({"engine": effort.INSIDE}, engine__docker__cpu=9.0)
    assert (hidden.parts["cpu.engine"], hidden.engine) == (None, effort.INSIDE)


def test_the_hosts_time_is_never_made_of_a_reading_that_is_missing():
    read = {"host__cpu__total": 4.0, "host__cpu__idle": 1.0, "host__cpu__steal": 0.5}
    assert spent(**read).host == 2.5
    assert spent(**read, cpuacct__host=2.0).host == 2.0
    for name in read:
        assert spent(**{k: v for k, v in read.items() if k != name}).host is None


def test_a_machine_is_counted_by_the_clock_of_its_qemu_until_it_had_a_group():
    facts = {"engine": "libvirt", "machine.cpu": 2.0}
    assert spent(facts, self__children=0.5, cpuacct__tenants=1.5).parts["cpu.tree"] == 2.5
    assert spent(facts, self__children=0.5, cpuacct__tenants=3.0).parts["cpu.tree"] == 3.5


def test_what_this_program_used_to_read_limits_back_is_not_the_starts():
    assert spent({"readback.cpu": 0.25}, self__process=1.0).parts["cpu.harness"] == 0.75


@given(unknown, unknown, unknown, unknown, st.sampled_from([{}, CHILD, {"engine": "docker"}]))
def test_a_part_is_never_negative_and_never_made_of_nothing(children, tenants, program, daemons, facts):
    given = {"self__children": children, "cpuacct__tenants": tenants, "self__process": program,
             "engine__docker__cpu": daemons}  # fmt: skip
    found = spent(facts, **{k: v for k, v in given.items() if v is not None})
    assert all(v is None or v >= 0 for v in found.parts.values())
    assert children is not None or found.parts["cpu.tree"] is None


def written(tmp_path, blocks=6):
    """A run on disk: what a start of docker uses is 100 times what the process uses, block by block."""
    plan = a_plan(blocks)
    directory = store.create(tmp_path, plan, HostFacts({}, {}, {}), run_id="x")
    cases = {c.id: c for c in plan.cases}
    for planned in plan.trials:
        runtime = cases[planned.case].runtime
        one = record(planned, cases[planned.case], 0.01)
        facts = CHILD if runtime == "process" else {"engine": runtime, "engine.monitor.cpu": 0.5}
        one = replace(one, tenants=(replace(one.tenants[0], facts=facts),))
        used = (planned.block + 1) * (100 if runtime == "docker" else 1)
        counters = {"self.children": used if runtime == "process" else 0, "self.process": 0.25,
                    "cpuacct.tenants": used, "cpuacct.host": used + 10, "engine.docker.cpu": 2.0}  # fmt: skip
        samples = [
            Sample(at, "", "c", name, 1000.0 + at * value)
            for name, value in counters.items()
            for at in (0.0, 1.0)
        ]
        directory.write_trial(one, [*samples, Sample(0.0, "", "spin", "spin.loop", 0.001)])
    return frames.load(directory.path)


def test_every_part_is_a_finding_with_the_ratio_within_blocks_and_the_time_beside(tmp_path):
    found = {f.id.split("/")[0] + "/" + f.runtime: f for f in analysis.analyse(written(tmp_path))}
    tree = found["cpu.tree/docker"]
    assert tree.measured.estimate == pytest.approx(350)
    assert tree.deviation.estimate == pytest.approx(99)
    assert tree.evidence["time"] == 1.0 and tree.evidence["cpu.host"] == pytest.approx(360)
    assert found["cpu.engine/docker"].measured.estimate == pytest.approx(2.5)
    assert effort.MONITORED in found["cpu.engine/docker"].reason
    assert found["cpu.engine/docker"].deviation is None
    assert found["cpu.engine/process"].verdict == "not offered"
    assert found["cpu.engine/libvirt"].verdict == "not testable"  # it has an engine that nobody counted
    assert found["cpu.harness/process"].measured.estimate == pytest.approx(0.25)
    assert found["cpu.tree/process"].deviation is None


def test_a_counter_that_was_read_once_says_nothing(tmp_path):
    run = written(tmp_path)
    frame = run.samples
    late = (frame["metric"] == "engine.docker.cpu") & (frame["time"] > 0)
    frame.loc[late, "value"] = float("nan")  # the engine was restarted meanwhile
    found = next(f for f in effort.analyse(run) if f.id.startswith("cpu.engine") and f.runtime == "docker")
    assert found.measured is None and found.verdict == "not testable"


def test_the_picture_shows_each_part_where_it_was_measured_and_the_time_beside(tmp_path):
    run = written(tmp_path)
    run = replace(run, finding_list=tuple(analysis.analyse(run)))
    material = Material(run, Series(run.samples), matrix.columns(run.finding_list, run.plan.runtimes))
    (picture,) = [f for f in figures.draw(material)["start"] if f.id == "fig-effort"]
    assert {"sandbox", "engine", "this program", "time passed"} <= set(
        re.findall(r">([^<>]+)</text>", picture.svg)
    )
    bare = replace(run, finding_list=tuple(f for f in run.finding_list if not f.id.startswith("cpu.")))
    material = Material(bare, Series(run.samples), matrix.columns(bare.finding_list, run.plan.runtimes))
    assert "fig-effort" not in [f.id for f in figures.draw(material)["start"]]
