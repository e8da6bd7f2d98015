"""Whole run directories through `analyse`: what holds passes, and each way to be wrong is called by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench import frames
from bench.analysis.findings import analyse, conclusion, inconclusive_cases
from bench.analysis.quality import quality
from bench.model import Case, Exit, Finding, Reading, Sample, TrialRecord
from tests.builders import (
    Alter,
    Trial,
    make_plan,
    sample_run,
    scaled,
    typical_lacking,
    with_tenant,
    write_run,
)

Build = Callable[..., dict[str, Finding]]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Findings by id of a run of the experiments whose name contains `only`, altered trial by trial."""

    def make(only: str, alter: Alter | None = None, **options: object) -> dict[str, Finding]:
        plan = make_plan(only=only, **{"blocks": 4, **options})  # type: ignore[arg-type]
        return {f.id: f for f in analyse(frames.load(write_run(tmp_path, plan, alter=alter)))}

    return make


def limited(change: Callable[[TrialRecord], TrialRecord]) -> Alter:
    """An alteration of the trials that have limits; controls stay as they are."""

    def alter(case: Case, record: TrialRecord, samples: list[Sample]) -> Trial:
        return (change(record) if any(t.limits for t in case.tenants) else record), samples

    return alter


def only_in(runtime: str, change: Callable[[TrialRecord], TrialRecord]) -> Alter:
    def alter(case: Case, record: TrialRecord, samples: list[Sample]) -> Trial:
        return (change(record) if case.runtime == runtime else record), samples

    return alter


# --- a run where every limit holds ---------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    return analyse(frames.load(sample_run(tmp_path_factory.mktemp("run"), blocks=3)))


def test_every_row_of_every_runtime_has_one_finding(whole: list[Finding]) -> None:
    ids = [f.id for f in whole]
    assert len(ids) == len(set(ids))
    assert "cpu-ceiling/docker/0.5 cores" in ids
    assert {f.runtime for f in whole} == {"process", "cgroup", "namespace", "docker"}


def test_limits_that_hold_pass_in_every_limited_runtime(whole: list[Finding]) -> None:
    odd = {"io-write-buffered", "memory-high", "io-weight-bfq", "visible"}
    for f in whole:
        if not f.control and f.experiment not in odd:
            assert f.verdict == "pass", f"{f.id}: {f.reason}"


def test_the_control_is_unlimited_wherever_a_limit_is_to_bind(whole: list[Finding]) -> None:
    verdicts = {f.experiment: f.verdict for f in whole if f.control and f.label != "1:1"}
    assert verdicts.pop("cpu-below-quota") == "pass"
    assert verdicts.pop("cpu-weight-alone") == "pass"
    assert verdicts.pop("io-weight-inert") == "pass"
    assert verdicts.pop("io-weight-bfq") == "not testable"
    assert verdicts.pop("visible") is None
    assert set(verdicts.values()) == {"not enforced"}
    assert all("control" in f.reason for f in whole if f.control and f.values)


def test_a_limit_that_has_no_effect_is_not_enforced(whole: list[Finding]) -> None:
    leaky = [f for f in whole if f.experiment == "io-write-buffered" and not f.control]
    assert {f.verdict for f in leaky} == {"not enforced"}
    assert len(leaky) == 3


def test_skipped_cells_carry_their_cause_and_fix(whole: list[Finding]) -> None:
    cell = next(f for f in whole if f.experiment == "memory-high" and f.runtime == "cgroup")
    assert (cell.verdict, cell.reason, cell.fix) == (
        "not testable", "memory.high exists only in cgroup v2", "boot with cgroup v2",
    )  # fmt: skip
    assert cell.measured is None


