"""Matrices of victims and aggressors: what a suite writes, and which cells and cases come of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import neighbours, plan, suite
from bench.errors import SuiteError
from bench.model import AXES, Missing

MATRIX = """
title = "t"
question = "q"
kind = "isolation"
[control.limits]
victim = { cpu = 1, pids = 64, io.write = "1MB/s" }
aggressor = { cpu = 0.5, pids = 64, io.write = "1MB/s" }
[control.cpuset]
victim = { cpuset = "0" }
aggressor = { cpuset = "1" }
[[experiment]]
name = "n"
title = "t"
question = "q"
section = "interference"
args = { before = 1, during = 2, after = 1, alone = 0.5, load = 0.5 }
params = { victim = ["cpu", "disk"], aggressor = ["sleep", "cpu"], control = CONTROLS, placement = PLACE }
slice = [{ victim = ["cpu"], control = ["none"] }]
quick = { slice = [{ aggressor = ["sleep"], control = ["none"] }] }
[experiment.verdict]
measure = "observed"
metric = "victim.rate"
rule = "fact"
"""


def parsed(controls='["none", "limits"]', placements='["same"]'):
    text = MATRIX.replace("CONTROLS", controls).replace("PLACE", placements)
    return suite.parse(text, "s", "s.toml")


def made(found, runtime="docker", **options):
    return plan.make(
        found, [runtime], seed=1, baseline=lambda name: name == "process",
        lacking=lambda name, case: None, **options,
    )  # fmt: skip


def test_every_combination_is_an_experiment_of_two_tenants():
    experiments = parsed().experiments
    assert len(experiments) == 8 == len({e.name for e in experiments})
    cell = next(e for e in experiments if e.name == "cpu-beside-sleep-limits-same")
    assert [(t.name, t.workload) for t in cell.tenants] == [
        ("victim", "victim/cpu"),
        ("aggressor", "aggressor/sleep"),
    ]
    assert cell.params == {
        "victim": ("cpu",),
        "aggressor": ("sleep",),
        "control": ("limits",),
        "placement": ("same",),
    }
    assert cell.tenants[0].limits == {"cpu": (1.0,), "pids": (64,)}
    assert cell.tenants[1].limits == {"cpu": (0.5,), "pids": (64,)}


def test_rates_of_a_disk_are_limited_only_where_somebody_works_on_it():
    by_name = {e.name: e for e in parsed().experiments}
    assert by_name["disk-beside-cpu-limits-same"].needs == ("disk",)
    assert "io.write" in by_name["disk-beside-cpu-limits-same"].tenants[1].limits
    assert by_name["cpu-beside-cpu-limits-same"].needs == ()
    assert "io.write" not in by_name["cpu-beside-cpu-limits-same"].tenants[1].limits


def test_only_the_victim_is_told_its_load_and_both_their_cpu():
    cell = parsed(placements='["other"]').experiments[0]
    assert [t.args.get("load") for t in cell.tenants] == [0.5, None]
    assert [t.args["cpu"] for t in cell.tenants] == [0, 1]


def test_cpus_of_their_own_are_another_core_by_themselves():
    found = parsed(controls='["cpuset"]', placements='["same", "other", "free"]').experiments
    assert {e.params["placement"] for e in found} == {("other",)}


def test_the_slice_is_the_default_and_the_rest_is_of_the_whole_suite():
    found = parsed()
    assert [e.name for e in made(found).suite.experiments] == [
        "cpu-beside-sleep-none-same", "cpu-beside-cpu-none-same",
    ]  # fmt: skip
    whole = made(found, full=True)
    assert len(whole.cases) == 8 and whole.full


def test_a_quick_run_has_its_own_slice():
    cases = made(parsed(), quick=True).cases
    assert [dict(c.params) for c in cases] == [
        {"victim": "cpu", "aggressor": "sleep", "control": "none", "placement": "same"}
    ]


def test_a_runtime_without_limits_has_the_cells_without_control_only():
    cases = made(parsed(), "process", full=True).cases
    assert {c.params["control"] for c in cases} == {"none"} and len(cases) == 4
    assert not any(t.limits for c in cases for t in c.tenants)


def test_a_trial_lasts_as_long_as_all_phases_and_thrice_that_where_emulated():
    (case, *_) = made(parsed()).cases
    assert case.seconds == 4.5
    (case, *_) = made(parsed(), emulated=["docker"]).cases
    assert case.seconds == 13.5 and case.tenants[1].args["during"] == 6


def test_a_limit_that_a_runtime_does_not_have_is_left_out_and_named():
    limited = next(c for c in made(parsed(), full=True).cases if c.params["control"] == "limits")
    found = neighbours.offered(limited, frozenset({"cpu"}), lambda limit: None)
    assert found.params[neighbours.WITHOUT] == "pids" and set(found.tenants[0].limits) == {"cpu"}
    assert {a: found.params[a] for a in AXES} == {a: limited.params[a] for a in AXES}
    gone = neighbours.offered(limited, frozenset({"cpu", "pids"}), lambda limit: Missing("pids", "gone"))
    assert gone == limited  # of which nothing would be left: it cannot run, and says why
    other = replace(limited, params={})
    assert neighbours.offered(other, frozenset(), lambda limit: None) == other


@pytest.mark.parametrize(
    ("controls", "placements", "words"),
    [
        ('["limit"]', '["same"]', "unknown control 'limit'"),
        ('["none"]', '["sam"]', "unknown placement 'sam'"),
        ('"none"', '["same"]', "params.control"),
        ("[]", '["same"]', "params.control"),
    ],
)
def test_a_mistake_is_named_with_its_line(controls, placements, words):
    with pytest.raises(SuiteError, match=words) as caught:
        parsed(controls, placements)
    assert "s.toml:" in str(caught.value)


def test_a_matrix_has_no_workload_of_its_own():
    text = MATRIX.replace("CONTROLS", '["none"]').replace("PLACE", '["same"]')
    with pytest.raises(SuiteError, match="unknown key 'workload'"):
        suite.parse(text.replace('name = "n"', 'name = "n"\nworkload = "cpu/spin"'), "s", "s.toml")
