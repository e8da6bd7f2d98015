"""Asked against held, how it is put in words, and the predicted stall."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis import stall, wording
from bench.analysis.holding import agree, held
from bench.analysis.stats import interval
from bench.limits import LIMITS, format_cpus
from bench.model import Exit, Judgement, Reading, Scalar, TenantRecord, TrialRecord

OWN = "/sys/fs/cgroup/cpu/isobench.slice/t1/a/cpu.cfs_quota_us"
PARENT = "/sys/fs/cgroup/cpu/isobench.slice/cpu.cfs_quota_us"


def trials(limit: str, *readings: Reading | None, tenant: str = "a") -> list[TrialRecord]:
    return [trial(**{tenant: {limit: reading} if reading else {}}) for reading in readings]


def trial(**effective: dict[str, Reading]) -> TrialRecord:
    tenants = tuple(
        TenantRecord(
            name=name, effective=found, exit=Exit("exited", 0), started=0, ended=1,
            cgroup=f"/sys/fs/cgroup/memory/isobench.slice/t1/{name}",
        )
        for name, found in effective.items()
    )  # fmt: skip
    return TrialRecord(
        index=0, block=0, case="c", experiment="e", runtime="r", status="ok", reason="", image="i",
        wall_time="", duration=1.0, workload_seconds=1.0, tenants=tenants,
    )  # fmt: skip


def state(limit: str, asked: Scalar, *readings: Reading | None) -> tuple[str, str]:
    holding, _ = held(limit, {"a": {limit: asked}}, trials(limit, *readings))
    return holding.state, holding.text


def test_the_asked_value_is_held() -> None:
    holding, reading = held("cpu", {"a": {"cpu": 0.5}}, trials("cpu", Reading(0.5, OWN), Reading(0.5, OWN)))
    assert (holding.state, reading.value, reading.source) == ("held", 0.5, OWN)


def test_no_limit_in_force_names_the_file() -> None:
    assert state("cpu", 0.5, Reading(None, OWN, "unlimited")) == (
        "unlimited", f"asked 0.5 cores, but {OWN} holds no limit",
    )  # fmt: skip


def test_what_could_not_be_read_is_unknown_and_not_unlimited() -> None:
    gone = ("unknown", "cpu could not be read back: the group is gone")
    assert state("cpu", 0.5, Reading(None, OWN, "the group is gone")) == gone
    assert state("cpu", 0.5, None) == ("unknown", "cpu was not read back")


def test_a_lower_value_in_another_directory_is_a_parents() -> None:
    found = state("cpu", 0.5, Reading(0.25, PARENT))
    assert found[0] == "ancestor"
    assert "0.25 cores" in found[1] and PARENT in found[1]


def test_a_lower_value_in_the_own_group_or_a_higher_one_anywhere_is_different() -> None:
    assert state("cpu", 0.5, Reading(0.25, OWN))[0] == "different"
    assert state("cpu", 0.5, Reading(1.0, PARENT))[0] == "different"
    assert state("cpu", 0.5, Reading(0.25, "cpu.max"))[0] == "different"


def test_a_value_that_held_in_some_trials_only_did_not_hold() -> None:
    found = state("cpu", 0.5, Reading(0.5, OWN), Reading(None, OWN, "unlimited"), Reading(0.5, OWN))
    assert found[0] == "different"
    assert "1 of 3 readings" in found[1]
    _, reading = held("cpu", {"a": {"cpu": 0.5}}, trials("cpu", Reading(0.5, OWN), Reading(1.0, OWN)))
    assert reading.value is None
    assert "trials disagree: 0.5 cores, 1 core" in reading.reason


def test_cpu_sets_are_compared_as_sets() -> None:
    assert state("cpuset", "0,1", Reading("0-1", OWN))[0] == "held"
    assert state("cpuset", "0-1", Reading("1", PARENT))[0] == "ancestor"
    assert state("cpuset", "1", Reading("0-1", PARENT))[0] == "different"


def weights(heavy: int, light: int) -> str:
    asked: dict[str, dict[str, Scalar]] = {"heavy": {"cpu.weight": 400}, "light": {"cpu.weight": 100}}
    found = trial(heavy={"cpu.weight": Reading(heavy)}, light={"cpu.weight": Reading(light)})
    return held("cpu.weight", asked, [found])[0].state


def test_weights_are_held_if_they_give_the_same_share() -> None:
    assert weights(400, 100) == "held"
    assert weights(157, 39) == "held"
    assert weights(100, 100) == "different"


def test_weights_of_which_one_could_not_be_read_are_unknown() -> None:
    asked: dict[str, dict[str, Scalar]] = {"heavy": {"cpu.weight": 400}, "light": {"cpu.weight": 100}}
    for missing in ({}, {"cpu.weight": Reading(None, "cpu.weight", "gone")}):
        found = trial(heavy={"cpu.weight": Reading(400)}, light=missing)
        assert held("cpu.weight", asked, [found])[0].state == "unknown"


def test_without_a_trial_nothing_is_known() -> None:
    holding, reading = held("cpu", {"a": {"cpu": 0.5}}, [])
    assert (holding.state, reading.value) == ("unknown", None)


def test_a_weight_of_one_tenant_may_be_rounded_by_one() -> None:
    assert agree("cpu.weight", 10, 11)
    assert not agree("cpu.weight", 10, 12)
    assert agree("memory", 128 * 2**20, 128 * 2**20 - 4096)
    assert not agree("swap", 0, 4096)


numbers = [n for n, limit in LIMITS.items() if limit.kind != "cpus"]


@given(st.sampled_from(numbers), st.floats(1, 1e12))
def test_every_value_agrees_with_itself_and_not_with_its_double(name: str, value: float) -> None:
    assert agree(name, value, value)
    assert not agree(name, value, 2 * value + 2)


@given(st.sets(st.integers(0, 63), min_size=1), st.sets(st.integers(0, 63), min_size=1))
def test_sets_of_cpus_agree_only_if_equal(left: set[int], right: set[int]) -> None:
    assert agree("cpuset", format_cpus(left), format_cpus(right)) == (left == right)


# --- the stall ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cores", "threads", "cpus", "seconds"),
    [(0.5, 4, 2, 0.075), (0.25, 4, 2, 0.0875), (0.5, 1, 2, 0.05), (1.5, 4, 2, 0.025), (2.0, 4, 2, 0.0)],
)
def test_the_stall_is_the_period_less_the_quota_over_the_threads_that_run(
    cores: float, threads: int, cpus: int, seconds: float
) -> None:
    assert stall.predicted(cores, threads, cpus)[0] == pytest.approx(seconds)


def test_no_stall_is_predicted_for_a_quota_of_one_slice_a_cpu() -> None:
    value, reason = stall.predicted(0.1, 4, 2)
    assert value is None
    assert "slice" in reason
    assert stall.predicted(0.1, 4, 2, slice_=0.001)[0] == pytest.approx(0.095)


@given(st.floats(0.01, 64), st.integers(1, 64), st.integers(1, 64))
def test_a_predicted_stall_lies_within_a_period(cores: float, threads: int, cpus: int) -> None:
    value, reason = stall.predicted(cores, threads, cpus)
    assert (value is None) == bool(reason)
    assert value is None or 0 <= value <= stall.PERIOD


def test_what_is_missing_for_a_prediction_is_said() -> None:
    assert "CPUs of the host" in str(stall.evidence(0.5, 4, None, 0.07)["stall.reason"])
    assert "number of threads" in str(stall.evidence(0.5, None, 2, 0.07)["stall.reason"])
    assert "the quota" in str(stall.evidence(None, 4, 2, 0.07)["stall.reason"])
    assert stall.evidence(0.5, 4, 2, None)["stall.deviation"] is None


# --- words --------------------------------------------------------------------------------------


def judgement(limit: str, unit: str, **options: Any) -> Judgement:
    return Judgement("observed", "x", limit=limit, unit=unit, **options)


@pytest.mark.parametrize(
    ("value", "limit", "unit", "text"),
    [
        (0.49832, "cpu", "cores", "0.4983 cores"),
        (133169152.0, "memory", "bytes", "127 MiB"),
        (9951000.0, "io.write", "bytes/s", "9.951 MB/s"),
        (11950000.0, "net.egress", "bytes/s", "95.6 Mbit/s"),
        (3e9, "memory.high", "bytes/s", "3 GB/s"),
        (0.80021, "cpu.weight", "share", "80.02 %"),
        (0.0, "cpuset", "share outside", "0 %"),
        (64.0, "pids", "tasks", "64 tasks"),
        (199.96, "io.read_iops", "1/s", "200 IOPS"),
        (2.0, "cpu", "CPUs", "2 CPUs"),
    ],
)
def test_measured_values_are_in_human_units(value: float, limit: str, unit: str, text: str) -> None:
    assert wording.amount(value, judgement(limit, unit)) == text


def test_deviations_carry_sign_and_unit() -> None:
    relative = judgement("cpu", "cores")
    assert wording.change(-0.0042, relative) == "−0.4 %"
    assert wording.change(0.0001, relative) == "0 %"
    assert wording.change(39.2, relative) == "× 40.2"
    assert wording.change(0.012, judgement("cpu.weight", "share", scale="absolute")) == "+1.2 points"
    assert wording.change(-3, judgement("pids", "tasks", scale="absolute")) == "−3 tasks"


def test_the_interval_is_shown_where_it_says_something() -> None:
    cores = judgement("cpu", "cores")
    measured, deviation = interval([0.49, 0.5, 0.51]), interval([-0.02, 0.0, 0.02])
    assert measured is not None
    assert wording.got(measured, deviation, cores) == "0.5 cores (0 %, 95 % −5.0 … +5.0 %)"
    assert wording.got(measured, interval([0.0, 0.0]), cores) == "0.5 cores (0 %)"
    assert wording.got(measured, None, cores) == "0.5 cores"