def test_a_finding_carries_its_three_values_and_its_trials(whole: list[Finding]) -> None:
    f = next(f for f in whole if f.id == "cpu-ceiling/cgroup/0.5 cores")
    assert (f.requested, f.effective, f.expected) == (0.5, 0.5, 0.5)
    assert f.effective_source.endswith("/cpu")
    assert f.measured is not None and f.measured.n == 3
    assert f.measured.estimate == pytest.approx(0.5, rel=0.02)
    assert len(f.values) == len(f.trials) == 3
    assert f.unlimited == pytest.approx(2.0, rel=0.02)
    assert f.evidence["cpu.nr_throttled"] == f.evidence["cpu.nr_periods"]
    assert f.evidence["stall.predicted"] == pytest.approx(0.075)
    assert f.evidence["stall.deviation"] == pytest.approx(0.002, abs=1e-6)
    assert f.reason.startswith("asked 0.5 cores, got 0.")
    assert "throttled in" in f.reason


def test_the_stall_is_not_predicted_where_the_quota_is_one_slice_a_cpu(whole: list[Finding]) -> None:
    f = next(f for f in whole if f.id == "cpu-ceiling/cgroup/0.1 cores")
    assert f.evidence["stall.predicted"] is None
    assert "slice" in str(f.evidence["stall.reason"])


def test_a_fact_is_stated_and_not_judged(whole: list[Finding]) -> None:
    f = next(f for f in whole if f.experiment == "visible" and f.runtime == "docker")
    assert f.verdict is None
    assert f.reason == "asked 0.5 cores, the workload sees 2 CPUs"
    assert f.evidence["visible.memory.total"] == 24 * 2**30
    assert f.evidence["visible.cgroup.cpu.max"] is None


def test_the_conclusion_counts_names_and_explains(whole: list[Finding]) -> None:
    text = conclusion(whole)
    assert "docker 25 of 26" in text
    assert "cgroup, namespace and docker did not hold io-write-buffered." in text
    missing = sum(f.verdict == "not testable" and not f.control for f in whole)
    assert f"{missing} not testable here" in text
    assert "not offered" in text
    assert "The unlimited control, process, broke the limits, as it must." in text
    assert len(text) < 500, "ten seconds"
    assert "docker did not hold Buffered writes." in conclusion(
        whole, {"io-write-buffered": "Buffered writes"}
    )


def test_nothing_is_left_to_decide_where_everything_is_clear(whole: list[Finding]) -> None:
    assert inconclusive_cases(whole) == set()


# --- each way to be wrong -----------------------------------------------------------------------


def test_a_limit_the_kernel_does_not_hold_is_not_enforced_and_names_the_file(build: Build) -> None:
    reading = Reading(None, "/sys/fs/cgroup/cpu/isobench/a/cpu.max", "unlimited")
    found = build("net-egress", limited(lambda r: with_tenant(r, effective={"net.egress": reading})))
    f = found["net-egress/docker/100 Mbit/s"]
    assert f.verdict == "not enforced"
    assert "/cpu.max holds no limit" in f.reason
    assert f.effective is None


def test_another_value_in_force_than_asked_fails(build: Build) -> None:
    reading = Reading(32, "/sys/fs/cgroup/pids/isobench/a/pids.max")
    found = build("pids", only_in("docker", lambda r: with_tenant(r, effective={"pids": reading})))
    assert found["pids/docker/64"].verdict == "fail"
    assert "configured ≠ effective" in found["pids/docker/64"].reason
    assert found["pids/cgroup/64"].verdict == "pass"


def test_a_parents_lower_limit_makes_a_row_not_testable(build: Build) -> None:
    reading = Reading(32, "/sys/fs/cgroup/pids/isobench.slice/pids.max")
    found = build("pids", only_in("docker", lambda r: with_tenant(r, effective={"pids": reading})))
    assert found["pids/docker/64"].verdict == "not testable"
    assert "a parent holds 32" in found["pids/docker/64"].reason


def test_trials_that_disagree_about_the_effective_value_do_not_pass(build: Build) -> None:
    def change(record: TrialRecord) -> TrialRecord:
        return with_tenant(record, effective={"pids": Reading(63 + record.block % 2 * 20, "/x/a/pids.max")})

    f = build("pids", only_in("cgroup", change))["pids/cgroup/64"]
    assert f.effective is None
    assert f.verdict == "fail"


