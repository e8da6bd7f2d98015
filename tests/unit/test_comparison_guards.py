"""Which blocks count, and the whole way from starts to outcomes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.comparison import guards, summary
from bench.comparison.blocks import Table
from bench.comparison.guards import Guards, Reading
from bench.comparison.summary import Roles
from bench.model import Policy

shares = st.none() | st.floats(0, 1)
readings = st.builds(
    Reading, st.floats(0.001, 100), shares, shares, shares, shares, shares, shares,
    st.none() | st.floats(0.5, 3), st.none() | st.integers(0, 100),
)  # fmt: skip
QUIET = Reading(1.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.01, 1.0, 0)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("cpu_pressure", 0.31, "CPU pressure above 0.3"),
        ("io_pressure", 0.11, "I/O pressure above 0.1"),
        ("memory_pressure", 0.11, "memory pressure above 0.1"),
        ("steal", 0.06, "stolen CPU time above 0.05"),
        ("throttled", 0.001, "throttled seconds above 0"),
        ("foreign", 0.21, "CPU time of others above 0.2"),
        ("spin", 1.51, "calibration loop above 1.5"),
        ("swapped_in", 1, "pages swapped in above 0"),
    ],
)
def test_each_guard_excludes_a_block_beyond_its_limit_and_not_at_it(field, value, expected):
    assert guards.reason(dataclasses.replace(QUIET, **{field: value}), Guards()) == expected
    at = dataclasses.replace(QUIET, **{field: getattr(Guards(), field)})
    assert guards.reason(at, Guards()) == ""


def test_what_cannot_be_read_excludes_nothing():
    assert guards.reason(Reading(1.0), Guards()) == ""


@given(readings)
def test_a_reading_holds_no_start_so_no_guard_can_look_at_one(reading):
    assert {f.name for f in dataclasses.fields(reading)} == {
        "seconds", "cpu_pressure", "io_pressure", "memory_pressure", "steal", "throttled", "foreign", "spin",
        "swapped_in",
    }  # fmt: skip
    assert guards.reason(reading, Guards()) == guards.reason(
        dataclasses.replace(reading, seconds=1e9), Guards()
    )


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_at_most_thirty_per_cent_of_the_blocks_are_repeated(blocks, excluded):
    excluded = min(blocks, excluded)
    found = guards.counted(blocks, excluded, Guards())
    assert blocks - excluded <= found <= blocks
    assert blocks - found <= 0.3 * blocks
    if excluded <= 0.3 * blocks:
        assert found == blocks - excluded


def test_a_comparison_that_is_mostly_disturbed_is_invalid():
    bad = dataclasses.replace(QUIET, cpu_pressure=0.9)
    assert guards.environment([QUIET] * 5 + [bad] * 5, Guards()) == ""
    assert "60 %" in guards.environment([QUIET] * 4 + [bad] * 6, Guards())


@pytest.mark.parametrize(
    ("change", "word"),
    [({"steal": 0.06}, "hypervisor"), ({"foreign": 0.26}, "others"), ({"throttled": 0.1}, "quota")],
)
def test_a_disturbance_that_lasts_makes_the_comparison_invalid(change, word):
    """The block's own limits are lifted, so that only the rule for the whole comparison can find it."""
    lifted = Guards(foreign=1.0, flagged=1.0)
    assert word in guards.environment([dataclasses.replace(QUIET, **change)] * 10, lifted)
    assert guards.environment([QUIET] * 10, lifted) == guards.environment([], lifted) == ""


def test_the_calibration_loop_is_held_against_those_before_it():
    assert guards.relative_spin([1.0] * 4, 2.0) is None
    assert guards.relative_spin([1.0, 1.0, 2.0, 1.0, 1.0], 1.5) == 1.5


def test_an_arm_that_gains_from_going_first_is_warned_about_and_chance_is_not():
    rng = np.random.default_rng(2)
    logs, first = rng.normal(0, 0.02, 200), rng.random(200) < 0.5
    assert guards.carry_over(logs, first, 0.01) == ""
    assert guards.carry_over(logs + 0.05 * first, first, 0.01).startswith(
        "going first changes the ratio by +"
    )
    assert guards.carry_over(logs[:12], first[:12], 0.01) == ""


# -- the whole way -----------------------------------------------------------------------------------------

ARMS = ("new", "old", "old2", "raw", "raw2")
ROLES = Roles(
    dict(zip(ARMS, ("candidate", "reference", "repeat", "raw", "raw repeat"), strict=True)),
    dict(zip(ARMS, ("docker", "docker", "docker", "process", "process"), strict=True)),
    {"start": "s", "ready": "s"},
)


