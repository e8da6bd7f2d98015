"""Blocks and what is estimated from them: ratios within blocks, intervals, and what a failed start does."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.comparison import blocks, estimate
from bench.comparison.blocks import Table

seconds = st.floats(1e-4, 1e3)
rows = st.lists(st.tuples(seconds, seconds), min_size=5, max_size=40)
maybe = st.one_of(seconds, st.just(float("nan")))
broken_rows = st.lists(st.tuples(maybe, maybe), min_size=1, max_size=30)


def table(values, excluded=None, metric="start"):
    array = np.array(values, dtype=float)
    return Table(("new", "old"), {metric: array}, tuple(excluded or [""] * len(array)))


def noise(rng, shape, spread=0.1):
    """Log-normal starts with a slow common drift and bursts, as a shared machine has them."""
    drift = 0.3 * np.sin(np.linspace(0, 9, shape[0]))[:, None]
    bursts = (rng.random(shape) < 0.08) * rng.exponential(0.7, shape)
    return np.exp(drift + rng.normal(0, spread, shape) + bursts)


# -- blocks ------------------------------------------------------------------------------------------------


def test_a_failed_start_makes_its_block_unusable_for_that_arm_only():
    found = Table(("a", "b", "c"), {"m": np.array([[1.0, np.nan, 2.0], [1.0, 3.0, 2.0]])}, ("", ""))
    assert estimate.log_ratios(found, "m", "a", "b").size == 1
    assert estimate.log_ratios(found, "m", "a", "c").size == 2
    assert (blocks.failed(found, "m", "b"), blocks.failed(found, "m", "a")) == (1, 0)


@pytest.mark.parametrize("impossible", [0.0, -1.0, math.inf, math.nan])
def test_a_time_that_cannot_be_is_a_failed_start(impossible):
    found = table([(impossible, 1.0), (2.0, 1.0)])
    assert blocks.failed(found, "start", "new") == 1
    assert estimate.log_ratios(found, "start", "new", "old").tolist() == [math.log(2)]


@given(broken_rows)
def test_more_failures_never_make_an_arm_faster(values):
    found = table(values)
    kept = estimate.log_ratios(found, "start", "new", "old")
    expected = [math.log(a / b) for a, b in values if not (math.isnan(a) or math.isnan(b))]
    assert kept == pytest.approx(expected, abs=1e-12)
    assert blocks.failed(found, "start", "new") == sum(math.isnan(a) for a, _ in values)


@given(rows, st.tuples(maybe, maybe), st.integers(0, 40))
def test_an_excluded_block_changes_nothing_but_its_count(values, bad, at):
    at = min(at, len(values))
    with_bad = [*values[:at], bad, *values[at:]]
    marks = [""] * at + ["CPU pressure above 0.3"] + [""] * (len(values) - at)
    one, other = table(values), table(with_bad, marks)
    assert estimate.ratio(one, "start", "new", "old", 0.99) == estimate.ratio(
        other, "start", "new", "old", 0.99
    )
    assert blocks.failed(one, "start", "new") == blocks.failed(other, "start", "new")
    assert blocks.exclusions(other) == {"CPU pressure above 0.3": 1}


def test_a_table_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="2 blocks × 2 arms"):
        Table(("a", "b"), {"m": np.ones((2, 3))}, ("", ""))
    with pytest.raises(ValueError, match="twice"):
        Table(("a", "a"), {"m": np.ones((2, 2))}, ("", ""))


def test_failing_more_often_than_the_reference_is_seen_and_failing_alike_is_not():
    nan = math.nan
    alike = table([(nan, 1.0), (1.0, nan)] * 10 + [(1.0, 1.0)] * 10)
    worse = table([(nan, 1.0)] * 10 + [(1.0, 1.0)] * 10)
    assert blocks.fails_more(alike, "start", "new", "old") > 0.4
    assert blocks.fails_more(worse, "start", "new", "old") == pytest.approx(2**-10)
    assert blocks.fails_more(worse, "start", "old", "new") == 1.0


# -- the trimmed mean --------------------------------------------------------------------------------------


@given(st.lists(st.floats(-5, 5), min_size=5, max_size=60))
def test_the_trimmed_mean_agrees_with_scipy(values):
    found = estimate.trimmed(values)
    assert found.estimate == pytest.approx(stats.trim_mean(values, 0.2), abs=1e-9)


@pytest.mark.parametrize("n", [5, 10, 50, 100])
def test_the_interval_agrees_with_scipy_where_twenty_per_cent_is_a_whole_number(n):
    """scipy divides by (1 − 2·0.2)·√n, Tukey and McLaughlin by √(h(h−1)/(n−1)); the rest is the same."""
    values = np.random.default_rng(n).standard_t(3, n)
    low, high = stats.mstats.trimmed_mean_ci(values, (0.2, 0.2), inclusive=(True, True), alpha=0.01)
    found = estimate.trimmed(values, 0.99)
    kept = n - 2 * (n // 5)
    expected = (high - low) / 2 * 0.6 * math.sqrt(n * (n - 1) / (kept * (kept - 1)))
    assert found.half_width == pytest.approx(expected, rel=1e-9)


def test_without_tails_to_trim_it_is_students_interval():
    values = [0.1, 0.4, 0.2]
    mean, error, kept = estimate.trimmed_rows(np.array([values]))
    assert (kept, mean[0]) == (3, pytest.approx(np.mean(values)))
    assert error[0] == pytest.approx(stats.sem(values))


@pytest.mark.parametrize("n", range(5))
def test_below_five_blocks_there_is_an_estimate_and_no_interval(n):
    found = estimate.trimmed([0.25] * n)
    assert found.half_width is None
    assert math.isnan(found.estimate) if n == 0 else found.estimate == 0.25


def test_blocks_that_agree_exactly_give_an_interval_of_width_zero():
    assert estimate.trimmed([0.5] * 20).half_width == 0.0


@pytest.mark.parametrize("n", [30, 100, 325])
def test_the_interval_covers_99_percent_on_paired_log_normal_starts(n):
    rng = np.random.default_rng(20_000 + n)
    windows = 4000
    starts = np.log([noise(rng, (n, 2), 0.15) for _ in range(windows)])
    mean, error, kept = estimate.trimmed_rows(starts[:, :, 0] - starts[:, :, 1])
    covered = np.mean(np.abs(mean) <= estimate.quantile(0.99, kept) * error)
    assert abs(covered - 0.99) <= 0.007


# -- exact medians -----------------------------------------------------------------------------------------


def brute_coverage(n: int, k: int) -> float:
    """P(the median lies between the k-th smallest and k-th largest), over all 2^n patterns of sides."""
    return sum(k <= sum(sides) <= n - k for sides in product((0, 1), repeat=n)) / 2**n


@pytest.mark.parametrize("n", range(1, 15))
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_the_median_interval_is_the_narrowest_that_brute_force_allows(n, confidence):
    values = [float(v) for v in range(n)]
    found = estimate.median_interval(values[::-1], confidence)
    allowed = [k for k in range(1, n // 2 + 1) if brute_coverage(n, k) >= confidence]
    assert found is not None and found.estimate == (n - 1) / 2
    if allowed:
        assert (found.low, found.high) == (max(allowed) - 1, n - max(allowed))
    else:
        assert (found.low, found.high) == (None, None)


def test_a_median_of_nothing_is_nothing():
    assert estimate.median_interval([], 0.99) is None
    assert estimate.median_interval([math.nan], 0.99) is None


# -- the ratio ---------------------------------------------------------------------------------------------


@given(rows)
def test_swapping_the_arms_negates_the_log_ratio(values):
    found = table(values)
    one = estimate.ratio(found, "start", "new", "old", 0.99)
    other = estimate.ratio(found, "start", "old", "new", 0.99)
    assert math.log(one.ratio.estimate) == pytest.approx(-math.log(other.ratio.estimate), abs=1e-9)
    assert math.log(one.ratio.low) == pytest.approx(-math.log(other.ratio.high), abs=1e-9)
    assert one.half_width == pytest.approx(other.half_width, abs=1e-9)


@given(rows, st.floats(1e-3, 1e3))
def test_the_unit_of_time_does_not_matter(values, scale):
    one = estimate.ratio(table(values), "start", "new", "old", 0.99)
    other = estimate.ratio(table(np.array(values) * scale), "start", "new", "old", 0.99)
    assert one.ratio.estimate == pytest.approx(other.ratio.estimate, rel=1e-9)
    if one.widened == other.widened == 1.0:
        assert one.half_width == pytest.approx(other.half_width, abs=1e-9)


@given(rows, st.randoms())
def test_the_order_of_blocks_does_not_move_the_estimates(values, random):
    mixed = list(values)
    random.shuffle(mixed)
    one = estimate.ratio(table(values), "start", "new", "old", 0.99)
    other = estimate.ratio(table(mixed), "start", "new", "old", 0.99)
    assert one.ratio.estimate == pytest.approx(other.ratio.estimate, rel=1e-9)
    assert one.median == other.median
    assert one.half_width / one.widened == pytest.approx(other.half_width / other.widened, abs=1e-9)


@given(rows)
def test_a_ratio_of_an_arm_to_itself_is_one_and_exact(values):
    found = estimate.ratio(table([(a, a) for a, _ in values]), "start", "new", "old", 0.99)
    assert (found.ratio.estimate, found.half_width) == (1.0, 0.0)


def test_slow_drift_of_the_whole_machine_leaves_the_ratio_alone():
    rng = np.random.default_rng(5)
    pairs = noise(rng, (300, 2))
    drifting = pairs * np.geomspace(1, 1.9, 300)[:, None]
    one = estimate.ratio(table(pairs), "start", "new", "old", 0.99)
    other = estimate.ratio(table(drifting), "start", "new", "old", 0.99)
    assert one.ratio.estimate == pytest.approx(other.ratio.estimate, rel=1e-9)


# -- dependence --------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=40))
def test_rank_autocorrelation_ignores_monotone_transforms_and_stays_in_bounds(values):
    plain = estimate.rank_autocorrelation(np.array(values, dtype=float))
    assert -1 <= plain <= 1
    assert plain == pytest.approx(estimate.rank_autocorrelation(np.exp(np.array(values, dtype=float))))


def test_ties_are_no_trend():
    assert estimate.rank_autocorrelation(np.zeros(50)) == 0.0


def test_a_trend_is_dependence_and_an_alternation_is_not_narrowed():
    assert estimate.rank_autocorrelation(np.arange(100.0)) > 0.9
    assert estimate.widening(-0.9) == 1.0


@given(st.floats(-1, 1))
def test_widening_never_narrows_and_is_bounded(rho):
    assert 1.0 <= estimate.widening(rho) <= 3.0 + 1e-9


def test_widening_begins_beyond_a_tenth():
    assert estimate.widening(0.1) == 1.0
    assert estimate.widening(0.3) == pytest.approx(math.sqrt(1.3 / 0.7))


def test_dependent_blocks_are_covered_where_the_bare_interval_fails():
    rng = np.random.default_rng(9)
    steps = rng.normal(size=(2000, 425))
    for at in range(1, 425):
        steps[:, at] += 0.4 * steps[:, at - 1]
    rows = steps[:, 100:]
    mean, error, left = estimate.trimmed_rows(rows)
    half = estimate.quantile(0.99, left) * error
    assert np.mean(np.abs(mean) <= half) < 0.95
    assert np.mean(np.abs(mean) <= half * estimate.widenings(estimate.autocorrelations(rows))) > 0.983


def test_a_dependent_series_gets_a_wider_interval():
    rng = np.random.default_rng(3)
    drift = np.cumsum(rng.normal(0, 0.1, 200))
    found = estimate.ratio(
        table(np.exp(np.column_stack([drift, np.zeros(200)]))), "start", "new", "old", 0.99
    )
    bare = estimate.trimmed(drift, 0.99)
    assert found.widened == pytest.approx(3.0)
    assert found.half_width == pytest.approx(3.0 * bare.half_width)
    assert math.log(found.ratio.high) - math.log(found.ratio.estimate) == pytest.approx(found.half_width)


# -- tails -------------------------------------------------------------------------------------------------


def test_a_tail_is_reported_only_where_enough_starts_lie_beyond_it():
    rng = np.random.default_rng(7)
    pairs = noise(rng, (99, 2))
    assert estimate.tail_ratio(table(pairs), "start", "new", "old", 0.95, 0.99, seed=1) is None
    more = table(noise(rng, (200, 2)))
    found = estimate.tail_ratio(more, "start", "new", "old", 0.95, 0.99, seed=1)
    assert found is not None and found.ratio.low < found.ratio.estimate < found.ratio.high
    assert found.metric == "start p95"
    assert found == estimate.tail_ratio(more, "start", "new", "old", 0.95, 0.99, seed=1)


def test_the_tail_interval_is_too_wide_to_gate_what_the_middle_can():
    pairs = table(noise(np.random.default_rng(11), (325, 2)))
    tail = estimate.tail_ratio(pairs, "start", "new", "old", 0.95, 0.99, seed=1)
    middle = estimate.ratio(pairs, "start", "new", "old", 0.99)
    assert tail is not None and tail.half_width > 3 * middle.half_width


@settings(max_examples=25)
@given(st.integers(0, 2**31))
def test_many_at_once_is_one_by_one(seed):
    values = np.random.default_rng(seed).standard_t(3, (3, 47)).round(1)
    mean, error, kept = estimate.trimmed_rows(values)
    rho = estimate.autocorrelations(values)
    for row in range(3):
        one = estimate.trimmed(values[row], 0.99)
        assert mean[row] == pytest.approx(one.estimate, abs=1e-12)
        assert estimate.quantile(0.99, kept) * error[row] == pytest.approx(one.half_width, abs=1e-12)
        ranked = stats.rankdata(values[row]) - 24
        assert rho[row] == pytest.approx((ranked[1:] @ ranked[:-1]) / (ranked @ ranked))
