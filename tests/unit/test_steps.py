"""What may be said of one step of a ladder, and how far the statistics behind it can be trusted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.analysis import steps
from bench.comparison import bootstrap, estimate

LOGS = st.lists(st.integers(-1000, 1000).map(lambda v: v / 1000), min_size=5, max_size=30, unique=True)


def normal(n, spread, seed, centre=0.0):
    return list(np.random.default_rng(seed).normal(centre, spread, n))


# --- the bootstrap ------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [6, 12, 25])
def test_the_interval_is_that_of_scipy_but_for_the_draws(n):
    x = np.random.default_rng(n).exponential(1, n)
    own = bootstrap.bca(x, 0.95, 3, 20000)
    theirs = stats.bootstrap(
        (x,), bootstrap.trimmed_mean, n_resamples=20000, confidence_level=0.95, method="BCa",
        rng=np.random.default_rng(4),
    ).confidence_interval  # fmt: skip
    width = theirs.high - theirs.low
    assert own.low == pytest.approx(theirs.low, abs=0.04 * width)
    assert own.high == pytest.approx(theirs.high, abs=0.04 * width)
    assert own.estimate == pytest.approx(stats.trim_mean(x, 0.2))


@given(LOGS, st.floats(-2, 2), st.floats(0.1, 10))
@settings(max_examples=40)
def test_moved_and_stretched_values_move_and_stretch_the_interval(logs, shift, factor):
    before = bootstrap.interval(logs, 0.95, 1)
    after = bootstrap.interval([v * factor + shift for v in logs], 0.95, 1)
    for end in ("estimate", "low", "high"):
        assert getattr(after, end) == pytest.approx(getattr(before, end) * factor + shift, abs=1e-6)


@given(LOGS)
@settings(max_examples=40)
def test_the_interval_holds_its_estimate_and_is_the_wider_of_both(logs):
    found, plain = bootstrap.interval(logs, 0.95, 1), estimate.trimmed(logs, 0.95)
    assert found.low <= found.estimate + 1e-12 and found.estimate <= found.high + 1e-12
    assert found.high - found.low >= 2 * plain.half_width - 1e-12


def test_too_few_values_have_no_interval_and_equal_ones_a_point():
    assert bootstrap.interval([0.1] * 4, 0.95, 1).low is None
    one = bootstrap.interval([0.1] * 6, 0.95, 1)
    assert (one.low, one.high) == (one.estimate, one.estimate)
    assert math.isnan(bootstrap.bca([], 0.95, 1).estimate)


@pytest.mark.parametrize("n", [5, 10])
def test_nine_in_ten_tests_at_five_percent_cover_what_they_say(n):
    """Coverage of the 95 % interval over 400 series; at .95 fewer than 366 happens once in a thousand."""
    covered = sum(
        found.low <= 0 <= found.high
        for seed in range(400)
        if (found := bootstrap.interval(normal(n, 0.03, seed), 0.95, seed))
    )
    assert covered >= 366


# --- equivalence --------------------------------------------------------------------------------


def test_two_equal_things_are_equal_only_as_far_as_the_data_reach():
    quiet, loud = normal(10, 0.004, 1), normal(10, 0.08, 1)
    assert bootstrap.within(quiet, 0.02, 1)
    assert not bootstrap.within(loud, 0.02, 1), "not significant is not equal"


def test_at_the_bound_itself_equality_is_said_one_time_in_twenty_at_most():
    said = sum(bootstrap.within(normal(10, 0.02, seed, 0.03), 0.03, seed) for seed in range(400))
    assert said <= 36  # binomial(400, .05) exceeds that once in a thousand


@given(LOGS, st.floats(0.01, 1.5))
@settings(max_examples=40)
def test_two_tests_at_five_percent_are_the_interval_at_ninety(logs, bound):
    found = bootstrap.interval(logs, 0.90, 1)
    assert bootstrap.within(logs, bound, 1) == (-bound < found.low and found.high < bound)


@given(LOGS, st.floats(0.001, 1), st.floats(0.001, 1))
@settings(max_examples=40)
def test_what_is_equal_within_a_bound_is_equal_within_a_wider_one(logs, bound, more):
    assert not bootstrap.within(logs, bound, 1) or bootstrap.within(logs, bound + more, 1)


# --- the noise ----------------------------------------------------------------------------------


def test_the_bound_is_that_of_the_claim_or_twice_the_noise():
    assert steps.bound(0.02, 0.001) == 0.02
    assert steps.bound(0.02, 0.05) == pytest.approx(math.expm1(0.1))
    assert steps.bound(0.02, None) == 0.02


# --- words --------------------------------------------------------------------------------------


def word(logs, claimed=0.02, noise: float | None = 0.005):
    return steps.judged([steps.step("process", logs, claimed, noise, 1)])[0]


def test_a_slow_down_of_ten_percent_is_found_and_sized():
    found = word(normal(10, 0.01, 2, math.log(1.10)))
    assert found.word == "costs"
    assert found.ratio.low < 1.10 < found.ratio.high and found.ratio.high - found.ratio.low < 0.03


def test_it_is_found_even_where_single_blocks_are_so_noisy_that_the_bound_is_wider():
    found = word(normal(10, 0.02, 2, math.log(1.10)), noise=0.08)
    assert found.bound > 0.15 and found.word == "costs"


def test_a_change_of_nothing_is_none_and_says_up_to_where():
    found = word(normal(10, 0.004, 3))
    assert (found.word, found.bound) == ("none", 0.02)


def test_noise_too_large_for_either_is_undecided_with_what_would_have_been_seen():
    found = word(normal(10, 0.08, 5))
    assert found.word == "inconclusive" and 0.05 < found.detectable < 0.5


def test_a_sure_difference_within_the_claim_is_no_cost():
    found = word(normal(12, 0.001, 1, math.log(1.01)))
    assert found.clear and found.word == "none"


def test_noise_that_hides_everything_is_no_proof_of_nothing():
    found = word(normal(10, 0.02, 3), noise=2.0)
    assert found.bound > 5 and found.word == "inconclusive"


def test_a_gain_saves():
    assert word(normal(10, 0.01, 2, math.log(0.9))).word == "saves"


def test_without_a_noise_floor_nothing_is_called_equal():
    assert word(normal(10, 0.001, 1), noise=None).word == "inconclusive"


def test_too_few_blocks_are_undecided_without_an_interval():
    found = word([0.1, 0.1, 0.11])
    assert (found.word, found.ratio.low, found.detectable, found.p) == ("inconclusive", None, None, None)


def test_among_many_steps_of_nothing_hardly_one_is_said_to_cost():
    """A run of 60 steps on a machine as noisy as the claim is narrow, 20 times over."""
    wrong = 0
    for run in range(20):
        of = [steps.step("process", normal(10, 0.02, 100 * run + i), 0.02, 0.04, i) for i in range(60)]
        wrong += any(s.word in ("costs", "saves") for s in steps.judged(of))
    assert wrong <= 4  # of 20; the rate of false discoveries is held at 5 %


@given(LOGS)
@settings(max_examples=30)
def test_the_other_way_round_the_ratio_is_its_inverse_and_the_word_its_opposite(logs):
    here, there = word(logs), word([-v for v in logs])
    assert here.ratio.estimate * there.ratio.estimate == pytest.approx(1)
    if "inconclusive" not in (here.word, there.word):
        opposite = {"costs": "saves", "saves": "costs", "none": "none"}
        assert there.word == opposite[here.word]
