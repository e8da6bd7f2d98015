"""The gate on a recorded series: how often it cries wolf, what it finds, what others need for the same."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest
from scipy import stats

from bench.comparison import cost, estimate, replay, rivals
from bench.comparison.blocks import Table
from bench.model import Policy

POLICY = Policy()


@lru_cache(maxsize=4)
def recorded(copies=2, blocks=3000, seed=17):
    """A synthetic recording shaped like a shared machine: drift by a factor of 1.8, and bursts."""
    rng = np.random.default_rng(seed)
    drift = 0.3 * np.sin(np.linspace(0, 14, blocks)) + np.cumsum(rng.normal(0, 0.004, blocks))
    noise = rng.normal(0, 0.07, (blocks, copies))
    bursts = (rng.random((blocks, copies)) < 0.08) * rng.exponential(0.7, (blocks, copies))
    return 0.003 * np.exp(drift[:, None] + noise + bursts)


def test_only_whole_blocks_become_a_series():
    table = Table(
        ("a", "b", "c"),
        {"m": np.array([[1.0, 2.0, 9.0], [np.nan, 2.0, 9.0], [3.0, 4.0, np.nan], [5.0, 6.0, 9.0]])},
        ("", "", "", "CPU pressure above 0.3"),
    )
    assert replay.series(table, "m", ("a", "b")).tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_labels_are_dealt_within_blocks_and_nothing_else_moves():
    series = np.arange(1.0, 41.0).reshape(20, 2)
    (taken,) = replay.windows(series, 50, 10, np.random.default_rng(1))
    assert taken.shape == (50, 10, 2)
    assert (np.diff(np.sort(taken, axis=2)[..., 0], axis=1) == 2).all()
    assert 0.4 < (taken[..., 0] < taken[..., 1]).mean() < 0.6


@pytest.mark.parametrize("copies", [2, 3])
def test_no_block_stands_twice_in_a_window(copies):
    with pytest.raises(ValueError, match="fewer than"):
        next(replay.windows(np.ones((20, copies)), 5, 21, np.random.default_rng(1)))


def test_the_replay_measures_as_the_gate_does():
    series = recorded()[:800]
    (taken,) = replay.windows(series, 3, 800, np.random.default_rng(2))
    logs = np.log(taken[..., 0]) - np.log(taken[..., 1])
    policy = Policy(half_width=0.03, maximum=800)
    ended = replay.measured(logs, policy)
    for at in range(3):
        n = int(ended.blocks[at])
        table = Table(("a", "b"), {"m": taken[at, :n]}, ("",) * n)
        one = estimate.ratio(table, "m", "a", "b", 0.99)
        assert one.half_width == pytest.approx(ended.half_width[at]) and one.half_width <= 0.03
        assert math.log(one.ratio.estimate) == pytest.approx(ended.estimate[at])
        before = Table(("a", "b"), {"m": taken[at, : n - 25]}, ("",) * (n - 25))
        assert estimate.ratio(before, "m", "a", "b", 0.99).half_width > 0.03


def test_false_alarms_stay_below_one_in_a_thousand_and_five_per_cent_are_found():
    alarms = replay.false_alarms(recorded(), POLICY, 1200, 3)
    assert alarms.hits == 0 and alarms.high < 0.004
    found = replay.power(recorded(), POLICY, 0.05, 400, 3)
    assert found.share >= 0.99
    assert 100 < found.blocks < 1500


def test_three_per_cent_are_found_three_times_in_four():
    assert replay.power(recorded(), POLICY, 0.03, 400, 4).share >= 0.75


def test_the_interval_covers_at_fixed_sizes_and_where_it_stops():
    for n in (30, 100, 325):
        found = replay.coverage(recorded(), 0.99, 2000, 5, blocks=n)
        assert abs(found.share - 0.99) <= 0.007 and found.blocks == n
    coarse = Policy(half_width=0.03)
    assert abs(replay.coverage(recorded(), 0.99, 1000, 5, policy=coarse).share - 0.99) <= 0.008


def test_the_same_seed_gives_the_same_numbers_and_a_confirmation_finds_less_for_more_blocks():
    series = recorded(copies=3)
    policy = Policy(half_width=0.05, margin=0.0)
    one = replay.power(series, policy, 0.02, 300, 6)
    assert one == replay.power(series, policy, 0.02, 300, 6)
    confirmed = replay.power(series, policy, 0.02, 300, 6, confirmed=True)
    assert confirmed.hits < one.hits and confirmed.blocks > one.blocks


def test_a_window_whose_third_copy_is_biased_is_invalid_and_no_alarm():
    (taken,) = replay.windows(recorded(copies=3), 40, 600, np.random.default_rng(10))
    policy = Policy(half_width=0.03, maximum=600)
    found, _ = replay._slower(taken, policy, 0.1)
    assert found.all()
    for bias in (1.1, 1 / 1.1):
        assert not replay._slower(taken * np.array([1, 1, bias]), policy, 0.1)[0].any()


def test_a_rate_has_wilsons_interval():
    found = replay.rate(0, 4000, 1, 0.0)
    assert (found.low, found.share) == (0.0, 0.0)
    assert found.high == pytest.approx(1.96**2 / (4000 + 1.96**2), rel=1e-3)


# -- the rules of others -----------------------------------------------------------------------------------


def test_rivals_decide_as_their_tests_do_one_window_at_a_time():
    rng = np.random.default_rng(7)
    one, other = rng.lognormal(0.05, 0.1, (40, 30)), rng.lognormal(0.0, 0.1, (40, 30))
    for at in range(40):
        welch = stats.ttest_ind(one[at], other[at], equal_var=False)
        assert rivals.welch(one, other)[at] == (welch.pvalue < 0.05 and welch.statistic > 0)
        ranks = stats.mannwhitneyu(one[at], other[at], method="asymptotic")
        expected = ranks.pvalue < 0.05 and np.median(one[at]) > np.median(other[at])
        assert rivals.mann_whitney(one, other)[at] == expected
        assert rivals.mean_threshold(one, other)[at] == (one[at].mean() > 1.05 * other[at].mean())
        assert rivals.median_threshold(one, other)[at] == (np.median(one[at]) > 1.05 * np.median(other[at]))


def test_a_faster_candidate_is_never_called_slower():
    rng = np.random.default_rng(8)
    one, other = rng.lognormal(-0.3, 0.05, (20, 30)), rng.lognormal(0.0, 0.05, (20, 30))
    assert not any(rule(one, other).any() for rule in rivals.RIVALS.values())


def test_the_cost_of_a_rule_is_the_fewest_starts_with_the_power():
    rows = cost.cost(recorded(), POLICY, 0.05, 0.9, 100, 9, starts=(50, 200, 800))
    by = {(one.rule, one.order): one for one in rows}
    assert len(by) == 9
    gate = by["this gate", "interleaved"]
    assert gate.starts is not None and gate.power.share >= 0.9 and gate.false_alarms.hits <= 1
    ranks = by["benchstat, Mann-Whitney p<.05", "interleaved"]
    assert ranks.starts in (100, 400, 1600) and ranks.power.share >= 0.9
    drifting = by["benchstat, Mann-Whitney p<.05", "sequential"]
    assert drifting.false_alarms.share > 0.1  # drift, not a slow-down
    coin = by["pytest-benchmark, median:5%", "interleaved"]
    assert coin.starts is None and coin.power.share < 0.9
    assert cost.table(rows).count("\n") == 10


def test_a_recording_too_short_for_any_rule_is_refused():
    with pytest.raises(ValueError, match="too few"):
        cost.cost(recorded()[:70], Policy(minimum=20, maximum=60), 0.05, 0.9, 10, 1, starts=(80,))
