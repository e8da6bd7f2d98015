"""P06, P18, P19 and P20 held against cells whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interference_material import Deed, a_plan, a_run, believable

from bench.analysis import interference
from bench.analysis.claims import bound
from bench.analysis.interference_claims import CLAIMS, evaluate
from bench.analysis.series import Series
from bench.model import Interval

NO_SAMPLES = pd.DataFrame(
    {"trial": [], "tenant": [], "collector": [], "metric": [], "time": [], "value": []}
).astype({"trial": int, "time": float, "value": float})


def claims(does, **plan):
    run = a_run(a_plan(**plan), does)
    return evaluate(interference.matrix(run, Series(NO_SAMPLES)))


def words(found, id_, part, runtime="docker"):
    return next(
        one.word for one in found
        if one.claim.id == id_ and part in one.claim.text and (runtime in one.claim.text or runtime == "")
    )  # fmt: skip


@given(st.floats(-5, 5), st.floats(0, 3), st.floats(-5, 5))
def test_only_an_interval_that_is_clear_of_the_bound_decides(middle, half, edge):
    found = Interval(middle, middle - half, middle + half, 5)
    least, most = bound(found, least=edge), bound(found, most=edge)
    if found.low < edge < found.high:
        assert least == most == "inconclusive"
    if found.low > edge:
        assert (least, most) == ("reproduced", "inverted")
    if found.high < edge:
        assert (least, most) == ("inverted", "reproduced")


def test_without_an_interval_nothing_is_decided_and_without_a_number_nothing_applies():
    assert bound(Interval(9, None, None, 1), least=1) == "inconclusive"
    assert bound(None, least=1) == "not applicable"


def test_limits_on_tasks_hold_a_fork_bomb_off_and_without_them_the_victim_is_silent():
    found = claims(believable)
    assert words(found, "P06", "at most 1.5 times") == "reproduced"
    assert words(found, "P06", "longer at p99 without") == "reproduced"


def test_a_side_that_was_not_tried_or_hardly_decides_nothing_of_a_silent_victim():
    run = a_run(a_plan(), believable)

    def of(records):
        return evaluate(interference.matrix(replace(run, records=tuple(records)), Series(NO_SAMPLES)))

    free = [r for r in run.records if r.params["control"] == "none"]
    assert words(of(free), "P06", "longer at p99 without", "") == "not applicable"
    one = of(r for r in run.records if r.block == 0)
    assert words(one, "P06", "longer at p99 without") == "inconclusive"
    silent = a_run(a_plan(), lambda case, block: Deed(0.0, 0.0, silent_from=5))
    hardly = replace(silent, records=tuple(r for r in silent.records if r.block == 0))
    for left, word in ((silent, "inverted"), (hardly, "inconclusive")):
        found = evaluate(interference.matrix(left, Series(NO_SAMPLES)))
        assert words(found, "P06", "at most 1.5 times") == word


def test_a_limit_that_does_not_hold_inverts_the_claim():
    found = claims(
        lambda case, block: believable(replace(case, params={**case.params, "control": "none"}), block)
    )
    assert words(found, "P06", "at most 1.5 times") == "inverted"
    assert words(found, "P18", "at most 10 %") == "inverted"
    # What is the same with limits and without is not strictly worse.
    assert words(found, "P18", "lose more without") != "reproduced"


def test_hard_limits_keep_the_loss_small_make_the_aggressor_pay_and_are_better_than_none():
    def held(case, block):
        deed = believable(case, block)
        limited = case.params["control"] == "limits" and case.params["aggressor"] != "sleep"
        return replace(deed, during=0.95 - 0.003 * block) if limited else deed

    found = claims(held)
    assert words(found, "P18", "at most 10 %") == "reproduced"
    # 10 to 20 % of its own, and 5 % of the victim's.
    assert words(found, "P18", "no less of their own") == "reproduced"
    assert words(found, "P18", "lose more without") == "reproduced"
    greedy = claims(lambda case, block: replace(held(case, block), other=100.0, alone=100.0))
    assert words(greedy, "P18", "no less of their own") == "inverted"


def test_what_was_only_borrowed_is_no_excess():
    from interference_material import ARGS

    plan = a_plan(victims=("cpu",), aggressors=("sleep", "cpu"))
    wanting = tuple(
        replace(c, tenants=tuple(replace(t, args={**ARGS, "load": 1.0}) for t in c.tenants))
        for c in plan.cases
    )
    run = a_run(
        replace(plan, cases=wanting),
        lambda c, b: Deed(0.5 - 0.002 * b if c.params["aggressor"] == "cpu" else 1),
    )
    found = evaluate(interference.matrix(run, Series(NO_SAMPLES)))
    assert words(found, "P18", "at most 10 %") == "reproduced"


def disk(free, held):
    def does(case, block):
        if case.params["aggressor"] != "disk":
            return Deed()
        return Deed(0.9, p99=free[case.runtime] if case.params["control"] == "none" else held[case.runtime])

    return does


def test_a_disk_aggressor_without_an_io_limit_and_with_one():
    plan = {"victims": ("disk",), "aggressors": ("sleep", "disk")}
    found = claims(disk({"docker": 8.0, "namespace": 1.2}, {"docker": 2.0, "namespace": 1.2}), **plan)
    assert words(found, "P19", "twice as long") == "reproduced"
    assert words(found, "P19", "at least halves") == "reproduced"
    assert words(found, "P19", "twice as long", "namespace") == "inverted"
    assert words(found, "P19", "at least halves", "namespace") == "inverted"
    assert words(found, "P19", "virtual machines", "") == "not applicable"


def test_machines_are_compared_with_containers_only_where_their_cpu_is_their_own():
    plan = {"victims": ("disk",), "aggressors": ("sleep", "disk"), "runtimes": ("docker", "libvirt")}
    does = disk({"docker": 8.0, "libvirt": 2.0}, {"docker": 2.0, "libvirt": 2.0})
    assert words(claims(does, **plan), "P19", "virtual machines", "") == "reproduced"
    emulated = claims(does, **plan, emulated=("libvirt",))
    assert words(emulated, "P19", "virtual machines", "") == "not applicable"
    assert not any("libvirt" in one.claim.text for one in emulated)


def test_weights_keep_the_share_and_not_the_tail():
    def does(case, block):
        if case.params["control"] == "weights" and case.params["aggressor"] == "cpu":
            return Deed(0.98 - 0.002 * block, p99=4.0, other=60.0)
        return believable(case, block)

    found = claims(does, controls=("none", "weights"))
    assert words(found, "P20", "at most 5 %") == "reproduced"
    assert words(found, "P20", "at least twice") == "reproduced"
    share = next(one for one in found if one.claim.id == "P20" and "5 %" in one.claim.text)
    assert "saved by weights" in share.reason and "work conservation" in share.reason


@pytest.mark.parametrize("id_", ["P06", "P18", "P19", "P20"])
def test_every_predicate_names_its_published_figures(id_):
    of = [said for said in CLAIMS if said.id == id_]
    assert of and all(said.cited.rows for said in of)


def test_a_claim_without_cells_is_said_once_not_to_apply_and_a_run_without_neighbours_has_none():
    found = claims(believable)
    weights = [one for one in found if one.claim.id == "P20"]
    assert [one.word for one in weights] == ["not applicable"] * 2
    assert evaluate([]) == []


def test_a_fork_bomb_that_is_felt_threefold_with_limits_is_not_held_off():
    def does(case, block):
        deed = believable(case, block)
        return replace(deed, p99=3.0) if case.params["control"] == "limits" else deed

    assert words(claims(does), "P06", "at most 1.5 times") == "inverted"
