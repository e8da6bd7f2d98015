"""Straight lines: exact ones are found, SciPy agrees, and what is no line is refused."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import curve_fit
from scipy.stats import linregress, theilslopes

from bench.analysis import lines

NUMBERS = st.floats(-1e6, 1e6).map(lambda v: round(v, 3))
POINTS = st.lists(st.tuples(st.integers(0, 200).map(float), NUMBERS), min_size=3, max_size=30)
SIZES = (4096.0, 65536.0, 2.0**20, 2.0**24, 2.0**28)


@given(POINTS)
def test_theil_sen_is_scipys(points):
    x, y = zip(*points, strict=True)
    assume(len(set(x)) > 1)
    line, (slope, at_zero, *_) = lines.theil_sen(x, y), theilslopes(y, x)
    assert line.slope == pytest.approx(slope, abs=1e-9) and line.at_zero == pytest.approx(at_zero, abs=1e-6)


@given(POINTS)
def test_the_ordinary_line_is_scipys(points):
    x, y = zip(*points, strict=True)
    assume(len(set(x)) > 1 and len(set(y)) > 1)
    line, found = lines.ordinary(x, y), linregress(x, y)
    assert line.slope == pytest.approx(found.slope, abs=1e-6, rel=1e-6)
    assert line.r2 == pytest.approx(found.rvalue**2, abs=1e-6)


@given(st.lists(st.floats(0.7, 1.4), min_size=5, max_size=5), st.floats(1e-5, 1e-2), st.floats(1e-10, 1e-8))
def test_the_relative_line_is_that_of_weighted_least_squares(noise, at_zero, slope):
    y = [(at_zero + slope * x) * n for x, n in zip(SIZES, noise, strict=True)]
    line = lines.relative(SIZES, y)
    (b, a), _ = curve_fit(lambda x, b, a: a + b * x, SIZES, y, sigma=y, p0=(slope, at_zero))
    assert line.slope == pytest.approx(b, rel=1e-4) and line.at_zero == pytest.approx(a, rel=1e-4)
    assert line.r2 <= lines.ordinary(SIZES, y).r2 + 1e-12, "the plain fit has the highest R² there is"


@given(st.floats(1e-6, 1e-1), st.floats(1e-11, 1e-7))
def test_an_exact_line_is_found_with_its_small_end(at_zero, slope):
    line = lines.relative(SIZES, [at_zero + slope * x for x in SIZES])
    assert line.slope == pytest.approx(slope, rel=1e-6) and line.at_zero == pytest.approx(at_zero, rel=1e-5)
    assert line.r2 == pytest.approx(1.0)


def test_a_constant_time_has_no_line_worth_the_name():
    assert lines.relative(SIZES, [1e-3, 1.2e-3, 0.9e-3, 1.1e-3, 1e-3]).r2 < 0.5


@given(st.floats(0.1, 1e6), st.integers(5, 20), st.floats(1e3, 1e9))
def test_one_disturbed_level_does_not_move_theil_and_sens_slope_far(slope, count, error):
    x = [float(n) for n in range(1, count + 1)]
    y = [slope * n for n in x]
    y[count // 2] += error
    assert lines.theil_sen(x, y).slope == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("fit", [lines.relative, lines.ordinary, lines.theil_sen])
def test_points_above_each_other_are_no_line(fit):
    assert fit([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]) is None


@pytest.mark.parametrize("fit", [lines.relative, lines.ordinary])
def test_two_points_are_not_enough(fit):
    assert fit([1.0, 2.0], [1.0, 2.0]) is None


def test_a_time_of_nothing_is_no_relative_line():
    assert lines.relative([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]) is None
