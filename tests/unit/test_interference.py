"""The matrix of neighbours: what is beyond chance, what a control is worth, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from interference_material import Deed, a_plan, a_run, believable

from bench.analysis import interference, interference_words, standing
from bench.analysis.neighbours import Key
from bench.analysis.protection import HARMFUL, HARMLESS, PARTLY, PROTECTED, UNCLEAR, UNPROTECTED
from bench.analysis.series import Series

NO_SAMPLES = pd.DataFrame(
    {"trial": [], "tenant": [], "collector": [], "metric": [], "time": [], "value": []}
).astype({"trial": int, "time": float, "value": float})


def cells(run):
    return {c.key: c for c in interference.matrix(run, Series(NO_SAMPLES))}


def at(found, victim, aggressor, control="none", runtime="docker"):
    return found[Key(runtime, control, "same", victim, aggressor)]


@pytest.fixture(scope="module")
def usual():
    return cells(a_run(a_plan(), believable))


def test_the_sleeping_neighbour_is_about_zero_and_is_the_noise_floor(usual):
    quiet = at(usual, "cpu", "sleep")
    assert quiet.loss.low <= 0.01 and abs(quiet.loss.estimate) < 0.01
    assert quiet.chance == {} and quiet.worse == frozenset() and quiet.protection == ""
    assert 0 < at(usual, "cpu", "cpu").floor["loss"] < 0.03


def test_what_is_taken_is_estimated_with_an_interval_and_found_beyond_chance(usual):
    cell = at(usual, "cpu", "cpu")
    assert cell.loss.low < 0.4 < cell.loss.high and cell.loss.n == 5
    assert cell.p99.low < 8.1 and cell.p99.estimate == pytest.approx(8, rel=0.05)
    assert cell.worse == {"loss", "p99"}
    assert cell.recovery.estimate == 0
    assert cell.aggressor_loss.estimate == pytest.approx(0.2)


def test_a_victim_that_did_not_respond_has_lost_everything_and_is_never_dropped(usual):
    cell = at(usual, "spawn", "forks")
    assert cell.dnr == 5 and cell.loss.estimate == 1.0 and cell.loss.n == 5
    assert cell.isolation.estimate == 0.0
    assert cell.p99 is None and cell.reasons["p99"]
    finding = next(f for f in interference.analyse(a_run(a_plan(), believable)) if f.case == cell.case.id)
    assert "did not respond (DNR) in 5 of 5 trials" in finding.reason and finding.evidence["dnr"] == 5


def test_limits_protect_where_nothing_is_felt_any_more_and_partly_where_it_is_felt_less(usual):
    assert at(usual, "spawn", "forks", "limits").protection == PROTECTED
    assert at(usual, "spawn", "cpu", "limits").protection == PARTLY
    assert at(usual, "spawn", "cpu").protection == ""


def test_a_control_that_was_not_applied_is_not_protection():
    def broken(case, block):
        params = {**case.params, "control": "none"}
        return believable(replace(case, params=params), block)

    run = a_run(a_plan(), broken)
    found = cells(run)
    for aggressor in ("cpu", "forks"):
        assert at(found, "spawn", aggressor, "limits").protection == UNPROTECTED
    said = interference.analyse(run)
    assert "Not protected in spite of a control: " in interference.conclusion(said)
    assert "limits are not better than none" in interference.conclusion(said)
    assert not any(g.clear for g in standing.gains(list(found.values())))


def test_where_nothing_is_felt_there_is_nothing_to_protect_from_and_a_control_can_do_harm():
    harmless = cells(a_run(a_plan(), lambda case, block: Deed(1 - 0.002 * (block % 3))))
    assert at(harmless, "cpu", "cpu", "limits").protection == HARMLESS
    harmful = cells(
        a_run(a_plan(), lambda c, b: Deed(0.7 - 0.002 * (b % 3))
              if c.params["control"] == "limits" and c.params["aggressor"] == "cpu"
              else Deed(1 - 0.002 * (b % 3)))
    )  # fmt: skip
    assert at(harmful, "cpu", "cpu", "limits").protection == HARMFUL


def test_too_few_trials_and_no_sleeping_neighbour_leave_it_open():
    assert at(cells(a_run(a_plan(blocks=2), believable)), "cpu", "cpu", "limits").protection == UNCLEAR
    awake = cells(a_run(a_plan(aggressors=("cpu",)), believable))
    assert at(awake, "cpu", "cpu", "limits").protection == UNCLEAR
    assert at(awake, "cpu", "cpu").chance == {}


def test_noise_alone_is_seldom_called_worse():
    import random

    rng = random.Random(5)
    noise = a_run(
        a_plan(victims=("cpu", "spawn", "disk"), aggressors=("sleep", "cpu", "forks", "disk", "memory")),
        lambda case, block: Deed(1 - abs(rng.gauss(0, 0.02)), p99=1 + abs(rng.gauss(0, 0.1))),
    )
    assert sum(bool(c.worse) for c in cells(noise).values()) <= 1


def test_excess_is_what_is_lost_beyond_the_fair_share_and_has_a_reason_where_none_is_defined():
    found = cells(a_run(a_plan(victims=("cpu", "disk")), believable))
    assert at(found, "cpu", "cpu").excess.estimate == pytest.approx(0.4, abs=0.02)
    assert (
        at(found, "disk", "cpu").excess is None
        and "no share is due" in at(found, "disk", "cpu").reasons["excess"]
    )


def test_protection_that_idles_the_machine_shows_in_the_work_that_is_conserved(usual):
    # Without control 0.6 + 80/100 is done, with limits 0.9 + 45/100: the aggressor alone could do 100.
    free, held = at(usual, "cpu", "cpu"), at(usual, "cpu", "cpu", "limits")
    assert free.work.estimate == pytest.approx(1.0)
    assert held.work.estimate == pytest.approx(1.35 / 1.4, rel=0.02)
    assert at(usual, "cpu", "sleep").work is None and at(usual, "cpu", "sleep").reasons["work"]
    alone = at(cells(a_run(a_plan(controls=("none",)), believable)), "cpu", "cpu")
    assert alone.work is None and "no other control" in alone.reasons["work"]


def test_what_limits_save_is_the_difference_within_blocks(usual):
    gain = next(g for g in standing.gains(list(usual.values())) if g.runtime == "docker")
    assert gain.pairs == 4 and gain.clear
    assert gain.free.estimate == pytest.approx((0.4 + 1.0) / 2, abs=0.02)
    assert gain.held.estimate == pytest.approx((0.1 + 0.0) / 2, abs=0.02)
    assert gain.saved.low < 0.65 < gain.saved.high
    assert gain.calmer.estimate == pytest.approx(4, rel=0.05)  # a silent victim has no latency to compare


def better_in_docker(case, block):
    deed = believable(case, block)
    if case.runtime == "docker" and deed.during < 0.95:
        return replace(deed, during=min(1.0, deed.during + 0.08))
    return deed


def test_runtimes_are_ranked_by_what_their_victims_lose_with_limits():
    ranks = standing.ranking(list(cells(a_run(a_plan(), better_in_docker)).values()))
    assert [(s.runtime, s.control, s.apart) for s in ranks] == [
        ("docker", "limits", True), ("namespace", "limits", None),
    ]  # fmt: skip
    alike = standing.ranking(list(cells(a_run(a_plan(), believable)).values()))
    assert alike[0].apart is False


def test_runtimes_that_have_no_neighbours_in_common_are_not_ranked():
    """As where a run was interrupted early."""
    found = cells(a_run(a_plan(), better_in_docker)).values()
    apart = [c for c in found if (c.key.runtime == "docker") == (c.key.victim == "cpu")]
    assert len({c.key.runtime for c in apart}) > 1 and standing.ranking(apart) == []


def test_a_runtime_without_limits_is_ranked_as_it_is():
    ranks = standing.ranking(list(cells(a_run(a_plan(("process", "docker")), believable)).values()))
    assert [(s.runtime, s.control) for s in ranks] == [("docker", "limits"), ("process", "none")]


def test_an_emulated_machine_is_shown_and_takes_no_part_in_rankings_or_in_the_conclusion():
    run = a_run(a_plan(("namespace", "docker", "libvirt"), emulated=("libvirt",)), believable)
    found = interference.analyse(run)
    assert {f.runtime for f in found if f.id.startswith(interference_words.RANK)} == {"namespace", "docker"}
    assert any(f.emulated for f in found) and all(f.emulated == (f.runtime == "libvirt") for f in found)
    said = interference.conclusion(found)
    assert "libvirt (emulated)" in said and said.count("libvirt") == 1


def test_cells_that_could_not_run_and_trials_that_broke_are_findings_with_their_cause():
    run = a_run(a_plan(lacking=("docker",)), believable)
    missing = [f for f in interference.analyse(run) if f.runtime == "docker"]
    assert missing and all((f.verdict, f.fix) == ("not testable", "install it") for f in missing)
    run = a_run(a_plan(), lambda case, block: Deed(broken="no disk\nat all"))
    found = interference.analyse(run)
    assert found and all(f.reason == "all 5 trials failed: no disk" for f in found)
    some = a_run(
        a_plan(), lambda case, block: Deed(broken="no disk") if block == 0 else believable(case, block)
    )
    cell = at(cells(some), "cpu", "cpu")
    assert cell.broken == 1 and cell.loss.n == 4


def test_the_conclusion_says_what_limits_change_who_loses_least_and_who_was_silent():
    said = interference.conclusion(interference.analyse(a_run(a_plan(), believable)))
    assert said.startswith("With limits a neighbour takes 5.") and "(70 % without)" in said
    assert "Least work is lost in " in said and "not told apart" in said
    assert "(DNR): cpu beside forks, no control, same core, in namespace (5 of 5) and docker (5 of 5)" in said
    assert interference.conclusion([]) == ""


def test_a_run_without_neighbours_has_no_findings_of_them():
    plan = a_plan()
    other = tuple(replace(e, section="visibility") for e in plan.suite.experiments)
    run = a_run(replace(plan, suite=replace(plan.suite, experiments=other)), believable)
    assert interference.analyse(run) == []


def test_where_only_the_uncontrolled_sleeper_was_run_it_serves_for_every_control():
    plan = a_plan()
    kept = tuple(
        c for c in plan.cases if c.params["aggressor"] != "sleep" or c.params["control"] == "none"
    )  # the suite's default slice
    ids = {c.id for c in kept}
    run = a_run(replace(plan, cases=kept, trials=tuple(t for t in plan.trials if t.case in ids)), believable)
    found = cells(run)
    assert Key("docker", "limits", "same", "cpu", "sleep") not in found
    assert at(found, "spawn", "forks", "limits").protection == PROTECTED
    assert at(found, "spawn", "cpu", "limits").worse == {"loss", "p99"}
    assert interference.conclusion(interference.analyse(run))


def test_a_limit_that_the_runtime_does_not_offer_is_named():
    plan = a_plan(("docker",))
    cases = tuple(replace(c, params={**c.params, "without": "io.read"}) for c in plan.cases)
    found = interference.analyse(a_run(replace(plan, cases=cases), believable))
    assert all("without io.read, which this runtime does not offer" in f.reason for f in found if f.case)


def test_a_victim_that_lost_nearly_everything_has_lost_everything():
    found = cells(a_run(a_plan(), lambda c, b: Deed(0.04) if c.params["aggressor"] == "cpu" else Deed()))
    assert at(found, "cpu", "cpu").dnr == 5 and at(found, "cpu", "cpu").loss.estimate == 1.0
