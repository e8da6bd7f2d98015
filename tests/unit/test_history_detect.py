"""The detector is quiet on noise, finds what is there, and looks at nothing but ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bench.history import detect, replay

windows = arrays.arrays(np.int64, st.integers(15, 60), elements=st.integers(-50, 50))


def noise(n: int, seed: int = 1, sd: float = 0.0104) -> np.ndarray:
    """Heavy-tailed values whose robust deviation is 0.75 of `sd`, as paired ratios of whole jobs have."""
    found = np.random.default_rng(seed).standard_t(3.6, n)
    return found * sd / math.sqrt(3.6 / 1.6)


def reference_z(values: np.ndarray) -> float:
    """Greatest standardised rank sum over splits, by scipy, without shrinking."""
    from scipy.stats import rankdata, tiecorrect

    ranks, n = rankdata(values), len(values)
    best = 0.0
    for k in range(10, n - 4):
        sd = math.sqrt(k * (n - k) * (n + 1) / 12 * tiecorrect(ranks))
        if sd > 1e-9:
            best = max(best, abs(ranks[k:].sum() - (n - k) * (n + 1) / 2) / sd)
    return best


@settings(max_examples=40)
@given(windows)
def test_z_is_that_of_scipy_shrunk_by_at_most_a_third(values: np.ndarray) -> None:
    z, after = detect.scan(values[None, :].astype(float))
    expected = reference_z(values)
    assert abs(z[0]) <= expected + 1e-9
    assert abs(z[0]) >= expected * math.sqrt(0.2 / 1.8) - 1e-9
    assert detect.AFTER <= after[0] <= len(values) - detect.BEFORE


@settings(max_examples=40)
@given(windows, st.integers(0, 45))
def test_leading_gaps_do_not_count(values: np.ndarray, gap: int) -> None:
    x = values.astype(float)
    padded = np.concatenate([np.full(gap, np.nan), x])
    plain, gapped = detect.scan(x[None, :]), detect.scan(padded[None, :])
    assert gapped[0] == pytest.approx(plain[0]) and gapped[1] == plain[1]


@settings(max_examples=40)
@given(windows, st.sampled_from(["exp", "cube", "affine"]))
def test_increasing_transforms_leave_z_and_its_place_unchanged(values: np.ndarray, how: str) -> None:
    x = values.astype(float)
    y = {"exp": np.exp(x / 10), "cube": x**3, "affine": 3 * x + 7}[how]
    for one, other in zip(detect.scan(x[None, :]), detect.scan(y[None, :]), strict=True):
        assert np.array_equal(one, other)


@settings(max_examples=40)
@given(windows)
def test_turning_the_values_over_turns_z_over(values: np.ndarray) -> None:
    x = values.astype(float)
    assert detect.scan(-x[None, :])[0] == pytest.approx(-detect.scan(x[None, :])[0])


@settings(max_examples=40)
@given(st.floats(-5, 5), st.integers(0, 200))
def test_a_constant_series_never_alerts(value: float, n: int) -> None:
    assert detect.steps(np.full(n, value)) == []


@given(st.integers(0, 29), st.floats(0.1, 5))
def test_below_thirty_values_nothing_is_said(n: int, jump: float) -> None:
    values = noise(n)
    values[n // 2 :] += jump
    assert detect.steps(values) == []


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 40))
def test_later_values_do_not_undo_an_alert(seed: int, later: int) -> None:
    values = noise(160, seed)
    values[70:] += 0.06
    early = [s for s in detect.steps(values[: 100 + later]) if s.level == "alert"]
    late = [s for s in detect.steps(values) if s.level == "alert"]
    assert early and early[0].found == late[0].found and abs(early[0].index - late[0].index) <= 5


def test_a_step_is_placed_and_measured() -> None:
    values = noise(120)
    values[80:] += math.log(1.05)
    (step,) = detect.steps(values)
    assert step.level == "alert" and abs(step.index - 80) <= 1
    assert step.low < math.log(1.05) < step.high and step.low > 0.03


def test_steps_up_and_down_are_both_found_in_order() -> None:
    values = noise(220)
    values[70:140] += 0.06
    up, down = detect.steps(values)
    assert abs(up.index - 70) <= 1 and up.shift > 0.04
    assert abs(down.index - 140) <= 1 and down.shift < -0.04


def test_a_shift_below_two_percent_is_no_alert() -> None:
    values = noise(120, sd=0.001)
    values[60:] += 0.015
    assert detect.steps(values) == []


def test_gross_breakage_is_seen_with_the_third_value() -> None:
    values = noise(80)
    values[77:] += 0.3
    (step,) = detect.steps(values)
    assert (step.level, step.index, step.found) == ("gross", 77, 79)
    assert detect.steps(values[:79]) == []


def test_gross_breakage_that_lasts_is_told_once_as_an_alert() -> None:
    values = noise(120)
    values[77:] += 0.3
    assert [s.level for s in detect.steps(values)] == ["alert"]


def test_what_is_suspected_counts_only_at_the_last_look() -> None:
    values = noise(120)
    values[80:] += 0.033
    ends = range(82, 110)
    levels = [[s.level for s in detect.steps(values[:end])] for end in ends]
    first = levels.index(["alert"])
    assert ["screen"] in levels[:first] and all(one == ["alert"] for one in levels[first:])


def test_a_step_is_only_where_it_is_allowed() -> None:
    values = noise(120)
    values[80:] += 0.06
    may = np.zeros(120, dtype=bool)
    assert detect.steps(values, may) == []
    may[[40, 83]] = True
    assert [s.index for s in detect.steps(values, may)] == [83]


def test_dependent_noise_is_shrunk() -> None:
    random = np.random.default_rng(4).normal(0, 0.01, 400)
    for i in range(1, len(random)):
        random[i] += 0.8 * random[i - 1]
    rows = random[:360].reshape(6, 60)
    shrunk = np.abs(detect.scan(rows)[0])
    assert all(z < 0.75 * reference_z(row) for z, row in zip(shrunk, rows, strict=True))


def test_segments_of_the_kernel_detector_are_near_the_steps() -> None:
    pytest.importorskip("ruptures")
    values = noise(150)
    values[60:110] += 0.06
    found = detect.segments(values)
    assert (
        found is not None
        and [abs(a - b) <= 1 for a, b in zip(found, (0, 60, 110), strict=True)] == [True] * 3
    )


def test_the_kernel_detector_can_be_replayed_for_comparison() -> None:
    pytest.importorskip("ruptures")
    values = noise(110)
    assert replay.kernel(values[:80]) is None
    values[90:] += 0.08
    seen = replay.kernel(values)
    assert seen is not None and 90 <= seen <= 100


def test_false_alarms_and_power_hold_on_the_recorded_spread() -> None:
    found = replay.replay_history(noise(2000, 9), 5, 200)
    assert found.false_alarms.estimate <= 0.005
    assert found.power.low is not None and found.power.low >= 0.95
    assert found.delay is not None and found.delay <= 10


def test_a_replay_is_reproducible_and_rejects_what_it_cannot_find() -> None:
    one, other = (replay.replay_history(noise(300), 3, 20) for _ in range(2))
    assert one == other
    tiny = replay.replay_history(noise(300), 3, 20, shift=0.0)
    assert tiny.power.estimate == 0.0 and tiny.delay is None


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_intervals_hold_the_share(counts: tuple[int, int]) -> None:
    found = replay.wilson(*counts)
    assert found.low is not None and found.high is not None
    assert 0 <= found.low <= found.estimate + 1e-12 and found.estimate - 1e-12 <= found.high <= 1