def starts(seed, blocks=300, slow=1.0, bias=1.0, spread=0.05):
    rng = np.random.default_rng(seed)
    base = np.array([0.5 * slow, 0.5, 0.5 * bias, 0.004, 0.004])
    drift = np.exp(np.cumsum(rng.normal(0, 0.02, blocks)))[:, None]
    return base * drift * np.exp(rng.normal(0, spread, (blocks, 5)))


def table(values, marks=None):
    return Table(ARMS, {"start": values, "ready": values * 2}, tuple(marks or [""] * len(values)))


def outcomes(found):
    return {one.metric: one.outcome for one in found.judged}


POLICIES = {"start": Policy()}


def test_equal_arms_are_equivalent_slow_ones_slower_and_a_biased_copy_invalid():
    assert outcomes(summary.summarise(table(starts(1)), ROLES, POLICIES)) == {"start": "equivalent"}
    assert outcomes(summary.summarise(table(starts(1, slow=1.05)), ROLES, POLICIES)) == {"start": "slower"}
    assert outcomes(summary.summarise(table(starts(1, slow=0.9)), ROLES, POLICIES)) == {"start": "faster"}
    assert outcomes(summary.summarise(table(starts(1, bias=1.04)), ROLES, POLICIES)) == {"start": "invalid"}


def test_every_arm_every_pair_that_means_something_and_only_gating_metrics_are_judged():
    found = summary.summarise(table(starts(2)), ROLES, POLICIES, tails=(0.95,))
    assert [(a.arm, a.metric, a.role) for a in found.arms][:2] == [
        ("new", "start", "candidate"),
        ("old", "start", "reference"),
    ]
    pairs = {(r.arm, r.against) for r in found.ratios if r.metric == "ready"}
    assert pairs == {("new", "old"), ("old2", "old"), ("new", "raw"), ("old", "raw"), ("raw2", "raw")}
    assert {r.metric for r in found.ratios} == {"start", "ready", "start p95", "ready p95"}
    assert [one.metric for one in found.judged] == ["start"]
    median = found.arms[0].median
    assert median.low < median.estimate < median.high and found.arms[0].p99 is not None


def test_excluded_blocks_leave_the_result_as_if_they_had_not_been():
    values = starts(3, slow=1.03)
    spoilt = np.vstack([values[:100], values[:40] * np.array([9.0, 1, 1, 1, 1]), values[100:]])
    marks = [""] * 100 + ["CPU pressure above 0.3"] * 40 + [""] * 200
    assert summary.summarise(table(spoilt, marks), ROLES, POLICIES) == summary.summarise(
        table(values), ROLES, POLICIES
    )


def test_an_arm_that_never_starts_is_counted_and_not_judged():
    values = starts(4)
    values[:, 0] = math.nan
    found = summary.summarise(table(values), ROLES, POLICIES)
    assert (found.arms[0].n, found.arms[0].failed, found.arms[0].median) == (0, 300, None)
    assert (found.judged[0].outcome, found.judged[0].p) == ("inconclusive", None)


def test_a_candidate_that_fails_where_it_would_be_slow_is_not_called_equivalent():
    values = starts(5)
    values[::10, 0] = math.nan
    (found,) = summary.summarise(table(values), ROLES, POLICIES).judged
    assert found.outcome == "inconclusive"
    assert "30 of new, 0 of old" in found.reason


def test_failures_that_hit_both_alike_are_told_and_change_nothing():
    values = starts(5)
    values[::20, 0] = values[5::20, 1] = math.nan
    (found,) = summary.summarise(table(values), ROLES, POLICIES).judged
    assert found.outcome == "equivalent" and "failed starts: 15 of new, 15 of old" in found.reason


def test_the_width_that_stops_is_the_widest_and_missing_while_any_is():
    values = starts(6)
    found = summary.summarise(table(values), ROLES, POLICIES).ratios[0]
    assert summary.half_width(table(values), ROLES, "start", Policy()) == found.half_width
    values[4:, 0] = math.nan
    assert summary.half_width(table(values), ROLES, "start", Policy()) is None


def test_the_width_that_stops_does_not_know_the_effect():
    one, other = starts(7), starts(7, slow=1.4)
    widths = [summary.half_width(table(v), ROLES, "start", Policy()) for v in (one, other)]
    assert widths[0] == pytest.approx(widths[1], rel=1e-9)
