"""What a run of primitives is summed up to."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bench.analysis import primitives
from bench.model import Case, Finding, Interval, Tenant
from bench.render import verdicts


def a_finding(step: str, name: str, seconds: float | None) -> Finding:
    case = Case(
        id=f"primitives/host/{name}", experiment="primitives", runtime="host",
        tenants=(Tenant(name, "", {}, {}),), params={"primitive": name},
    )  # fmt: skip
    measured = None if seconds is None else Interval(seconds, None, None, 3)
    return replace(primitives._blank(case, step), measured=measured)


@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(1e-6, 10.0), min_size=1))
def test_the_slowest_to_make_is_named_whatever_the_order(times):
    found = [a_finding("create", name, seconds) for name, seconds in times.items()]
    said = primitives.conclusion(found)
    slowest = max(times.values())
    assert any(
        f"slowest to make is {n} ({slowest * 1e3:.3g} ms)" in said for n, t in times.items() if t == slowest
    )
    assert primitives.conclusion(found[::-1]).startswith("Alone and with warm caches")


def test_making_and_unmaking_are_told_apart():
    found = [a_finding("create", "veth", 0.002), a_finding("destroy", "veth", 0.001),
             a_finding("destroy", "bridge", 0.035), a_finding("create", "bridge", None)]  # fmt: skip
    assert primitives.conclusion(found) == (
        "Alone and with warm caches, slowest to make is veth (2 ms) and slowest to unmake is bridge (35 ms)."
    )


def test_nothing_measured_is_said():
    assert primitives.conclusion([a_finding("create", "veth", None)]) == "No primitive was measured."


def test_without_a_tolerance_the_first_stands_for_the_others_whatever_its_ratio():
    slowest = a_finding("create", "veth", 0.002)
    compared = replace(a_finding("create", "namespace.net", 0.001), deviation=Interval(11.9, None, None, 3))
    assert verdicts.telling([slowest, compared]) is slowest
