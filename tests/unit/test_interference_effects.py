"""The formulas of interference, and one trial read by them: what is lost, when it is back, who did not
respond."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from interference_material import ARGS, GATE, TARGET, Deed, a_case, a_record, a_victim

from bench.analysis import effects, entitlement, significance, windows
from bench.analysis.felt import THROTTLED, felt
from bench.analysis.series import Series
from bench.model import Exit, PlannedTrial

RATES = st.floats(0, 1e6)
POSITIVE = st.floats(1e-3, 1e6)
PLAN = windows.schedule(ARGS)


def effect(deed, victim="cpu", aggressor="cpu"):
    case = a_case("namespace", victim, aggressor, "none")
    return effects.effect(a_record(PlannedTrial(0, 0, case.id), case, deed), PLAN)


# --- formulas -----------------------------------------------------------------------------------


@given(RATES, POSITIVE)
def test_a_score_is_a_share_and_full_exactly_from_the_target_on(rate, target):
    found = effects.score(rate, target)
    assert 0 <= found <= 1
    assert (found == 1) == (rate >= target) or math.isclose(rate, target)


@given(RATES, RATES, POSITIVE)
def test_a_higher_rate_never_has_a_lower_score(one, other, target):
    assert (effects.score(one, target) <= effects.score(other, target)) or one > other


@given(POSITIVE, POSITIVE, POSITIVE, st.floats(0.01, 100))
def test_degradation_has_no_unit(during, before, after, factor):
    plain = effects.loss(during, before, after)
    assert effects.loss(during * factor, before * factor, after * factor) == pytest.approx(
        plain, rel=1e-9, abs=1e-9
    )
    assert plain <= 1


@given(POSITIVE, POSITIVE)
def test_degradation_is_zero_where_nothing_changed_and_one_where_nothing_was_done(before, after):
    assert effects.loss((before + after) / 2, before, after) == pytest.approx(0)
    assert effects.loss(0.0, before, after) == 1
    assert effects.loss(before, before, None) == pytest.approx(0)


@given(POSITIVE, POSITIVE, POSITIVE, POSITIVE)
def test_a_steady_drift_over_the_three_phases_is_no_loss(before, step, _one, _two):
    assert effects.loss(before + step, before, before + 2 * step) == pytest.approx(0, abs=1e-9)


@given(st.floats(-1, 1), st.floats(0, 4), st.floats(0.01, 4))
def test_the_excess_lies_between_nothing_and_the_loss_and_is_all_of_it_where_all_was_due(
    lost, entitled, demand
):
    fair = effects.fair_loss(entitled, demand)
    found = effects.excess(lost, fair)
    assert 0 <= fair <= 1
    assert 0 <= found <= max(lost, 0)
    if entitled >= demand:
        assert found == max(lost, 0)
    if lost <= fair:
        assert found == 0


@given(st.lists(st.floats(0, 3), max_size=12), POSITIVE, st.floats(0.1, 5))
def test_recovery_is_the_first_window_near_the_target_and_none_without_one(shares, target, window):
    near = [abs(s * target / target - 1) <= effects.RECOVERED for s in shares]
    found = effects.recovery([s * target for s in shares], target, window)
    assert found == (near.index(True) * window if True in near else None)


def test_catching_up_is_not_being_back():
    assert effects.recovery([190, 150, 104, 100], 100, 1.0) == 2.0
    assert effects.recovery([94, 94], 100, 1.0) is None


@given(st.lists(st.floats(0, 1), min_size=0, max_size=60))
def test_adjusted_values_are_those_of_benjamini_and_hochberg(ps):
    from scipy.stats import false_discovery_control

    expected = false_discovery_control(ps, method="bh") if ps else []
    assert significance.adjusted(ps) == pytest.approx(list(expected), abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.randoms())
def test_adjusting_does_not_depend_on_the_order_of_the_cells(ps, rng):
    order = list(range(len(ps)))
    rng.shuffle(order)
    assert significance.adjusted([ps[i] for i in order]) == [significance.adjusted(ps)[i] for i in order]


@given(
    st.lists(st.floats(-100, 100), min_size=3, max_size=8),
    st.lists(st.floats(-100, 100), min_size=3, max_size=8),
)
def test_the_test_of_two_groups_is_welchs(one, other):
    from scipy.stats import ttest_ind

    assume(np.std(one) > 1e-3 or np.std(other) > 1e-3)
    expected = ttest_ind(one, other, equal_var=False, alternative="greater").pvalue
    assert significance.greater(one, other) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_groups_that_do_not_vary_are_told_apart_by_their_means_and_two_trials_by_nothing():
    assert significance.greater([1.0] * 3, [0.0] * 3) == 0.0
    assert significance.greater([0.0] * 3, [0.0] * 3) == 1.0
    assert significance.greater([9.0, 9.1], [0.0, 0.1, 0.2]) is None


# --- windows ------------------------------------------------------------------------------------


def test_windows_that_were_not_printed_count_as_zero_and_say_so():
    found = windows.victim_windows(a_victim(Deed(silent_from=6)), PLAN)
    assert len(found) == 14
    assert [w.said for w in found] == [True] * 6 + [False] * 8
    assert windows.counted(found, "during") == pytest.approx([TARGET, 0, 0, 0], rel=0.03)
    assert windows.counted(found, "after") == [0.0] * 4
    assert [w.settling for w in found if w.phase == "during"] == [True, False, False, False, False]


def test_a_plan_without_phases_is_no_schedule():
    assert windows.schedule({"seconds": 3.0}) is None
    assert windows.schedule({**ARGS, "window": 0.0}) is None


# --- one trial ----------------------------------------------------------------------------------


@given(st.floats(0.06, 1), st.floats(0.5, 20))
def test_a_trial_gives_back_what_was_taken(share, longer):
    found = effect(Deed(share, p99=longer))
    assert found.loss == pytest.approx(1 - share, abs=0.02)
    assert found.isolation == pytest.approx(share, abs=0.02)
    assert found.p99 == pytest.approx(longer, rel=0.15)
    assert found.aggressor_loss == pytest.approx(0.5)
    assert not found.dnr and found.missing == 0


def test_a_victim_that_stops_did_not_respond_and_is_not_compared_with_what_it_never_was_again():
    found = effect(Deed(silent_from=6, exit=Exit("oom", signal=9)))
    assert found.loss == pytest.approx(
        0.75, abs=0.02
    )  # one of four windows; the dead phase after is no basis
    assert found.recovery is None and "not back" in found.reasons["recovery"]
    assert found.p99 is None and "nothing was completed" in found.reasons["p99"]
    assert found.missing == 8 and found.ended == "oom"
    assert effect(Deed(silent_from=5)).dnr and effect(Deed(during=0.0)).dnr
    assert effect(Deed(during=0.04)).dnr and not effect(Deed(during=0.06)).dnr


def test_a_victim_that_never_worked_has_no_loss_and_a_reason():
    found = effect(Deed(silent_from=0, exit=Exit("exited", 1)))
    assert found.loss is None and "nothing alone (exit code 1)" in found.reasons["loss"]
    case = a_case("namespace", "cpu", "cpu", "none")
    record = a_record(PlannedTrial(0, 0, case.id), case, Deed())
    assert "states no phases" in effects.effect(record, None).reasons["loss"]
    short = effects.effect(record, replace(PLAN, settle=PLAN.before))
    assert short.loss is None and short.reasons["loss"] == "no window of the phase before has settled"


def test_work_that_is_caught_up_afterwards_does_not_add_to_what_the_victim_could_do():
    assert effect(Deed(0.5, after=1.9)).loss == pytest.approx(0.5, abs=0.02)


def test_an_aggressor_without_work_or_without_its_phase_alone_has_no_loss_of_its_own():
    assert "reports no work" in effect(Deed(other=None)).reasons["aggressor_loss"]
    assert "no work alone" in effect(Deed(alone=None)).reasons["aggressor_loss"]


# --- what is due --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "placement", "entitled"),
    [
        ("none", "same", 0.5),
        ("none", "other", 1.0),
        ("none", "", 1.0),
        ("limits", "same", 0.5),
        ("limits", "", 1.0),
        ("cpuset", "", 1.0),
        ("weights", "same", 1000 / 1010),
    ],
)
def test_a_victim_is_entitled_to_its_part_of_what_both_want(control, placement, entitled):
    case = a_case("namespace", "cpu", "cpu", control, placement)
    assert entitlement.entitled(*case.tenants, placement, 2) == pytest.approx(entitled)


def test_a_fair_loss_is_what_was_borrowed_and_not_defined_where_the_cpu_is_not_the_matter():
    greedy = a_case("namespace", "cpu", "cpu", "none", args={**ARGS, "load": 1.0})
    assert entitlement.fair(greedy, 2) == (pytest.approx(0.5), "")
    assert entitlement.fair(a_case("namespace", "cpu", "cpu", "none"), 2)[0] == 0
    for victim in ("disk", "network"):
        fair, why = entitlement.fair(a_case("namespace", victim, "disk", "none"), 2)
        assert fair is None and victim in why
    assert entitlement.fair(greedy, 0) == (None, "the number of CPUs is not known")
    silent = a_case("namespace", "cpu", "cpu", "none", args={k: v for k, v in ARGS.items() if k != "load"})
    assert entitlement.fair(silent, 2) == (None, "the plan does not say what the victim asks for")


# --- by what means ------------------------------------------------------------------------------


def test_pressure_and_throttling_are_those_of_the_time_in_which_the_aggressor_was_on():
    case = a_case("namespace", "cpu", "cpu", "limits")
    record = a_record(PlannedTrial(3, 0, case.id), case, Deed())
    begin = GATE + ARGS["before"]
    end = begin + ARGS["during"]
    assert windows.span(record, PLAN) == (begin, end)
    times = np.arange(0, 20, 0.5)
    held = np.clip(times, begin, end) - begin  # grows while the aggressor is on, and only then
    rows = [
        (3, "victim", "cgroup_psi", "cpu.pressure.some", held * 0.4),
        (3, "victim", "cgroup", "cpu.nr_periods", times * 10),
        (3, "victim", "cgroup", "cpu.nr_throttled", held * 5),
    ]
    frame = pd.concat(
        pd.DataFrame({"trial": t, "tenant": n, "collector": c, "metric": m, "time": times, "value": v})
        for t, n, c, m, v in rows
    )
    found = felt(3, windows.span(record, PLAN), Series(frame))
    assert found == {"cpu.pressure.some": pytest.approx(0.4), THROTTLED: pytest.approx(0.5)}
    assert felt(4, windows.span(record, PLAN), Series(frame)) == {}
