"""What an interval allows to be said; several metrics, a second measurement, and the exit status."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from bench.comparison import decision
from bench.model import OUTCOMES, Interval, Judged, Policy, Ratio

POLICY = Policy()
logs = st.floats(-0.3, 0.3)
widths = st.floats(0.001, 0.2)
p_values = st.lists(st.floats(0, 1), max_size=12)


def ratio(log, half=0.015, n=100, arm="new", against="old"):
    ends = (None, None) if half is None else (math.exp(log - half), math.exp(log + half))
    return Ratio("start", arm, against, Interval(math.exp(log), *ends, n), half)


GOOD = (ratio(0.0, arm="old2"),)


def outcome(log, half=0.015, policy=POLICY, repeats=GOOD, reference=None):
    return decision.decide(policy, ratio(log, half), repeats, reference).outcome


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.011, 0.090, "slower"),
        (0.011, 0.020, "slower"),  # within ±5 % too: a margin that is passed is passed
        (0.009, 0.045, "equivalent"),
        (-0.045, 0.045, "equivalent"),
        (-0.045, -0.012, "faster"),
        (-0.080, -0.009, "not slower"),
        (-0.080, 0.045, "not slower"),
        (-0.080, 0.050, "inconclusive"),
        (0.009, 0.060, "inconclusive"),
        (-0.200, 0.200, "inconclusive"),
    ],
)
def test_the_interval_alone_gives_the_outcome(low, high, expected):
    assert outcome((low + high) / 2, (high - low) / 2) == expected


@given(logs, widths, st.floats(0, 0.3))
def test_a_slower_candidate_is_never_judged_better(log, half, more):
    rank = {"faster": 0, "not slower": 1, "equivalent": 1, "inconclusive": 2, "slower": 3}
    assert rank[outcome(log, half)] <= rank[outcome(log + more, half)]


@given(logs, widths)
def test_swapping_the_arms_mirrors_slower_and_faster(log, half):
    assume(abs(abs(log) - half - math.log1p(0.01)) > 1e-9)
    mirrored = {"slower": "faster", "faster": "slower", "equivalent": "equivalent"}
    found = outcome(log, half)
    if found in mirrored:
        assert outcome(-log, half) == mirrored[found]


@given(logs, widths)
def test_slower_is_the_same_as_a_p_below_half_a_per_cent(log, half):
    assume(abs(log - half - math.log1p(0.01)) > 1e-9)
    found = decision.decide(POLICY, ratio(log, half), GOOD)
    assert (found.outcome == "slower") == (found.p < 0.005)


def test_the_p_value_is_that_of_the_trimmed_t():
    found = decision.one_sided_p(ratio(0.03, 0.015, n=100), 0.01, 0.99)
    error = 0.015 / stats.t.ppf(0.995, 59)
    assert found == pytest.approx(stats.t.sf((0.03 - math.log(1.01)) / error, 59))


def test_a_margin_above_the_equivalence_bound_replaces_it():
    assert outcome(0.06, 0.03, Policy(margin=0.1)) == "not slower"


# -- the instrument ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [0.03, -0.03])
def test_copies_of_one_arm_that_differ_make_every_outcome_invalid(bias):
    found = decision.decide(POLICY, ratio(0.2), [ratio(0.0, arm="raw2"), ratio(bias, arm="old2")])
    assert found.outcome == "invalid"
    assert "old2" in found.reason


@given(st.floats(-0.0249, 0.0249))
def test_copies_whose_interval_reaches_into_the_margin_are_no_bias(log):
    assert outcome(0.0, repeats=(ratio(log, 0.015, arm="old2"),)) == "equivalent"


def test_without_a_second_copy_nothing_vouches_for_the_instrument():
    assert outcome(0.2, repeats=()) == "invalid"
    assert outcome(0.2, repeats=(ratio(0.0, None),)) == "invalid"


def test_too_few_blocks_are_inconclusive_and_not_judged():
    found = decision.decide(POLICY, ratio(0.2, None, n=3), GOOD)
    assert (found.outcome, found.p, found.detectable) == ("inconclusive", None, None)
    assert "3 blocks" in found.reason


# -- floors ------------------------------------------------------------------------------------------------


def test_a_slow_down_below_the_absolute_floor_is_no_regression():
    policy = Policy(floor=0.002)
    assert outcome(math.log(1.1), policy=policy, reference=1.0) == "slower"  # 100 ms
    assert outcome(math.log(1.1), policy=policy, reference=0.010) == "not slower"  # 1 ms
    assert outcome(math.log(1.3), policy=policy, reference=0.010) == "slower"  # 3 ms, at least 2.8 ms
    assert decision.tolerated(policy, 0.010) == pytest.approx(0.2)
    assert decision.tolerated(policy, 1.0) == 0.01


def test_a_floor_without_a_reference_to_hold_it_against_fails_nothing():
    assert outcome(0.2, policy=Policy(floor=0.002)) == "inconclusive"


@given(logs, widths, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_floor_never_makes_a_regression(log, half, floor, more):
    one = outcome(log, half, Policy(floor=floor), reference=1.0)
    other = outcome(log, half, Policy(floor=floor + more), reference=1.0)
    assert other != "slower" or one == "slower"


# -- what would have been seen ------------------------------------------------------------------------------


def test_the_smallest_detectable_slow_down_of_the_design_example():
    """Half-width 2 %, margin 1 %: 4.4 % without and 4.9 % with a job-level spread of 0.75 %."""
    error = 0.02 / 2.576
    assert decision.detectable(0.01, 0.02, error) == pytest.approx(0.044, abs=0.001)
    assert decision.detectable(0.01, 0.02, error, tau=0.0075) == pytest.approx(0.049, abs=0.001)


def test_an_inconclusive_outcome_says_what_would_have_been_found():
    found = decision.decide(POLICY, ratio(0.03, 0.06), GOOD)
    assert found.outcome == "inconclusive"
    assert f"{100 * found.detectable:.1f} % slower would have been found 19 times in 20" in found.reason


def test_the_detectable_slow_down_is_detected_19_times_in_20():
    rng = np.random.default_rng(6)
    half, n = 0.03, 200
    found = decision.decide(POLICY, ratio(0.0, half, n), GOOD)
    error = decision.standard_error(ratio(0.0, half, n), 0.99)
    estimates = math.log1p(found.detectable) + rng.normal(0, error, 4000)
    share = np.mean([outcome(float(one), half) == "slower" for one in estimates])
    assert share == pytest.approx(0.95, abs=0.012)


# -- Holm --------------------------------------------------------------------------------------------------


@given(p_values)
def test_holm_never_lowers_a_p_and_never_changes_the_order(p):
    found = decision.holm(p)
    assert all(raw <= adjusted <= 1 for raw, adjusted in zip(p, found, strict=True))
    ordered = [a for _, a in sorted(zip(p, found, strict=True))]
    assert ordered == sorted(ordered)


@given(p_values, st.randoms())
def test_holm_does_not_depend_on_the_order_of_the_metrics(p, random):
    order = list(range(len(p)))
    random.shuffle(order)
    found = decision.holm(p)
    assert decision.holm([p[i] for i in order]) == [found[i] for i in order]


def test_holm_by_hand():
    assert decision.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert decision.holm([]) == []


def judged(p, outcome="slower", metric="start", **more):
    return Judged(metric, "new", "old", outcome, 0.01, "words", p=p, **more)


def test_one_of_several_metrics_needs_a_smaller_p():
    policies = {"start": POLICY, "ready": POLICY}
    (alone,) = decision.family([judged(0.004)], policies)
    assert (alone.outcome, alone.adjusted) == ("slower", 0.004)
    both = decision.family([judged(0.004), judged(0.5, "equivalent", "ready")], policies)
    assert [one.outcome for one in both] == ["inconclusive", "equivalent"]
    assert [one.adjusted for one in both] == [0.008, 0.5]
    assert "2 comparisons" in both[0].reason


def test_a_metric_that_could_not_be_measured_stays_in_the_family():
    both = decision.family(
        [judged(0.004), judged(None, "inconclusive", "ready")], dict.fromkeys(("start", "ready"), POLICY)
    )
    assert [one.adjusted for one in both] == [0.008, None]


def test_eight_metrics_together_keep_the_false_alarm_rate_of_one():
    """Every metric lies exactly at the margin, the worst case; without Holm, 8 times as many alarm."""
    rng = np.random.default_rng(8)
    p = rng.random((20_000, 8))
    alarms = np.mean([min(decision.holm(list(row))) < 0.005 for row in p])
    assert alarms <= 0.0065
    assert np.mean(p.min(axis=1) < 0.005) > 0.035


# -- the second measurement ----------------------------------------------------------------------------------


def test_a_slow_down_found_twice_is_confirmed():
    found = decision.confirm(judged(0.001, adjusted=0.002), judged(0.003, adjusted=0.004))
    assert (found.outcome, found.confirmed, found.p, found.adjusted) == ("slower", True, 0.003, 0.004)


@pytest.mark.parametrize("second", ["faster", "equivalent", "not slower", "inconclusive"])
def test_a_slow_down_found_once_is_inconclusive(second):
    found = decision.confirm(judged(0.001), judged(0.5, second))
    assert (found.outcome, found.confirmed) == ("inconclusive", False)
    assert second in found.reason
    assert decision.status([found]) == 0


def test_an_invalid_second_measurement_confirms_nothing():
    found = decision.confirm(judged(0.001), judged(0.001, "invalid"))
    assert (found.outcome, found.confirmed) == ("invalid", False)


@pytest.mark.parametrize("first", ["faster", "equivalent", "not slower", "inconclusive", "invalid"])
def test_only_a_slow_down_is_up_for_confirmation(first):
    one = judged(0.5, first)
    assert decision.confirm(one, judged(0.001)) == one


def test_another_metric_cannot_confirm():
    with pytest.raises(ValueError, match="cannot confirm"):
        decision.confirm(judged(0.001), judged(0.001, metric="ready"))


# -- exit status -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], 3),
        (["equivalent"], 0),
        (["faster", "not slower", "equivalent"], 0),
        (["inconclusive"], 0),
        (["equivalent", "invalid"], 3),
        (["slower"], 3),
        (["confirmed"], 1),
        (["invalid", "confirmed", "equivalent"], 1),
        (["nothing"], 3),
    ],
)
def test_the_exit_status(outcomes, expected):
    made = {
        "confirmed": judged(0.001, confirmed=True),
        "nothing": replace(judged(None), outcome="inconclusive"),
    }
    found = [made.get(one) or judged(0.1, one) for one in outcomes]
    assert decision.status(found) == expected


@given(st.lists(st.sampled_from(OUTCOMES), max_size=6), st.sampled_from([None, False, True]))
def test_only_a_confirmed_slow_down_fails_a_build(outcomes, confirmed):
    found = [judged(0.1, one, confirmed=confirmed) for one in outcomes]
    assert (decision.status(found) == 1) == ("slower" in outcomes and confirmed is True)