def test_without_the_control_the_row_is_not_testable_with_a_fix(build: Build) -> None:
    found = build("io-read-buffered", lambda c, r, s: (r, []), runtimes=("cgroup",))
    f = found["io-read-buffered/cgroup/10 MB/s"]
    assert f.verdict == "not testable"
    assert "no control" in f.reason
    assert "process" in f.fix


def test_without_the_control_a_counter_is_proof_enough(build: Build) -> None:
    f = build("cpu-ceiling", runtimes=("cgroup",))["cpu-ceiling/cgroup/0.5 cores"]
    assert f.verdict == "pass"
    assert "no control without limits was run" in f.reason


def test_a_control_of_another_image_is_not_compared_with(build: Build) -> None:
    change = only_in("process", lambda r: replace(r, image="sha256:other"))
    f = build("io-read-buffered", lambda c, r, s: (change(c, r, s)[0], []))["io-read-buffered/cgroup/10 MB/s"]
    assert f.verdict == "not testable"
    assert "another image" in f.reason
    assert f.unlimited is None


def test_trials_of_different_images_are_not_pooled(build: Build) -> None:
    change = only_in("cgroup", lambda r: replace(r, image=f"sha256:{r.block % 2}"))
    f = build("pids", change)["pids/cgroup/64"]
    assert f.verdict == "not testable"
    assert "different images" in f.reason


def test_too_little_demand_is_not_testable(build: Build) -> None:
    def weak(record: TrialRecord) -> TrialRecord:
        seen = tuple(
            replace(o, value=11e6) if o.metric == "io.rate" else o for o in record.tenants[0].observations
        )
        return with_tenant(record, observations=seen)

    f = build("io-read-direct", only_in("process", weak))["io-read-direct/cgroup/10 MB/s"]
    assert f.verdict == "not testable"
    assert "1.1 ×" in f.reason


def test_all_trials_broken_is_not_testable_with_the_failure_and_its_fix(build: Build) -> None:
    change = only_in(
        "docker", lambda r: replace(r, status="broken", reason="no daemon\n  fix: dockerd", tenants=())
    )
    f = build("pids", change)["pids/docker/64"]
    assert (f.verdict, f.fix) == ("not testable", "dockerd")
    assert f.reason == "all 4 trials failed: no daemon"


def test_some_trials_broken_is_said_and_the_rest_is_judged(build: Build) -> None:
    def change(record: TrialRecord) -> TrialRecord:
        return replace(record, status="broken", reason="x", tenants=()) if record.block == 0 else record

    f = build("pids", only_in("docker", change))["pids/docker/64"]
    assert f.verdict == "pass"
    assert "1 more trials broke" in f.reason
    assert len(f.trials) == 3


def test_a_run_that_was_cut_short_says_how_to_go_on(tmp_path: Path) -> None:
    plan = make_plan(only="pids", blocks=2)
    path = write_run(tmp_path, replace(plan, trials=()))
    f = analyse(frames.load(path))[0]
    assert f.verdict == "not testable"
    assert "--resume" in f.fix


def test_a_tenant_that_dies_elsewhere_fails_the_row(build: Build) -> None:
    change = only_in("docker", lambda r: with_tenant(r, exit=Exit("oom", signal=9)))
    f = next(f for f in build("memory-file-cache", change).values() if f.runtime == "docker")
    assert f.verdict == "fail"
    assert "tenant a OOM-killed in 4 of 4 trials" in f.reason


def test_a_kill_outside_of_the_limit_fails_the_row(build: Build) -> None:
    def alter(case: Case, record: TrialRecord, samples: list[Sample]) -> Trial:
        later = {s.time for s in samples if s.metric == "host.oom_kill" and s.time > 0}
        more = [
            replace(s, value=(s.value or 0) + 1) if s.metric == "host.oom_kill" and s.time in later else s
            for s in samples
        ]
        return record, more if case.runtime == "docker" else samples

    found = build("memory-anonymous", alter)
    f = found["memory-anonymous/docker/128 MiB + swap 0 B"]
    assert f.verdict == "fail"
    assert f.evidence["kills.outside"] == 4
    assert found["memory-anonymous/cgroup/128 MiB + swap 0 B"].evidence["kills.outside"] == 0


