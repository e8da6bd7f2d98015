"""The measures: what one trial's samples and observations give, and what they refuse to give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.measures import Question, measure, not_siblings, slope
from bench.analysis.series import Series
from bench.model import Exit, Judgement, Observation, TenantRecord, TrialRecord

RATE = Judgement("rate", "cpu.usage", limit="cpu")
SHARE = Judgement("share", "cpu.usage", limit="cpu.weight")


def tenant(name: str = "a", *observations: tuple[float, str, float | None], **changes: Any) -> TenantRecord:
    seen = tuple(Observation(t, m, v) for t, m, v in observations)
    defaults: dict[str, Any] = {
        "name": name, "effective": {}, "exit": Exit("exited", 0), "started": 0.0, "ended": 3.0,
        "observations": seen, "cgroup": f"/sys/fs/cgroup/cpu/parent/{name}",
    }  # fmt: skip
    return TenantRecord(**(defaults | changes))


def steady(name: str = "a", start: float = 0.5, end: float = 2.55, **changes: Any) -> TenantRecord:
    return tenant(name, (start, "event.start", 1), (end, "event.end", 1), **changes)


def trial(*tenants: TenantRecord) -> TrialRecord:
    return TrialRecord(
        index=3, block=0, case="c", experiment="e", runtime="cgroup", status="ok", reason="", image="i",
        wall_time="", duration=3.0, workload_seconds=3.0, tenants=tenants,
    )  # fmt: skip


def frame(*rows: tuple[str, str, float, float | None], collector: str = "cgroup") -> pd.DataFrame:
    columns = ["tenant", "metric", "time", "value"]
    found = pd.DataFrame(rows, columns=columns).assign(trial=3, collector=collector)
    found["value"] = pd.to_numeric(found["value"])
    return found


def counter(name: str, rate: float, offset: float = 0.03) -> list[tuple[str, str, float, float | None]]:
    return [(name, "cpu.usage", offset + 0.1 * i, rate * (offset + 0.1 * i)) for i in range(30)]


def ask(
    judgement: Judgement, *tenants: TenantRecord, samples: pd.DataFrame | None = None, **changes: Any
) -> Any:
    question = Question(
        judgement, changes.get("limits", {}), changes.get("settle", 0.2), changes.get("control", False)
    )
    return measure(question, trial(*tenants), Series(frame() if samples is None else samples))


# --- rate ---------------------------------------------------------------------------------------


def test_a_rate_is_the_slope_inside_the_steady_window() -> None:
    rows = [(n, m, t, v if t < 2.5 else 1000.0) for n, m, t, v in counter("a", 0.5) if v is not None]
    assert ask(RATE, steady(end=2.5), samples=frame(*rows)).value == pytest.approx(0.5)


def test_bursts_at_the_start_of_each_period_do_not_bias_the_rate() -> None:
    """Usage under a quota comes in steps; an odd last reading would add a burst to the span."""
    times = np.array([0.03 + 0.1 * i for i in range(20)] + [1.99])
    usage = 0.05 * np.floor(times / 0.1) + np.minimum(times % 0.1, 0.05)
    assert slope(times, usage, 0.0, 3.0).value == pytest.approx(0.5)


@given(st.floats(0, 0.099), st.floats(0.01, 1.9), st.integers(6, 40))
def test_a_quota_is_measured_right_at_any_phase_of_the_sampling(phase: float, cores: float, n: int) -> None:
    quota = cores * 0.1
    times = phase + 0.1 * np.arange(n) + np.random.default_rng(n).normal(0, 1e-4, n)
    usage = quota * np.floor(times / 0.1) + np.minimum((times % 0.1) * 2, quota)
    found = slope(times, usage, 0.0, 10.0).value
    assert found is not None
    # Two readings at most: each is off by the jitter of its time at full speed.
    assert abs(found - cores) <= 2 * (2 * 5e-4 + cores * 5e-4) / (0.1 * (n - 1)) + 1e-6 or _wraps(times)


def _wraps(times: np.ndarray[Any, Any]) -> bool:
    """Jitter that carries readings over the edge of a period is the phase error that remains."""
    phases = times % 0.1
    return bool(phases.max() - phases.min() > 0.05)


def test_readings_that_are_never_whole_periods_apart_give_no_rate() -> None:
    found = slope(np.array([0.0, 0.05]), np.array([0.0, 1.0]), 0.0, 1.0)
    assert found.value is None
    assert "whole number of periods" in found.reason


def test_one_reading_gives_no_rate() -> None:
    found = slope(np.array([0.0, 5.0]), np.array([0.0, 1.0]), 1.0, 6.0)
    assert (found.value, "1 readings" in found.reason) == (None, True)


def test_without_a_steady_window_there_is_no_rate() -> None:
    rows = frame(*counter("a", 0.5))
    assert "did not say" in ask(RATE, tenant(), samples=rows).reason
    assert "nothing of the steady part" in ask(RATE, steady(end=0.6), samples=rows).reason


def test_without_samples_the_workloads_own_count_is_taken_and_named() -> None:
    found = ask(RATE, tenant("a", (2.0, "cpu.delivered", 0.49)))
    assert (found.value, found.source) == (0.49, "the workload's own cpu.delivered")


def test_without_samples_and_count_the_number_is_missing_and_not_zero() -> None:
    found = ask(RATE, tenant("a", cgroup=None))
    assert found.value is None
    assert "the tenant has none" in found.reason


def test_missing_readings_are_left_out() -> None:
    rows = [(n, m, t, None if i % 3 else v) for i, (n, m, t, v) in enumerate(counter("a", 0.5))]
    assert ask(RATE, steady(), samples=frame(*rows)).value == pytest.approx(0.5)


# --- share --------------------------------------------------------------------------------------


def test_a_share_is_taken_in_the_window_common_to_all() -> None:
    """The light tenant goes on alone after the heavy one ended; that time must not count."""
    alone = [("b", "cpu.usage", 2.63 + 0.1 * i, 0.2 * 2.53 + 2.0 * 0.1 * (i + 1)) for i in range(20)]
    rows = frame(*counter("a", 1.8)[:26], *counter("b", 0.2)[:26], *alone)
    found = ask(SHARE, steady("a"), steady("b", end=4.5), samples=rows)
    assert found.value == pytest.approx(0.9)


def test_a_share_waits_for_the_tenant_that_starts_last() -> None:
    late = [("b", "cpu.usage", t, max(0.0, 1.0 * (t - 1.0))) for t in (0.03 + 0.1 * i for i in range(30))]
    rows = frame(*counter("a", 1.0), *late)
    found = ask(SHARE, steady("a"), steady("b", start=1.0), samples=rows)
    assert found.value == pytest.approx(0.5)


def test_weights_of_cgroups_that_are_not_siblings_are_refused() -> None:
    rows = frame(*counter("a", 1.0), *counter("b", 1.0))
    other = steady("b", cgroup="/sys/fs/cgroup/cpu/elsewhere/b")
    found = ask(SHARE, steady("a"), other, samples=rows)
    assert found.value is None
    assert not found.testable
    assert "not siblings" in found.reason
    assert ask(SHARE, steady("a"), steady("b"), samples=rows).value == pytest.approx(0.5)


def test_a_tenant_without_a_cgroup_is_refused_but_for_controls() -> None:
    pair = (tenant("a", (2.0, "cpu.delivered", 1.0), cgroup=None), tenant("b", (2.0, "cpu.delivered", 1.0)))
    assert not ask(SHARE, *pair).testable
    assert ask(SHARE, *pair, control=True).value == 0.5


def test_tenants_in_one_cgroup_cannot_be_told_apart() -> None:
    assert "share the cgroup" in not_siblings([steady("a"), steady("b", cgroup=steady("a").cgroup)])


def test_an_observed_share_reads_what_the_workloads_say() -> None:
    judgement = Judgement("share", "io.rate", limit="io.weight", options={"source": "observed"})
    found = ask(judgement, tenant("a", (1.0, "io.rate", 30.0)), tenant("b", (1.0, "io.rate", 10.0)))
    assert found.value == 0.75
    silent = ask(judgement, tenant("a", (1.0, "io.rate", 30.0)), tenant("b"))
    assert "reported no io.rate" in silent.reason


# --- peak, observed, outside --------------------------------------------------------------------


def test_a_peak_sees_the_kernels_high_water_mark() -> None:
    judgement = Judgement("peak", "pids.current", limit="pids")
    rows = [("a", "pids.current", 0.1, 60.0), ("a", "pids.current", 0.2, 3.0), ("a", "pids.peak", 0.2, 64.0)]
    assert ask(judgement, tenant(), samples=frame(*rows)).value == 64.0
    assert ask(judgement, tenant(), samples=frame(*rows[:2])).value == 60.0


def test_only_a_control_may_count_forks_instead_of_tasks() -> None:
    judgement = Judgement("peak", "pids.current", limit="pids")
    forks = tenant("a", (0.5, "pids.forked", 160.0))
    assert ask(judgement, forks, control=True).value == 160.0
    assert ask(judgement, forks).value is None


def test_the_last_observation_counts_and_a_missing_one_says_how_the_tenant_ended() -> None:
    judgement = Judgement("observed", "memory.rss_anon", limit="memory")
    seen = tenant(
        "a", (0.1, "memory.rss_anon", 1.0), (0.2, "memory.rss_anon", 2.0), (0.3, "memory.rss_anon", None)
    )
    assert ask(judgement, seen).value == 2.0
    silent = ask(judgement, tenant(exit=Exit("oom", signal=9)))
    assert silent.value is None
    assert "tenant a was OOM-killed" in silent.reason


def test_outside_counts_seconds_on_cpus_beyond_the_asked_set() -> None:
    judgement = Judgement("outside", "cpu.seconds_on", limit="cpuset")
    by_cpu = (("0", 1.0), ("1", 2.0), ("2", 1.0))
    seen = tenant(
        observations=tuple(Observation(1.0, "cpu.seconds_on", v, "s", {"cpu": c}) for c, v in by_cpu)
    )
    assert ask(judgement, seen, limits={"a": {"cpuset": "0-1"}}).value == 0.25
    assert ask(judgement, seen, limits={"a": {"cpuset": "0-2"}}).value == 0.0
    assert ask(judgement, tenant(), limits={"a": {"cpuset": "1"}}).value is None


def test_a_named_tenant_is_measured_instead_of_the_first() -> None:
    judgement = Judgement("observed", "x", options={"tenant": "b"})
    assert ask(judgement, tenant("a", (0.0, "x", 1.0)), tenant("b", (0.0, "x", 2.0))).value == 2.0
    gone = ask(replace(judgement, options={"tenant": "z"}), tenant("a"))
    assert "no record of the tenant" in gone.reason


def test_an_unknown_measure_is_not_testable_and_names_those_known() -> None:
    found = ask(Judgement("guess", "x"), tenant())
    assert not found.testable
    assert "rate" in found.reason


# --- series -------------------------------------------------------------------------------------


def test_series_are_sorted_by_time_and_kept_apart() -> None:
    rows = frame(("a", "m", 2.0, 20.0), ("a", "m", 1.0, 10.0), ("b", "m", 1.0, 7.0), ("a", "n", 1.0, None))
    series = Series(rows)
    found = series.get(3, "a", "m")
    assert found is not None
    assert (found[0].tolist(), found[1].tolist()) == ([1.0, 2.0], [10.0, 20.0])
    assert series.get(3, "a", "n") is None
    assert series.get(4, "a", "m") is None
    assert series.get(3, "c", "m") is None


def test_a_series_that_is_not_there_is_not_taken_from_its_neighbour() -> None:
    series = Series(frame(("a", "n", 1.0, 5.0), ("b", "m", 1.0, 7.0)))
    assert series.get(3, "a", "m") is None
    assert series.get(3, "b", "n") is None
    assert series.largest(3, "a", "n") == 5.0


def test_the_cgroup_is_preferred_where_two_collectors_give_one_metric() -> None:
    both = pd.concat([frame(("a", "m", 1.0, 5.0), collector="aaa"), frame(("a", "m", 1.0, 6.0))])
    assert Series(both).largest(3, "a", "m") == 6.0


def test_counters_of_a_tenant_begin_at_zero_and_those_of_the_host_do_not() -> None:
    series = Series(
        frame(("a", "n", 1.0, 2.0), ("", "n", 1.0, 40.0), ("", "n", 2.0, 41.0), ("", "k", 1.0, 9.0))
    )
    assert series.increment(3, "a", "n") == 2.0
    assert series.increment(3, "", "n") == 1.0
    assert series.increment(3, "", "k") is None


def test_a_run_without_samples_has_no_series() -> None:
    columns = ("trial", "tenant", "collector", "metric", "time", "value")
    assert Series(pd.DataFrame({c: [] for c in columns})).get(0, "a", "m") is None
