"""The two ends of a block that others are compared with."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis import control

numbers = st.dictionaries(st.integers(0, 12), st.floats(1e-9, 1e12))


def test_the_floor_is_what_95_percent_of_the_blocks_stay_below_either_way():
    first = dict.fromkeys(range(40), 100.0)
    last = {b: 100.0 * math.exp((-1) ** b * b / 1000) for b in range(40)}
    assert control.of(first, last, math.log).floor == pytest.approx(0.037)
    assert control.of({}, last, math.log).floor is None


def test_a_block_that_lacks_an_end_is_no_control_and_one_that_drifts_is_unstable():
    found = control.of({0: 100.0, 1: 100.0, 2: 100.0}, {1: 104.0, 2: 94.0, 3: 1.0}, math.log)
    assert found.base == {1: pytest.approx(math.sqrt(10400)), 2: pytest.approx(math.sqrt(9400))}
    assert found.drift == {1: pytest.approx(math.log(1.04)), 2: pytest.approx(math.log(0.94))}
    assert found.unstable == (2,)


def test_of_a_rate_the_drift_is_that_of_the_time():
    found = control.of({0: 100.0}, {0: 50.0}, lambda rate: -math.log(rate))
    assert found.drift == {0: pytest.approx(math.log(2))}


@given(numbers, numbers)
def test_what_stands_for_both_lies_between_them_and_turning_them_turns_the_drift(first, last):
    one, other = control.of(first, last, math.log), control.of(last, first, math.log)
    assert set(one.base) == set(one.drift) == set(first) & set(last)
    for block, base in one.base.items():
        ends = sorted((first[block], last[block]))
        assert ends[0] * (1 - 1e-12) <= base <= ends[1] * (1 + 1e-12)
        assert one.drift[block] == pytest.approx(-other.drift[block])
    assert one.floor == (pytest.approx(other.floor) if one.base else None)
    assert one.unstable == tuple(b for b in one.drift if b in other.unstable)