def test_a_group_gone_before_its_kill_was_read_is_no_kill_outside(build: Build) -> None:
    def alter(case: Case, record: TrialRecord, samples: list[Sample]) -> Trial:
        stale = [replace(s, value=0.0) if s.metric == "memory.events.oom_kill" else s for s in samples]
        return record, stale if case.runtime == "docker" else samples

    f = build("memory-anonymous", alter)["memory-anonymous/docker/128 MiB + swap 0 B"]
    assert f.verdict == "pass"
    assert f.evidence["memory.events.oom_kill"] is None
    assert f.evidence["kills.outside"] is None
    assert "no counter memory.events.oom_kill" in f.reason


def test_a_value_that_fits_without_throttling_is_inconclusive_and_not_run_again(build: Build) -> None:
    def alter(case: Case, record: TrialRecord, samples: list[Sample]) -> Trial:
        quiet = [replace(s, value=0.0) if s.metric == "cpu.nr_throttled" else s for s in samples]
        return record, quiet if case.runtime == "cgroup" else samples

    found = build("cpu-ceiling", alter)
    assert found["cpu-ceiling/cgroup/0.5 cores"].verdict == "inconclusive"
    assert inconclusive_cases(list(found.values())) == set()


def test_a_value_across_the_edge_is_inconclusive_and_wants_more_trials(build: Build) -> None:
    def change(record: TrialRecord) -> TrialRecord:
        return scaled(record, "io.rate", 1.02 + 0.06 * (record.block % 3))

    found = build("io-read-direct", only_in("docker", change))
    f = found["io-read-direct/docker/10 MB/s"]
    assert f.verdict == "inconclusive"
    assert inconclusive_cases(list(found.values())) == {f.case}


def test_cgroups_that_are_not_siblings_make_weights_not_testable(build: Build) -> None:
    def apart(record: TrialRecord) -> TrialRecord:
        return replace(record, tenants=tuple(replace(t, cgroup=f"/{t.name}/x") for t in record.tenants))

    f = build("cpu-weight", only_in("docker", apart))["cpu-weight/docker/4:1"]
    assert f.verdict == "not testable"
    assert "not siblings" in f.reason


def test_a_second_limit_that_is_not_in_force_is_told(build: Build) -> None:
    def change(record: TrialRecord) -> TrialRecord:
        effective = dict(record.tenants[0].effective) | {
            "swap": Reading(None, "memory.swap.max", "unlimited")
        }
        return with_tenant(record, effective=effective)

    f = build("memory-tmpfs", only_in("docker", change))["memory-tmpfs/docker/128 MiB + swap 0 B"]
    assert "memory.swap.max holds no limit" in f.reason


def test_rows_left_out_of_a_quick_plan_have_no_finding(build: Build) -> None:
    found = build("cpu-ceiling", quick=True)
    assert set(found) == {f"cpu-ceiling/{r}/0.5 cores" for r in ("process", "cgroup", "namespace", "docker")}


def test_a_run_where_nothing_could_run_concludes_so(tmp_path: Path) -> None:
    plan = make_plan(only="io-weight-bfq", lacking=typical_lacking)
    found = analyse(frames.load(write_run(tmp_path, plan)))
    assert conclusion(found).startswith("No limit could be put to the test here.")
    assert "not testable here" in conclusion(found)
    assert conclusion([]).startswith("Nothing was judged")


# --- noise --------------------------------------------------------------------------------------


