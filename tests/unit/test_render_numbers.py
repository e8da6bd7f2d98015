"""Numbers for people: units, signs, missing values."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model import Finding, Interval
from bench.render import numbers

FINDING = Finding(
    id="x/docker/0.5 cores", experiment="x", section="cpu", runtime="docker", label="0.5 cores", limit="cpu",
    control=False, requested=0.5, effective=0.5, effective_source="/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us",
    expected=0.5, measured=Interval(0.498, 0.4951, 0.5012, 5), deviation=Interval(-0.004, -0.009, 0.001, 5),
    scale="relative", tolerance=(-0.05, 0.05), unit="cores", verdict="pass", reason="",
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "unit", "limit", "text"),
    [
        (0.498, "cores", None, "0.498 cores"),
        (0.0501, "s", None, "50.1 ms"),
        (2.6e-5, "s", None, "26.0 µs"),
        (3.0, "s", None, "3.00 s"),
        (0, "s", None, "0 ms"),
        (134217728, "bytes", "memory", "128.0 MiB"),
        (134217728, "B", None, "128.0 MiB"),
        (10e6, "bytes/s", "io.write", "10.00 MB/s"),
        (11950000.0, "bytes/s", "net.egress", "95.60 Mbit/s"),
        (200.0, "1/s", "io.write_iops", "200 IOPS"),
        (0.798, "share", None, "79.8 %"),
        (-0.0001, "share", None, "0.0 %"),
        (64.0, "tasks", "pids", "64 tasks"),
        (1234567, "", None, "1\u202f234\u202f567"),
        (True, "", None, "yes"),
        ("0-1", "", None, "0-1"),
        (None, "cores", None, "–"),
        (math.nan, "cores", None, "–"),
    ],
)
def test_a_quantity_is_shown_in_the_unit_people_use(value, unit, limit, text):
    assert numbers.quantity(value, unit, limit) == text.replace(" ", numbers.SPACE)


@pytest.mark.parametrize(
    ("value", "scale", "unit", "text"),
    [
        (-0.004, "relative", "cores", "−0.4 %"),
        (0.0, "relative", "cores", "±0.0 %"),
        (0.00004, "relative", "cores", "±0.0 %"),
        (2.88, "relative", "cores", "+288 %"),
        (19.0, "relative", "cores", "×20.0"),
        (0.012, "absolute", "share", "+1.2 pp"),
        (97.0, "absolute", "tasks", "+97 tasks"),
        (-3.0, "absolute", "tasks", "−3 tasks"),
        (0.0, "absolute", "tasks", "±0"),
        (None, "relative", "cores", "–"),
    ],
)
def test_a_deviation_has_a_sign_and_the_unit_of_its_scale(value, scale, unit, text):
    assert numbers.change(value, scale, unit) == text.replace(" ", numbers.SPACE)


@pytest.mark.parametrize(
    ("tolerance", "rule", "scale", "unit", "text"),
    [
        ((-0.05, 0.05), "two-sided", "relative", "cores", "±5 %"),
        ((-0.1, 0.01), "two-sided", "relative", "bytes", "−10 … +1 %"),
        ((0.0, 0.001), "two-sided", "absolute", "share outside", "0 … +0.1 pp"),
        ((0.0, 0.01), "at-most", "relative", "bytes", "at most +1 %"),
        ((0.0, 0.0), "at-least", "relative", "cores", "at least expected"),
        ((0.0, 0.0), "two-sided", "absolute", "tasks", "exact"),
        (None, "fact", "relative", "CPUs", "–"),
    ],
)
def test_a_tolerance_says_what_is_allowed(tolerance, rule, scale, unit, text):
    finding = replace(FINDING, tolerance=tolerance, scale=scale, unit=unit)
    assert numbers.tolerance(finding, rule).replace(numbers.SPACE, " ") == text


def test_an_interval_names_its_unit_once():
    assert numbers.interval(FINDING).replace(numbers.SPACE, " ") == "0.495 … 0.501 cores"
    assert numbers.deviation_interval(FINDING).replace(numbers.SPACE, " ") == "−0.9 … +0.1 %"


def test_below_two_trials_there_is_no_interval():
    single = replace(FINDING, measured=Interval(0.5, None, None, 1), deviation=Interval(0.0, None, None, 1))
    assert numbers.interval(single) == ""
    assert numbers.deviation_interval(single) == ""


UNITS = ["cores", "s", "bytes", "B", "bytes/s", "1/s", "share", "tasks", "", "odd"]


@given(
    st.one_of(st.none(), st.floats(), st.integers(-(10**18), 10**18), st.booleans()), st.sampled_from(UNITS)
)
def test_any_number_has_a_text_without_exponent_or_ascii_minus(value, unit):
    text = numbers.quantity(value, unit)
    assert text
    assert "-" not in text
    assert "nan" not in text
    assert "inf" not in text


@given(st.floats(1e-6, 1e15))
def test_grouping_keeps_the_value(value):
    shown = float(numbers.plain(value, 6).replace("\u202f", ""))
    assert shown == pytest.approx(value, rel=1e-5, abs=1e-6)


@given(
    st.floats(-1e6, 1e6),
    st.sampled_from(["relative", "absolute"]),
    st.sampled_from(["share", "tasks", "cores"]),
)
def test_a_deviation_never_loses_its_direction(value, scale, unit):
    text = numbers.change(value, scale, unit)
    if "−" in text:
        assert value < 0
    if text.startswith("+") or text.startswith("×"):
        assert value > 0
