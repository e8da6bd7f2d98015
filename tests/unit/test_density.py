"""Density: slopes that are put in come out, whatever counts them, and claims are held against intervals."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import analysis, headroom, suite
from bench import plan as planning
from bench.analysis import density_claims
from bench.analysis.crowds import AVAILABLE, PSS, Crowd, crowds
from bench.analysis.density import NOTE, conclusion
from bench.errors import SuiteError
from bench.frames import Run
from bench.model import Exit, HostFacts, Interval, Observation, Skipped, TenantRecord, TrialRecord
from bench.render import document, html

SHIPPED = suite.load("density")
MIB = 2**20
RUNTIMES = SHIPPED.runtimes
MARGINAL = {
    "process": 0.2, "cgroup": 0.3, "namespace": 0.8, "runc": 2.0, "docker": 12.0, "docker:runsc": 30.0,
    "libvirt:micro": 140.0,
}  # fmt: skip
"""MiB that one more takes of the available memory."""


def a_plan(blocks=4, runtimes=RUNTIMES, lacking=lambda runtime, case: None):
    experiments = tuple(replace(e, blocks=None) for e in SHIPPED.experiments)
    return planning.make(
        replace(SHIPPED, experiments=experiments), list(runtimes), seed=1, blocks=blocks,
        baseline=lambda r: r == "process", lacking=lacking, emulated=["libvirt:micro"],
    )  # fmt: skip


def level(n, each, first=1.0, left=16000.0, pss=0.5, rss=1.5, disk=0.04, wobble=0.0, others=0.0):
    """What is read beside `n` instances that take `each` MiB, and the first of them `first` times as much."""
    more = (first - 1) * (n > 0)
    taken = each * (n + more) + wobble
    in_mib = {
        "host.available": left - taken - others * n, "host.slab": 100 + 0.1 * n, "host.kernelstack": 5.0,
        "host.pagetables": 5.0, "host.percpu": 2.0, "sum.pss": pss * each * (n + more),
        "sum.rss": rss * each * n, "sum.uss": 0.4 * each * n, "monitor.pss": 1.0 * n,
        "self.pss": 60 + 0.01 * n, "others.anon": 700 + others * n, "disk.written": disk * n,
        "engine.pss": 80.0 + 0.2 * n,
    }  # fmt: skip
    return {name: value * MIB for name, value in in_mib.items()} | {"sum.cgroup": None}


def a_record(planned, case, of=level, stopped=""):
    each = MARGINAL[case.runtime] + (50.0 if case.experiment.startswith("working") else 0.0)
    most = int(case.params["instances"])
    chance = random.Random(f"{planned.index}")
    seen = []
    for name in ["0", *map(str, headroom.levels(most)), "after"]:
        n = 0 if name == "after" else int(name)
        values = of(n, each, wobble=chance.uniform(-0.02, 0.02))
        seen += [Observation(float(n), m, v, "bytes", {"instances": name}) for m, v in values.items()]
    seen += [Observation(float(n), "start.listening", 0.2 + 0.01 * n, "s", {"residents": str(n)})
             for n in range(most)]  # fmt: skip
    facts = {"stopped": stopped or f"all {most} are there"}
    tenant = TenantRecord("a", {}, Exit("exited", 0), 0.0, 1.0, tuple(seen), facts=facts)
    return TrialRecord(
        planned.index, planned.block, case.id, case.experiment, case.runtime, "ok", "", "host",
        "2026-01-01T00:00:00+0000", 1.0, 1.0, (tenant,), params=dict(case.params),
    )  # fmt: skip


def a_run(plan, of=level, **more):
    cases = {c.id: c for c in plan.cases}
    records = tuple(a_record(t, cases[t.case], of, **more) for t in plan.trials)
    return Run(Path("runs/x"), plan, HostFacts({}, {}, {}), "", "0", (), records, (), "")


def found_by_id(run):
    return {f.id: f for f in analysis.analyse(run)}


def words(run, id_="P23"):
    return {e.claim.text: e.word for e in density_claims.evaluate(run) if e.claim.id == id_}


def test_an_experiment_on_density_says_how_many_and_no_other_kind_does():
    text = (suite.SHIPPED / "density.toml").read_text()
    for changed in (text.replace("params = { instances = [12] }\n", "", 1), text.replace("[12]", "[2]", 1),
                    text.replace('kind = "density"', 'kind = "starts"')):  # fmt: skip
        with pytest.raises(SuiteError, match="instances"):
            suite.parse(changed, "density", "density.toml")


def test_a_trial_is_estimated_by_the_number_it_opens():
    plan = planning.make(SHIPPED, ["docker"], seed=1, baseline=lambda r: False, lacking=lambda r, c: None,
                         cost=lambda r: 1.0)  # fmt: skip
    assert {c.experiment: round(c.overhead) for c in plan.cases} == {"idle": 13, "working": 9}
    settling = {
        e.name: e.settle * len(headroom.levels(e.params["instances"][0])) for e in SHIPPED.experiments
    }
    assert all(c.seconds == pytest.approx(0.5 + planning.STILL + settling[c.experiment]) for c in plan.cases)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_one_more_takes_comes_out_by_every_way_of_counting(runtime):
    found, each = found_by_id(a_run(a_plan())), MARGINAL[runtime]
    taken = {
        m: found[f"{m}/idle/{runtime}"].measured.estimate / MIB for m in ("available", "pss", "rss", "uss")
    }
    assert taken == pytest.approx(
        {"available": each, "pss": 0.5 * each, "rss": 1.5 * each, "uss": 0.4 * each}, abs=0.02
    )
    assert found[f"kernel/idle/{runtime}"].measured.estimate / MIB == pytest.approx(0.1)
    assert found[f"start/idle/{runtime}"].measured.estimate == pytest.approx(0.01)
    assert f"cgroup/idle/{runtime}" not in found, "what nobody counted is no finding, and never 0"


def test_a_working_set_is_fifty_mib_more():
    found = found_by_id(a_run(a_plan()))
    more = [found[f"available/{s}/docker"].measured.estimate for s in ("working", "idle")]
    assert (more[0] - more[1]) / MIB == pytest.approx(50, abs=0.05)


@given(st.floats(0.05, 300), st.integers(3, 40), st.floats(-500, 500), st.floats(1, 9))
def test_one_disturbed_level_and_a_dear_first_instance_do_not_move_the_slope(each, most, error, first):
    levels = {n: level(n, each, first=first) for n in [0, *headroom.levels(max(most, 8))]}
    disturbed = sorted(levels)[len(levels) // 2]
    levels[disturbed] = levels[disturbed] | {
        "host.available": levels[disturbed]["host.available"] + error * MIB
    }
    crowd = Crowd(0, 0, "docker", "idle", levels, levels[0], (), "")
    assert crowd.slope(AVAILABLE) / MIB == pytest.approx(each, rel=1e-6, abs=1e-6)
    if disturbed not in (0, 1):
        assert crowd.first(AVAILABLE) / MIB == pytest.approx(each * first, rel=1e-6, abs=1e-6)


def test_what_other_programs_took_meanwhile_is_not_the_instances():
    run = a_run(a_plan(), lambda *a, **k: level(*a, others=30.0, **k))
    one = found_by_id(run)["available/idle/docker"]
    assert one.measured.estimate / MIB == pytest.approx(12, abs=0.02)
    assert one.evidence["MemAvailable as it is, MiB an instance"] == pytest.approx(42, abs=0.02)


def test_the_level_without_any_is_no_part_of_the_slope():
    levels = {n: level(n, 5.0, first=9.0) for n in range(4)}
    crowd = Crowd(0, 0, "docker", "idle", levels, levels[0], (), "")
    assert crowd.slope(AVAILABLE) / MIB == pytest.approx(5.0)


def test_the_first_instance_is_the_difference_to_none_and_memory_comes_back():
    crowd = next(
        c for c in crowds(a_run(a_plan(), lambda *a, **k: level(*a, first=3.0, **k))) if c.section == "idle"
    )
    assert crowd.first(PSS) == pytest.approx(3 * crowd.slope(PSS), rel=0.01)
    assert crowd.returned == pytest.approx(1.0, abs=0.02)


def test_why_a_trial_ended_early_is_said():
    run = a_run(a_plan(), stopped="100 MiB are available")
    assert "100 MiB are available" in found_by_id(run)["available/idle/docker"].reason


def test_what_cannot_run_is_a_finding_with_its_cause():
    def lacking(runtime, case):
        return Skipped(case, "not testable", "no gVisor", "install it") if "runsc" in runtime else None

    lost = [f for f in analysis.analyse(a_run(a_plan(lacking=lacking))) if f.measured is None]
    assert [(f.runtime, f.section, f.reason) for f in lost] == [
        ("docker:runsc", "idle", "no gVisor"), ("docker:runsc", "working", "no gVisor"),
    ]  # fmt: skip


def test_a_trial_that_told_of_no_level_is_none_of_those_that_count():
    run = a_run(a_plan())
    first, *rest = run.records
    mute = replace(first, tenants=tuple(replace(t, observations=()) for t in first.tenants))
    found = [f for f in analysis.analyse(replace(run, records=(mute, *rest))) if f.runtime == first.runtime]
    assert found and all(first.index not in f.trials for f in found)
    alone = analysis.analyse(replace(run, records=(mute,)))
    (one,) = (f for f in alone if f.id == first.case)
    assert one.verdict == "not testable" and one.reason.startswith("1 trials ended without a number")


def test_a_trial_that_ended_after_one_level_is_a_finding_with_its_cause():
    run = a_run(a_plan(runtimes=("process",)))

    def cut(record):
        (one,) = record.tenants
        told = tuple(o for o in one.observations if o.labels.get("instances") == "0")
        return replace(record, tenants=(replace(one, observations=told),))

    found = analysis.analyse(replace(run, records=tuple(map(cut, run.records))))
    assert {f.id for f in found} == {c.id for c in run.plan.cases}
    assert {f.verdict for f in found} == {"not testable"} and all(
        "without a number" in f.reason for f in found
    )


def test_the_mean_is_of_the_trials_that_have_a_slope():
    run = a_run(a_plan(runtimes=("process",)))
    first = run.records[0]
    (one,) = first.tenants
    bare = replace(
        one, observations=tuple(o for o in one.observations if o.labels.get("instances") in ("0", "1"))
    )
    found = analysis.analyse(replace(run, records=(replace(first, tenants=(bare,)), *run.records[1:])))
    section = next(e.section for e in run.plan.suite.experiments if e.name == first.experiment)
    (available,) = (f for f in found if f.id.startswith(f"available/{section}/"))
    assert available.measured.n == len(available.trials) and first.index not in available.trials
    assert f"the mean slope of {available.measured.n} trials" in available.reason


def test_the_summary_is_in_order_and_says_that_emulated_memory_is_real():
    said = conclusion(analysis.analyse(a_run(a_plan())))
    assert said.index("in process") < said.index("in docker,") < said.index("in libvirt:micro (emulated)")
    assert said.endswith(NOTE)
    assert conclusion([]) == "No instance was added."


def test_what_may_be_nothing_is_said_to_be_that_with_its_bound():
    found = [f for f in analysis.analyse(a_run(a_plan())) if f.id.startswith(f"{AVAILABLE}/idle/")]
    lost = [
        replace(f, measured=Interval(-3e6, -9e6, 2**20, 4)) if f.runtime == "process" else f for f in found
    ]
    said = conclusion(lost)
    assert "It takes nothing that was measurable in process (below 1 MiB)." in said and "−" not in said
    every = [replace(f, measured=Interval(-3e6, -9e6, -1e6, 4), emulated=False) for f in found[:1]]
    assert conclusion(every).endswith("memory nothing that was measurable in process (below 0 MiB).")


# --- claims ---------------------------------------------------------------------------------------


def test_p23_is_reproduced_where_machines_take_most_and_the_first_is_dearest():
    found = words(a_run(a_plan(), lambda *a, **k: level(*a, first=2.0, **k)))
    assert found.pop("gVisor adds 10 to 40 MB to one more container of docker") == "reproduced"
    assert set(found.values()) == {"reproduced"} and len(found) == 4 + len(RUNTIMES)


def test_p23_says_of_an_emulated_machine_that_its_memory_is_real():
    assert any(
        "libvirt:micro, on an emulated CPU: its memory is real" in text for text in words(a_run(a_plan()))
    )


def test_a_container_that_takes_more_and_a_machine_that_takes_less_invert_their_claims():
    found = words(a_run(a_plan(), lambda n, each, **k: level(n, 20.0, **k)))
    assert found["one more runc container takes less than 10 MB"] == "inverted"
    machine = next(w for text, w in found.items() if "at least 60 MB" in text)
    assert machine == "inverted"
    assert found["gVisor adds 10 to 40 MB to one more container of docker"] == "inverted"


def test_a_first_instance_that_takes_no_more_than_the_next_is_not_less():
    found = words(a_run(a_plan()))
    assert found["in docker a further instance takes less PSS than the first"] != "reproduced"


def test_ways_of_counting_are_ordered_and_the_order_can_fail():
    assert set(words(a_run(a_plan()), "counting").values()) == {"reproduced"}
    turned = words(a_run(a_plan(), lambda *a, **k: level(*a, pss=2.0, **k)), "counting")
    assert set(turned.values()) == {"inverted"} and len(turned) == 2 * len(RUNTIMES)


@pytest.mark.parametrize(("disk", "word"), [(0.04, "reproduced"), (2.0, "inverted")])
def test_p25_is_about_the_disk_of_containers(disk, word):
    found = words(a_run(a_plan(), lambda *a, **k: level(*a, disk=disk, **k)), "P25")
    assert found == {
        f"one more container of {r} takes less than 1 MB of disk": word for r in ("docker", "docker:runsc")
    }


def test_without_the_runtimes_the_claims_do_not_apply_and_two_trials_leave_them_open():
    found = words(a_run(a_plan(runtimes=["process"])))
    assert {w for text, w in found.items() if "in process" not in text} == {"not applicable"}
    assert words(a_run(a_plan(blocks=2)))["one more runc container takes less than 10 MB"] == "inconclusive"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda seen: {**seen, "host.available": 9e9}, "less available memory than before the first"),
        (lambda seen: {**seen, "others.anon": None}, "does not tell"),
    ],
)
def test_where_no_memory_was_lost_a_sentence_says_so_and_no_empty_picture(change, says):
    run = a_run(a_plan(), lambda *a, **k: change(level(*a, **k)))
    run = replace(run, finding_list=tuple(analysis.analyse(run)))
    found = {f.id: f for s in document.build(run).sections for f in s.figures}
    assert says in found["fig-levels-idle"].caption and found["fig-levels-idle"].svg == ""
    assert says in html.render(run)


def test_the_report_has_slopes_and_levels_of_both_kinds_of_instance():
    run = a_run(a_plan())
    run = replace(run, finding_list=tuple(analysis.analyse(run)))
    page = document.build(run)
    assert [f.id for s in page.sections for f in s.figures] == [
        "fig-density-idle", "fig-levels-idle", "fig-density-working", "fig-levels-working",
    ]  # fmt: skip
