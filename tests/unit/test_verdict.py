"""The verdict rule, on made-up numbers: every path to a verdict, and properties that always hold."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.basis import Basis, Holding
from bench.analysis.stats import interval
from bench.analysis.verdict import bounds, judge
from bench.model import VERDICTS, Exit, Judgement

DONE = Exit("exited", 0)
OOM = Exit("oom", signal=9)
CEILING = Judgement("rate", "cpu.usage", limit="cpu", tolerance=(-0.05, 0.05), headroom=1.2)
KILLED = Judgement(
    "observed",
    "memory.rss_anon",
    limit="memory",
    tolerance=(-0.1, 0.01),
    exit="oom",
    event="memory.events.oom_kill",
)
SHARE = Judgement("share", "cpu.usage", limit="cpu.weight", tolerance=(-0.02, 0.02), scale="absolute")
FENCE = Judgement("outside", "cpu.seconds_on", limit="cpuset", tolerance=(0.0, 0.001), scale="absolute")


def basis(judgement: Judgement = CEILING, *values: float | None, **changes: Any) -> Basis:
    numbers = values or (0.498, 0.499, 0.5, 0.501, 0.502)
    exit_ = OOM if judgement.exit == "oom" else DONE
    defaults: dict[str, Any] = {
        "judgement": judgement, "expected": 0.5, "values": numbers, "unlimited": 2.0,
        "exits": tuple((("a", exit_),) for _ in numbers),
        "events": tuple(1.0 for _ in numbers) if judgement.event else (),
    }  # fmt: skip
    return Basis(**(defaults | changes))


def exits(*of_trials: Exit) -> tuple[tuple[tuple[str, Exit], ...], ...]:
    return tuple((("a", e),) for e in of_trials)


# --- the number ---------------------------------------------------------------------------------


def test_an_interval_inside_the_tolerance_passes() -> None:
    assert judge(basis()).verdict == "pass"


def test_an_interval_across_the_edge_is_inconclusive() -> None:
    assert judge(basis(CEILING, 0.50, 0.53, 0.55)).verdict == "inconclusive"


def test_a_value_clearly_above_but_below_the_unlimited_one_fails() -> None:
    assert judge(basis(CEILING, 0.8, 0.801, 0.802)).verdict == "fail"


def test_a_value_clearly_below_fails() -> None:
    assert judge(basis(CEILING, 0.3, 0.301, 0.302)).verdict == "fail"


def test_what_an_unlimited_workload_gets_is_not_enforced() -> None:
    assert judge(basis(CEILING, 1.97, 1.98, 1.99)).verdict == "not enforced"


def test_one_trial_is_inconclusive() -> None:
    assert judge(basis(CEILING, 0.5)).verdict == "inconclusive"


def test_trials_that_agree_exactly_can_pass_an_exact_tolerance() -> None:
    exact = Judgement("peak", "pids.current", limit="pids", scale="absolute", tolerance=(0.0, 0.0))
    assert judge(basis(exact, 64.0, 64.0, 64.0, expected=64.0, unlimited=160.0)).verdict == "pass"
    assert judge(basis(exact, 65.0, 65.0, 65.0, expected=64.0, unlimited=160.0)).verdict == "fail"


def test_at_most_leaves_the_low_side_open_and_at_least_the_high_side() -> None:
    most = Judgement("peak", "memory.peak", rule="at-most", tolerance=(0.0, 0.01))
    least = Judgement("rate", "cpu.usage", rule="at-least", tolerance=(0.0, 0.0), options={"binds": False})
    assert judge(basis(most, 0.1, 0.11, 0.12)).verdict == "pass"
    assert judge(basis(least, 1.9, 1.91, 1.92)).verdict == "pass"
    assert judge(basis(least, 0.3, 0.31, 0.32)).verdict == "fail"


def test_a_third_and_more_of_trials_without_a_number_is_no_pass() -> None:
    some = judge(basis(CEILING, 0.5, None, 0.5, None, 0.5, missing="no samples"))
    assert some.verdict == "inconclusive"
    assert "no samples" in some.why
    assert judge(basis(CEILING, 0.5, None, 0.5, 0.5, 0.5, missing="no samples")).verdict == "pass"


def test_no_number_at_all_is_not_testable_with_the_reason() -> None:
    ruling = judge(basis(CEILING, None, None, missing="cpu.usage was not sampled"))
    assert (ruling.verdict, ruling.why) == ("not testable", "cpu.usage was not sampled")


# --- before the number --------------------------------------------------------------------------


def test_a_limit_the_kernel_does_not_hold_is_not_enforced_whatever_was_measured() -> None:
    ruling = judge(basis(holding=Holding("unlimited", "cpu.max holds no limit")))
    assert (ruling.verdict, ruling.why) == ("not enforced", "cpu.max holds no limit")


def test_a_lower_limit_of_a_parent_is_not_testable() -> None:
    ruling = judge(basis(holding=Holding("ancestor", "a parent holds 0.25 cores")))
    assert ruling.verdict == "not testable"
    assert ruling.fix


def test_another_value_than_asked_fails() -> None:
    ruling = judge(basis(holding=Holding("different", "asked 0.5, holds 1")))
    assert ruling.verdict == "fail"
    assert "configured ≠ effective" in ruling.why


def test_a_limit_that_could_not_be_read_back_is_judged_by_what_was_measured() -> None:
    assert judge(basis(holding=Holding("unknown", "was not read back"))).verdict == "pass"


def test_a_fact_has_no_verdict() -> None:
    assert judge(basis(replace(CEILING, rule="fact"))).verdict is None


def test_without_headroom_nothing_can_be_told() -> None:
    ruling = judge(basis(unlimited=0.55))
    assert ruling.verdict == "not testable"
    assert "1.1 ×" in ruling.why


def test_without_a_control_only_the_kernels_counter_lets_a_row_be_judged() -> None:
    counted = replace(CEILING, event="cpu.nr_throttled")
    without = basis(counted, unlimited=None)
    assert judge(without).verdict == "pass"
    assert "counter" in judge(without).why
    for silent in ((0.0,) * 5, (None,) * 5, (), (9.0, 9.0, 0.0, 9.0, 9.0), (9.0, 9.0, None, 9.0, 9.0)):
        ruling = judge(replace(without, events=silent))
        assert ruling.verdict == "not testable"
        assert ruling.fix


def test_bytes_written_are_no_proof_that_a_limit_acted() -> None:
    written = replace(CEILING, event="io.wbytes")
    assert judge(basis(written, unlimited=None)).verdict == "not testable"
    assert judge(basis(written)).verdict == "pass"


def test_a_kill_is_proof_without_a_control_and_without_a_counter() -> None:
    assert judge(basis(KILLED, unlimited=None, events=(None,) * 5)).verdict == "pass"
    alive = exits(OOM, OOM, OOM, OOM, DONE)
    assert judge(basis(KILLED, unlimited=None, events=(None,) * 5, exits=alive)).verdict == "not testable"


def test_a_control_that_ran_another_image_says_so() -> None:
    ruling = judge(basis(unlimited=None, unlimited_reason="the control ran another image"))
    assert (ruling.verdict, ruling.why) == ("not testable", "the control ran another image")


def test_a_limit_that_should_not_bind_needs_no_control_and_is_never_called_unenforced() -> None:
    below = replace(CEILING, options={"binds": False})
    assert judge(basis(below, unlimited=None)).verdict == "pass"
    assert judge(basis(below, 2.0, 2.0, 2.0)).verdict == "fail"


def test_nothing_to_expect_is_not_testable() -> None:
    ruling = judge(basis(expected=None, expected_reason="no control without limits was run"))
    assert (ruling.verdict, ruling.why) == ("not testable", "no control without limits was run")


# --- shares and fences --------------------------------------------------------------------------


def test_a_share_at_its_weight_passes_without_a_control() -> None:
    assert judge(basis(SHARE, 0.80, 0.801, 0.799, expected=0.8, unlimited=None, tenants=2)).verdict == "pass"


def test_an_even_share_where_another_was_due_is_not_enforced() -> None:
    assert judge(basis(SHARE, 0.5, 0.501, 0.502, expected=0.8, tenants=2)).verdict == "not enforced"


def test_a_share_beyond_its_weight_fails() -> None:
    assert judge(basis(SHARE, 0.95, 0.951, 0.952, expected=0.8, tenants=2)).verdict == "fail"


def test_an_even_split_can_pass_for_the_limited_but_says_nothing_of_the_control() -> None:
    even = basis(SHARE, 0.5, 0.5, 0.5, expected=0.5, tenants=2)
    assert judge(even).verdict == "pass"
    assert judge(replace(even, control=True)).verdict == "not testable"


def test_a_fence_needs_a_control_that_strays() -> None:
    inside = basis(FENCE, 0.0, 0.0, 0.0, expected=0.0, unlimited=0.5)
    assert judge(inside).verdict == "pass"
    assert judge(replace(inside, unlimited=0.01)).verdict == "not testable"
    assert judge(replace(inside, values=(0.5, 0.5, 0.5))).verdict == "not enforced"
    assert judge(replace(inside, values=(0.1, 0.1, 0.1))).verdict == "fail"


# --- emulated machines --------------------------------------------------------------------------

THROTTLED = replace(CEILING, event="cpu.nr_throttled")
WRITTEN = replace(CEILING, event="io.wbytes")


def test_an_emulated_guest_that_is_too_slow_for_the_limit_does_not_fail_it() -> None:
    slow = basis(THROTTLED, 0.3, 0.301, 0.302, events=(0.0, 0.0, 0.0), emulated=True)
    ruling = judge(slow)
    assert ruling.verdict == "not testable"
    assert "does not reach the limit (cpu.nr_throttled counted 0 times in 3 trials)" in ruling.why
    assert "/dev/kvm" in ruling.fix
    assert judge(replace(slow, emulated=False)).verdict == "fail"


def test_too_little_fails_in_an_emulated_guest_as_well_where_the_limit_acted() -> None:
    held = basis(THROTTLED, 0.3, 0.301, 0.302, events=(0.0, 9.0, 9.0), emulated=True)
    assert judge(held).verdict == "fail"
    short = basis(KILLED, 0.3, 0.301, 0.302, exits=exits(OOM, OOM, OOM), events=(None,) * 3, emulated=True)
    assert judge(short).verdict == "fail"


def test_bytes_written_do_not_tell_a_slow_emulator_from_a_limit() -> None:
    slow = basis(WRITTEN, 0.3, 0.301, 0.302, events=(9.0, 9.0, 9.0), emulated=True)
    assert judge(slow).verdict == "not testable"
    assert "nothing counts here" in judge(slow).why
    seen = replace(slow, reached=0.6)
    assert judge(seen).verdict == "fail"  # it took more than this limit under another one


def test_a_pass_of_an_emulated_guest_says_that_its_own_speed_was_not_measured() -> None:
    passed = basis(WRITTEN, events=(9.0,) * 5, emulated=True)
    assert judge(passed).verdict == "pass"
    assert "without the limit was not measured" in judge(passed).why
    assert judge(replace(passed, reached=0.61)).why == ""
    assert judge(replace(passed, emulated=False)).why == ""
    assert judge(basis(THROTTLED, events=(9.0,) * 5, emulated=True)).why == ""


def test_a_bound_from_native_speed_is_no_test_of_an_emulated_guest() -> None:
    slowed = replace(CEILING, rule="at-most", expected="capacity", tolerance=(0.0, 0.0), headroom=None)
    low = basis(slowed, 0.1, 0.11, 0.12, emulated=True)
    assert judge(low).verdict == "not testable"
    assert "native speed" in judge(low).why
    assert judge(replace(low, emulated=False)).verdict == "pass"


def test_a_control_in_the_same_guest_is_a_control_like_any() -> None:
    slowed = replace(CEILING, rule="at-most", expected="capacity", tolerance=(0.0, 0.0), headroom=None)
    low = basis(slowed, 0.1, 0.11, 0.12, emulated=True, alike=True)
    assert judge(low).verdict == "pass"
    slow = basis(THROTTLED, 0.3, 0.301, 0.302, events=(0.0, 0.0, 0.0), emulated=True, alike=True)
    assert judge(slow).verdict == "fail"


def test_an_emulated_machine_that_needs_more_than_its_workload_is_not_a_limit_that_failed() -> None:
    below = replace(
        CEILING, event="cpu.nr_throttled", event_rule="few", event_per="cpu.nr_periods", event_bound=0.1,
        options={"binds": False},
    )  # fmt: skip
    busy = basis(below, 0.7, 0.71, 0.72, events=(0.0,) * 3, per=(20.0,) * 3, emulated=True)
    assert judge(busy).verdict == "not testable"
    assert "takes more than the workload asks for" in judge(busy).why
    assert judge(replace(busy, events=(9.0,) * 3)).verdict == "fail"
    assert judge(replace(busy, emulated=False)).verdict == "fail"


def test_shares_of_emulated_machines_are_judged_like_any() -> None:
    even = basis(SHARE, 0.5, 0.501, 0.502, expected=0.8, tenants=2, emulated=True)
    assert judge(even).verdict == "not enforced"


@given(st.lists(st.floats(0.01, 3.0), min_size=2, max_size=6), st.booleans())
def test_emulation_never_turns_a_verdict_into_a_pass(values: list[float], acted: bool) -> None:
    one = basis(THROTTLED, *values, events=(float(acted),) * len(values))
    plain, emulated = judge(one).verdict, judge(replace(one, emulated=True)).verdict
    assert emulated in (plain, "not testable")
    assert plain != "not enforced" or emulated == plain


# --- exits and events ---------------------------------------------------------------------------


def test_a_kill_at_the_limit_passes() -> None:
    assert judge(basis(KILLED)).verdict == "pass"


def test_a_workload_that_completes_beyond_the_limit_is_not_enforced() -> None:
    free = basis(KILLED, 2.0, 2.0, 2.0, exits=exits(DONE, DONE, DONE), events=(0.0,) * 3)
    assert judge(free).verdict == "not enforced"


def test_a_value_that_fits_without_the_kill_fails() -> None:
    ruling = judge(basis(KILLED, 0.5, 0.5, 0.5, exits=exits(OOM, DONE, OOM)))
    assert ruling.verdict == "fail"
    assert "1 of 3 trials" in ruling.why


def test_a_workload_that_dies_where_it_should_complete_fails_and_names_the_tenant() -> None:
    ruling = judge(basis(CEILING, 0.5, 0.5, 0.5, exits=exits(DONE, OOM, DONE)))
    assert ruling.verdict == "fail"
    assert "tenant a OOM-killed in 1 of 3 trials" in ruling.why


def test_a_control_that_dies_is_not_testable() -> None:
    ruling = judge(basis(CEILING, 2.0, 2.0, 2.0, exits=exits(OOM, OOM, OOM), control=True))
    assert ruling.verdict == "not testable"


@pytest.mark.parametrize(("end", "verdict"), [(Exit("deadline"), "pass"), (DONE, "pass"), (OOM, "fail")])
def test_a_throttle_may_slow_to_the_deadline_but_not_kill(end: Exit, verdict: str) -> None:
    throttle = replace(CEILING, exit="slowed")
    assert judge(basis(throttle, 0.5, 0.5, 0.5, exits=exits(DONE, end, DONE))).verdict == verdict


def test_a_bad_exit_status_is_no_pass() -> None:
    assert judge(basis(CEILING, 0.5, 0.5, 0.5, exits=exits(DONE, Exit("exited", 1), DONE))).verdict == "fail"


def test_a_silent_counter_turns_a_pass_into_inconclusive() -> None:
    counted = replace(CEILING, event="cpu.nr_throttled")
    ruling = judge(basis(counted, events=(20.0, 20.0, 0.0, 20.0, 20.0)))
    assert ruling.verdict == "inconclusive"
    assert "something else may have limited it" in ruling.why


def test_a_counter_the_kernel_does_not_have_leaves_a_pass_with_a_note() -> None:
    ruling = judge(basis(replace(CEILING, event="cpu.nr_throttled"), events=(None,) * 5))
    assert ruling.verdict == "pass"
    assert "no counter cpu.nr_throttled" in ruling.why


def test_a_control_is_judged_by_its_value_alone() -> None:
    unbound = replace(CEILING, event="cpu.nr_throttled", options={"binds": False})
    assert judge(basis(unbound, events=(0.0,) * 5, control=True)).verdict == "pass"
    assert judge(basis(unbound, events=(0.0,) * 5)).verdict == "inconclusive"


def test_few_and_none_bound_the_counter_from_above() -> None:
    few = replace(
        CEILING, event="cpu.nr_throttled", event_rule="few", event_per="cpu.nr_periods", event_bound=0.1
    )
    assert judge(basis(few, events=(2.0,) * 5, per=(20.0,) * 5)).verdict == "pass"
    assert judge(basis(few, events=(3.0,) * 5, per=(20.0,) * 5)).verdict == "fail"
    assert judge(basis(few, events=(3.0,) * 5, per=(None,) * 5)).verdict == "pass"
    none = replace(CEILING, event="memory.events.oom_kill", event_rule="none")
    assert judge(basis(none, events=(0.0,) * 5)).verdict == "pass"
    assert judge(basis(none, events=(0.0, 0.0, 1.0, 0.0, 0.0))).verdict == "fail"


def test_kills_outside_the_limit_turn_a_pass_into_a_fail() -> None:
    ruling = judge(basis(KILLED, spilled=(0.0, 1.0, 0.0, None, 0.0)))
    assert ruling.verdict == "fail"
    assert judge(basis(KILLED, spilled=(0.0, None, 0.0, 0.0, 0.0))).verdict == "pass"


# --- properties ---------------------------------------------------------------------------------

numbers = st.floats(min_value=0.001, max_value=1e12, allow_nan=False)
exit_values = st.sampled_from([DONE, OOM, Exit("exited", 1), Exit("deadline"), Exit("signalled", signal=9)])
judgements = st.builds(
    Judgement,
    measure=st.sampled_from(["rate", "share", "peak", "observed", "outside"]),
    metric=st.just("x"),
    rule=st.sampled_from(["two-sided", "at-most", "at-least", "fact"]),
    tolerance=st.tuples(st.floats(-1, 0), st.floats(0, 1)),
    scale=st.sampled_from(["relative", "absolute"]),
    headroom=st.sampled_from([None, 1.2, 2.0]),
    event=st.sampled_from([None, "e"]),
    event_rule=st.sampled_from(["some", "few", "none"]),
    exit=st.sampled_from(["completed", "oom", "slowed", "any"]),
    options=st.sampled_from([{}, {"binds": False}]),
)
counts = st.lists(st.one_of(st.none(), st.integers(0, 100).map(float)), max_size=6).map(tuple)
bases = st.builds(
    Basis,
    judgement=judgements,
    expected=st.one_of(st.none(), st.just(0.0), numbers),
    values=st.lists(st.one_of(st.none(), numbers), max_size=6).map(tuple),
    exits=st.lists(exit_values, max_size=6).map(lambda found: exits(*found)),
    control=st.booleans(),
    missing=st.just("why"),
    testable=st.booleans(),
    unlimited=st.one_of(st.none(), numbers),
    holding=st.builds(Holding, st.sampled_from(["held", "unlimited", "ancestor", "different", "unknown"])),
    events=counts,
    per=counts,
    spilled=counts,
    tenants=st.integers(1, 3),
)


@given(bases)
def test_every_basis_gets_a_known_verdict(given_basis: Basis) -> None:
    ruling = judge(given_basis)
    assert ruling.verdict in (*VERDICTS, None)
    assert (ruling.verdict is None) == (given_basis.judgement.rule == "fact")
    assert ruling.verdict == "pass" or ruling.verdict is None or ruling.why or ruling.fix or (
        given_basis.holding.text == ""
    )  # fmt: skip


@given(bases)
def test_a_pass_always_has_its_whole_interval_inside(given_basis: Basis) -> None:
    ruling = judge(given_basis)
    if ruling.verdict != "pass":
        return
    low, high = bounds(given_basis.judgement)
    assert ruling.deviation is not None
    assert ruling.deviation.n >= 2
    assert ruling.deviation.low is not None and ruling.deviation.high is not None
    assert ruling.deviation.low >= low - 1e-9
    assert ruling.deviation.high <= high + 1e-9
    assert given_basis.control or given_basis.holding.state in ("held", "unknown")


@given(bases)
def test_a_wider_tolerance_never_breaks_a_pass(given_basis: Basis) -> None:
    if judge(given_basis).verdict != "pass" or given_basis.judgement.measure == "share":
        return
    low, high = given_basis.judgement.tolerance
    wider = replace(given_basis.judgement, tolerance=(low - 1, high + 1))
    assert judge(replace(given_basis, judgement=wider)).verdict == "pass"


@given(bases, st.randoms(use_true_random=False))
def test_the_order_of_trials_does_not_matter(given_basis: Basis, random: Any) -> None:
    n = min(len(given_basis.values), len(given_basis.exits), len(given_basis.events), len(given_basis.per))
    cut = replace(
        given_basis, values=given_basis.values[:n], exits=given_basis.exits[:n],
        events=given_basis.events[:n], per=given_basis.per[:n], spilled=(),
    )  # fmt: skip
    order = list(range(n))
    random.shuffle(order)
    shuffled = replace(
        cut, values=tuple(cut.values[i] for i in order), exits=tuple(cut.exits[i] for i in order),
        events=tuple(cut.events[i] for i in order), per=tuple(cut.per[i] for i in order),
    )  # fmt: skip
    assert judge(cut).verdict == judge(shuffled).verdict


@given(st.lists(numbers, min_size=2, max_size=12))
def test_an_interval_holds_its_estimate_and_scales_with_the_values(values: list[float]) -> None:
    found, twice = interval(values), interval([2 * v for v in values])
    assert found is not None and twice is not None and found.low is not None and found.high is not None
    slack = 1e-9 * max(values)
    assert found.low - slack <= found.estimate <= found.high + slack
    assert twice.high == pytest.approx(2 * found.high)
    assert found.n == len(values)


def test_the_interval_is_students() -> None:
    found = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found is not None and found.low is not None
    # t(0.975, 4) = 2.776445; s = sqrt(2.5); half = t s / sqrt(5)
    assert found.low == pytest.approx(3 - 2.776445 * math.sqrt(2.5 / 5), rel=1e-6)
    one = interval([3.0])
    assert one is not None
    assert (one.low, one.high) == (None, None)
    assert interval([]) is None
