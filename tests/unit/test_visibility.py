"""What is made of a tenant's answers: states, doubts, and which kind of namespace changes what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import analysis, frames, workload
from bench.analysis import properties, visibility
from bench.analysis.properties import BY_NAME, GROUPS, PROPERTIES, STATE
from bench.model import KINDS, Exit, Finding, Interval, Observation, Skipped
from tests import builders, looks

ROWS = len(PROPERTIES)


def a_run(path, alter=None, lacking=lambda runtime, case: None, runtimes=("process", "namespace", "docker")):
    plan = builders.make_plan("isolation", blocks=2, runtimes=runtimes, lacking=lacking)
    kept = {c.id for c in plan.cases if c.experiment in ("visible", "mechanisms")}
    plan = replace(
        plan,
        cases=tuple(c for c in plan.cases if c.id in kept),
        trials=tuple(t for t in plan.trials if t.case in kept),
        suite=replace(
            plan.suite,
            experiments=tuple(e for e in plan.suite.experiments if e.section == visibility.SECTION),
        ),
    )
    return frames.load(builders.write_run(path, plan, alter=alter))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return a_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def found(run):
    return analysis.analyse(run)


def one(found, runtime, name):
    return next(f for f in visibility.of_tenants(found) if f.runtime == runtime and f.label == name)


def saying(name, value, labels):
    """Alters trials so that the tenant of `process` says this of one property."""

    def alter(case, record, samples):
        if case.experiment != "visible" or case.runtime != "process":
            return record, samples
        seen = tuple(
            Observation(o.time, o.metric, value, "1", labels) if o.metric == f"look.{name}" else o
            for o in record.tenants[0].observations
        )
        return builders.with_tenant(record, observations=seen), samples

    return alter


# --- the table of properties ----------------------------------------------------------------------


def test_the_probe_declares_exactly_the_properties_of_the_table():
    declared = {m.name.removeprefix("look.") for m in workload.find("probe/look").metrics}
    assert declared == set(BY_NAME)
    assert len(BY_NAME) == ROWS


def test_every_property_has_a_group_a_title_of_its_own_and_a_sentence():
    assert {p.group for p in PROPERTIES} == set(GROUPS)
    assert len({p.title for p in PROPERTIES}) == ROWS
    assert all(p.meaning.endswith(".") for p in PROPERTIES)


def test_every_kind_of_namespace_has_rows_of_its_own_and_no_row_is_both_sure_and_not():
    for kind in KINDS:
        assert f"ns.{kind}" in properties.changed_by(kind) and len(properties.changed_by(kind)) >= 2
        assert not properties.changed_by(kind) & properties.maybe_changed_by(kind)


def test_what_is_planted_or_read_back_is_a_property():
    assert set(visibility.MARKED) <= set(BY_NAME) and set(visibility.CONFIRMED) <= set(visibility.MARKED)


# --- findings -------------------------------------------------------------------------------------


def test_every_property_of_every_case_is_one_finding(found, run):
    cases = {c.id for c in run.plan.cases}
    assert len(found) == ROWS * len(cases) and len({f.id for f in found}) == len(found)
    assert len(visibility.of_tenants(found)) == 3 * ROWS


def test_a_finding_has_the_state_the_evidence_and_what_the_host_read_back(found):
    signalled = one(found, "process", "process.signal")
    assert (visibility.state(signalled), signalled.measured.estimate) == ("shared", 1.0)
    assert signalled.evidence == {"state": "shared", "evidence": "of process.signal", "host": 1}
    assert visibility.state(one(found, "docker", "process.signal")) == "own"
    assert visibility.state(one(found, "docker", "devices")) == "restricted"


def test_what_has_no_answer_has_a_reason_and_no_number(found):
    none = one(found, "process", looks.UNANSWERED)
    assert none.measured is None and none.verdict == "not testable"
    assert "no security module is on" in none.reason and visibility.state(none) is None


@pytest.mark.parametrize(("value", "state"), [(0.0, "restricted"), (1.0, "shared")])
def test_a_tenant_is_not_believed_against_what_the_host_read_back(tmp_path, value, state):
    def alter(case, record, samples):
        say = saying("file.change", value, {"state": state, "evidence": "e"})
        record, samples = say(case, record, samples)
        facts = {**record.tenants[0].facts, "marker.file": not value}
        return builders.with_tenant(record, facts=facts), samples

    finding = one(analysis.analyse(a_run(tmp_path, alter)), "process", "file.change")
    assert finding.verdict == "inconclusive" and "the host read back" in finding.reason
    assert visibility.state(finding) is None


def test_trials_that_differ_are_no_answer(tmp_path):
    def alter(case, record, samples):
        state = "shared" if record.block else "own"
        say = saying("devices", float(record.block > 0), {"state": state, "evidence": "e"})
        return say(case, record, samples)

    finding = one(analysis.analyse(a_run(tmp_path, alter)), "process", "devices")
    assert finding.verdict == "inconclusive" and "trials differ: own, shared" in finding.reason


def test_a_probe_that_ended_early_leaves_reasons_for_what_it_did_not_reach(tmp_path):
    def alter(case, record, samples):
        return builders.with_tenant(record, observations=record.tenants[0].observations[:3]), samples

    found = [f for f in analysis.analyse(a_run(tmp_path, alter)) if f.runtime == "docker"]
    assert len(found) == ROWS
    assert sum(f.measured is not None for f in found) == 3
    assert all("ended before it" in f.reason for f in found if f.measured is None)


def test_a_case_without_any_answer_is_one_finding_with_the_exit(tmp_path):
    def alter(case, record, samples):
        if case.runtime != "docker":
            return record, samples
        return builders.with_tenant(record, observations=(), exit=Exit("exited", 1)), samples

    (finding,) = [f for f in analysis.analyse(a_run(tmp_path, alter)) if f.runtime == "docker"]
    assert finding.verdict == "not testable" and "it exited with 1" in finding.reason and finding.label == ""


def test_a_case_that_cannot_run_is_one_finding_with_its_fix(tmp_path):
    def lacking(runtime, case):
        return Skipped(case, "not testable", "no engine", "start it") if runtime == "docker" else None

    (finding,) = [f for f in analysis.analyse(a_run(tmp_path, lacking=lacking)) if f.runtime == "docker"]
    assert (finding.reason, finding.fix) == ("no engine", "start it")


# --- kinds of namespaces --------------------------------------------------------------------------


def test_each_kind_changes_exactly_its_own_rows(found):
    kinds = visibility.of_kinds(found)
    assert next(iter(kinds)) == "none" and set(KINDS) < set(kinds)
    for kind in KINDS:
        assert visibility.changed(kinds, kind) == properties.changed_by(kind)
        assert visibility.unexpected(kinds, kind) == frozenset()


@given(st.sets(st.sampled_from(sorted(BY_NAME))), st.sets(st.sampled_from(sorted(BY_NAME))))
def test_whatever_a_kind_changes_is_told_and_what_is_not_its_own_is_unexpected(shared, moved):
    base = {name: a_finding(name, "shared" if name in shared else "restricted") for name in BY_NAME}
    other = {n: a_finding(n, "own") if n in moved else f for n, f in base.items()}
    kinds = {"none": base, "net": other}
    assert visibility.changed(kinds, "net") == shared & moved
    due = properties.changed_by("net") & shared
    assert visibility.unexpected(kinds, "net") == (shared & moved) ^ due


def a_finding(name, state):
    return Finding(
        id=name, experiment="mechanisms", section="visibility", runtime="namespace", label=name, limit=None,
        control=False, requested=None, effective=None, effective_source="", expected=None,
        measured=Interval(float(state == "shared"), None, None, 1), deviation=None, scale="relative",
        tolerance=None, unit=STATE, verdict=None, reason="", evidence={"state": state, "evidence": ""},
    )  # fmt: skip


def test_a_kind_whose_probe_said_nothing_changed_nothing_known():
    kinds = {"none": {"hostname": a_finding("hostname", "shared")}, "net": {}}
    assert visibility.changed(kinds, "net") is None and visibility.unexpected(kinds, "net") == frozenset()


# --- in a few sentences ---------------------------------------------------------------------------


def test_the_conclusion_counts_what_is_shared_and_what_was_reached(run, found):
    said = analysis.summary(run, found)
    assert f"process {ROWS - 1} of {ROWS - 1}" in said
    marked = len(visibility.MARKED)
    assert f"reached from inside: process {marked} of {marked}, namespace 0 of {marked}" in said
    assert "(mnt 2, pid 2, net 4," in said and "not as expected" not in said


def test_a_kind_that_does_not_do_as_expected_is_named(tmp_path):
    def alter(case, record, samples):
        if case.params.get("unshared") == "uts":
            found = {**looks.states(case), "hostname": "shared"}
            return builders.with_tenant(record, observations=tuple(looks.observations(found))), samples
        return record, samples

    run = a_run(tmp_path, alter)
    assert "not as expected: uts" in analysis.summary(run, analysis.analyse(run))


def test_another_suite_says_nothing_of_it():
    assert visibility.conclusion([]) == ""
