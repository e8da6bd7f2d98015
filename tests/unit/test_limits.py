from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import limits
from bench.errors import UsageError


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("cpu", "0.5", 0.5),
        ("cpu", 2, 2.0),
        ("memory", "256MiB", 2**28),
        ("memory", "1G", 10**9),
        ("memory", 4096, 4096),
        ("swap", 0, 0),
        ("io.write", "10MB/s", 10_000_000.0),
        ("net.egress", "100Mbit/s", 12_500_000.0),
        ("cpuset", "3,0-1", "0-1,3"),
        ("pids", "64", 64),
    ],
)
def test_human_units_become_si(name, text, value):
    assert limits.parse(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cpu", "half"), ("cpu", "0"), ("cpu", "1MiB"), ("cpu", True), ("memory", "10MB/s"), ("memory", "-1"),
        ("cpuset", "2-1"), ("cpuset", "a"), ("cpuset", "-1"), ("cpu.weight", 0), ("cpu.weight", 10001),
        ("pids", "0"), ("io.read", "ten"), ("memory", "nan"), ("memory", "1e400"),
    ],
)  # fmt: skip
def test_what_does_not_parse_says_how_to_write_it(name, text):
    with pytest.raises(UsageError) as caught:
        limits.parse(name, text)
    assert caught.value.fix
    assert caught.value.exit_code == 2


def test_an_unknown_limit_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'memory'"):
        limits.parse("memroy", 1)


@given(st.sets(st.integers(0, 300), min_size=1))
def test_cpu_lists_survive_a_round_trip(cpus):
    assert limits.parse_cpus(limits.format_cpus(cpus)) == tuple(sorted(cpus))


@given(st.integers(1, 2**50))
def test_shown_bytes_are_close_to_what_they_say(value):
    shown = limits.show("memory", value).replace(" ", "").replace("TiB", "Ti")
    assert limits.quantity(shown)[0] == pytest.approx(value, rel=1e-3)


@given(st.text(max_size=12))
def test_any_text_parses_or_is_refused_politely(text):
    for name in limits.LIMITS:
        try:
            limits.parse(name, text)
        except UsageError as error:
            assert error.fix


def test_every_limit_has_an_example_that_parses():
    for limit in limits.LIMITS.values():
        limits.parse(limit.name, limits.example(limit))