def test_a_quiet_run_has_nothing_to_report(tmp_path: Path) -> None:
    path = write_run(tmp_path, make_plan(only="cpu-ceiling", blocks=2))
    found = quality(frames.load(path))
    by_name = {c.name: c for c in found.checks}
    assert by_name["steal"].mean == pytest.approx(0.001, rel=0.05)
    assert by_name["sampler"].largest == pytest.approx(0.004, rel=0.05)
    assert by_name["pressure"].bound is None
    assert not any(c.noisy for c in found.checks)
    assert found.images and found.broken == () and found.unfinished == 0
    records = frames.load(path).records
    assert found.elapsed == pytest.approx(max(r.index + r.duration for r in records))
    assert found.workload_share == pytest.approx(sum(r.workload_seconds for r in records) / found.elapsed)
    assert found.notes == () and found.mixed == ()


def test_only_trials_of_one_experiment_that_ran_other_images_are_mixed(tmp_path: Path) -> None:
    run = frames.load(write_run(tmp_path, make_plan(only="cpu", blocks=2)))
    names = sorted({r.experiment for r in run.records})
    assert len(names) > 1
    apart = tuple(replace(r, image="other" if r.experiment == names[0] else "one") for r in run.records)
    found = quality(replace(run, records=apart))
    assert set(found.images) == {"one", "other"} and found.mixed == ()
    first = replace(apart[0], image="third")
    found = quality(replace(run, records=(first, *apart[1:])))
    assert found.mixed == tuple(sorted({"third", apart[0].image}))
    assert any("2 different images" in note for note in found.notes)


def test_noise_is_found_and_put_in_words(tmp_path: Path) -> None:
    def alter(case: Case, record: TrialRecord, samples: list[Sample]) -> Trial:
        loud = [
            replace(s, value=(s.value or 0) + 0.4 * s.time)
            if s.metric in ("host.cpu.steal", "self.cpu")
            else s
            for s in samples
        ]
        first = record.tenants[0]
        lying = replace(first, garbage=2, rusage=None)
        return replace(record, tenants=(lying, *record.tenants[1:])), loud

    plan = make_plan(only="cpu-ceiling", blocks=2)
    found = quality(frames.load(write_run(tmp_path, plan, alter=alter)))
    by_name = {c.name: c for c in found.checks}
    assert len(by_name["steal"].noisy) == by_name["steal"].trials > 0
    assert len(by_name["sampler"].noisy) == by_name["sampler"].trials
    assert by_name["accounting"].mean is None
    assert by_name["accounting"].reason
    text = "\n".join(found.notes)
    assert "hypervisor" in text and "samples" in text and "lines of workload output" in text


def test_noise_that_nobody_measured_is_not_known_and_not_zero(tmp_path: Path) -> None:
    plan = make_plan(only="cpu-ceiling", blocks=1)
    bare = write_run(tmp_path, plan, alter=lambda c, r, s: (r, [x for x in s if x.tenant]))
    found = quality(frames.load(bare))
    missing = {c.name for c in found.checks if c.mean is None}
    assert missing == {"steal", "foreign", "pressure", "sampler"}
    assert len([n for n in found.notes if n.startswith("not known")]) == 4


def test_cpu_time_that_two_counters_disagree_about_is_noise(tmp_path: Path) -> None:
    def change(record: TrialRecord) -> TrialRecord:
        used = record.tenants[0].rusage
        assert used is not None
        return with_tenant(record, rusage=replace(used, user=used.user * 0.7))

    plan = make_plan(only="cpu-ceiling", blocks=1)
    found = quality(frames.load(write_run(tmp_path, plan, alter=limited(change))))
    assert {c.name for c in found.checks if c.noisy} == {"accounting"}


def test_broken_and_missing_trials_are_counted(tmp_path: Path) -> None:
    plan = make_plan(only="pids", blocks=2)
    broken = only_in("docker", lambda r: replace(r, status="broken", reason="gone\nmore", tenants=()))
    path = write_run(tmp_path, plan, alter=broken)
    next((path / "trials").glob("*.json")).unlink()
    found = quality(frames.load(path))
    assert found.unfinished == 1
    assert 1 <= len(found.broken) <= 2
    assert found.broken[0][1] == "gone"
