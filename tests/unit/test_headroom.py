"""The stop rule of density: whatever instances take, its floor, its number and its time are kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench import headroom
from bench.headroom import GROWTH, Bounds

SIZES = st.floats(0, 2e9)


def climbed(bounds, available, shares, seconds):
    """Add instances until the rule says stop: each takes a share of what the rule allows for it."""
    costs, took = [], []
    left = available
    while not bounds.stops(left, costs, took):
        cost = bounds.expected(costs) * shares[len(costs) % len(shares)]
        left -= cost
        costs.append(cost)
        took.append(seconds[len(took) % len(seconds)])
    return left, costs, took


@given(st.floats(0, 3e10), st.floats(0, 4e9), st.floats(1e6, 2e9), st.integers(1, 40),
       st.lists(st.floats(0, 1), min_size=1, max_size=9))  # fmt: skip
def test_the_floor_is_never_crossed_where_none_takes_more_than_was_counted(
    available, floor, reserve, most, shares
):
    bounds = Bounds(floor, reserve, most, 1e9)
    left, costs, _ = climbed(bounds, available, shares, [0.1])
    assert len(costs) <= most
    assert not costs or left >= floor - 1e-3


@given(st.lists(SIZES, max_size=20), st.floats(1e6, 1e9))
def test_the_next_is_counted_at_twice_the_dearest_and_never_below_the_reserve(costs, reserve):
    expected = Bounds(0, reserve, 99, 1e9).expected(costs)
    assert expected >= reserve and all(expected >= GROWTH * c for c in costs)


@given(st.floats(0.01, 5), st.floats(1, 100))
def test_the_time_of_a_trial_is_kept_where_starts_take_equally_long(each, budget):
    _, _, took = climbed(Bounds(0, 1, 10_000, budget), 1e12, [0.0], [each])
    assert sum(took) <= max(budget, each) + 1e-6


def test_memory_that_nobody_knows_stops_at_once():
    assert "does not say" in Bounds(0, 1, 9, 9).stops(None, [], [])


def test_it_says_why():
    bounds = Bounds(100 << 20, 32 << 20, 3, 10)
    assert bounds.stops(1 << 30, [1.0] * 3, [0.1] * 3) == "all 3 are there"
    assert "131 MiB are available: one more, counted at 32 MiB, would not leave 100 MiB" in bounds.stops(
        131 << 20, [], []
    )
    assert "longer than the 10 s" in bounds.stops(1 << 30, [1.0], [6.0])
    assert bounds.stops(132 << 20, [], []) == ""


@given(st.integers(3, 200))
def test_levels_begin_with_one_end_with_all_and_are_few(most):
    found = headroom.levels(most)
    assert found[0] == 1 and found[-1] == most and found == sorted(set(found))
    assert 3 <= len(found) <= headroom.FEWEST + 2 * headroom.FURTHER
