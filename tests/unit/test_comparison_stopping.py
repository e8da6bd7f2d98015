"""When measuring ends: by width, blocks or time, never by what was found; and what peeking would cost."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.comparison import estimate, stopping
from bench.comparison.stopping import Progress
from bench.model import Policy

policies = st.builds(
    Policy,
    half_width=st.floats(0.001, 0.2),
    minimum=st.integers(5, 60),
    batch=st.integers(1, 30),
    maximum=st.integers(61, 400),
    seconds=st.none() | st.floats(1, 1e4),
)


@given(policies, st.integers(0, 500))
def test_looks_are_at_the_minimum_and_then_every_batch(policy, n):
    found = stopping.next_look(n, policy)
    if n >= policy.maximum:
        assert found is None
    else:
        assert found is not None and n < found <= policy.maximum
        assert found == policy.maximum or (
            found >= policy.minimum and (found - policy.minimum) % policy.batch == 0
        )


def test_a_narrow_interval_between_two_looks_does_not_stop():
    policy = Policy(minimum=50, batch=25, half_width=0.015)
    assert stopping.enough(Progress(50, 0.01, 1.0), policy) == "width"
    assert stopping.enough(Progress(51, 0.001, 1.0), policy) is None
    assert stopping.enough(Progress(49, 0.001, 1.0), policy) is None
    assert stopping.enough(Progress(75, 0.015, 1.0), policy) == "width"
    assert stopping.enough(Progress(75, 0.0151, 1.0), policy) is None


def test_budgets_end_measuring_whatever_the_width():
    policy = Policy(seconds=60)
    assert stopping.enough(Progress(10, None, 60.0), policy) == "time"
    assert stopping.enough(Progress(1500, 0.5, 1.0), policy) == "blocks"
    assert stopping.enough(Progress(1500, 0.01, 1.0), policy) == "width"
    assert stopping.enough(Progress(1, None, 0.0, interrupted=True), policy) == "interrupted"


def test_an_interval_that_does_not_exist_is_not_narrow():
    assert stopping.enough(Progress(50, None, 1.0), Policy()) is None


def test_several_metrics_end_together_and_the_worst_ending_is_named():
    assert stopping.together(["width", None]) is None
    assert stopping.together(["width", "width"]) == "width"
    assert stopping.together(["width", "blocks"]) == "blocks"
    assert stopping.together(["blocks", "time", "width"]) == "time"
    assert stopping.together([]) == "width"
    assert stopping.together([None, "interrupted"]) == "interrupted"


def test_what_was_found_is_nothing_the_rule_could_be_told():
    assert [f.name for f in dataclasses.fields(Progress)] == [
        "blocks",
        "half_width",
        "seconds",
        "interrupted",
    ]


def run(logs, policy):
    """Blocks at which width stops this series, and the trimmed estimate there."""
    n = 0
    while (look := stopping.next_look(n, policy)) is not None and look <= len(logs):
        n, found = look, estimate.trimmed(logs[:look], policy.confidence)
        if stopping.enough(Progress(n, found.half_width, 0.0), policy):
            break
    return n, found


@given(st.integers(0, 2**31), st.floats(-0.5, 0.5))
def test_a_shift_of_the_candidate_never_moves_the_stop(seed, shift):
    logs = np.random.default_rng(seed).normal(0, 0.1, 400)
    policy = Policy(half_width=0.02, maximum=400)
    assert run(logs, policy)[0] == run(logs + shift, policy)[0]


def test_stopping_by_width_keeps_the_false_alarm_rate_and_peeking_multiplies_it():
    """4000 A/A series, nominal half a per cent; the peeking rule looks as often and stops on success."""
    rng = np.random.default_rng(4)
    windows, blocks = 4000, 400
    policy = Policy(half_width=0.02, maximum=blocks)
    logs = rng.standard_t(4, (windows, blocks)) * 0.10
    waiting = np.ones(windows, dtype=bool)
    alarms = np.zeros(windows, dtype=bool)
    peeked = np.zeros(windows, dtype=bool)
    n = 0
    while (look := stopping.next_look(n, policy)) is not None:
        n = look
        mean, error, left = estimate.trimmed_rows(logs[:, :n])
        half = estimate.quantile(0.99, left) * error
        above = mean - half > 0
        peeked |= waiting & above  # the forbidden rule: first success wins
        done = waiting & np.array([stopping.enough(Progress(n, h, 0.0), policy) is not None for h in half])
        alarms[done] = above[done]
        waiting &= ~done
    assert not waiting.any()
    assert alarms.mean() <= 0.0075  # nominal 0.005
    assert peeked.mean() >= 3 * alarms.mean()
    assert peeked.mean() > 0.012
