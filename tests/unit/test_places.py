"""Where files lie: the plan of several places, and what is said of a run of them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from overhead_material import WORK
from places_material import GROUND, RUNTIMES, WORKS, a_plan, a_run, a_suite, held, rates, told

from bench import analysis, places, runtimes, suite
from bench import plan as plans
from bench.analysis import places as looked
from bench.analysis import places_words
from bench.errors import SuiteError
from bench.model import AGAIN, PLACE
from bench.render import html

# An overlay takes half as long again, memory a twentieth, and Docker adds a tenth to its own overlay alone.
COSTS = {
    ("", "root"): 1.5, ("docker", "root"): 1.65, ("", "tmpfs"): 0.05, ("libvirt:micro", "root"): 1.0,
}  # fmt: skip
LADDER_WORK = WORK.format(name="primes", title="Primes", metric="work.number", unit="1/s")


def spots(run, work=0):
    return {(s.runtime, s.place): s for s in looked.works(run)[work].spots}


# --- the plan -----------------------------------------------------------------------------------


def test_a_place_that_is_none_is_refused():
    with pytest.raises(SuiteError, match="'place' is one of"):
        suite.parse(a_suite().replace('"volume", "root"', '"volumes", "root"', 1), "s", "s.toml")


def test_the_raw_process_has_a_directory_an_overlay_and_a_tmpfs_and_repeats_the_directory_alone():
    mine = [c for c in a_plan(WORKS[:1]).cases if c.runtime == "process"]
    assert [(c.params[PLACE], AGAIN in c.params) for c in mine] == [
        ("bind", False), ("bind", True), ("root", False), ("tmpfs", False),
    ]  # fmt: skip


def test_every_part_of_a_block_begins_and_ends_with_the_raw_process_in_a_directory_of_the_host():
    plan = a_plan()
    cases = {c.id: c for c in plan.cases}
    for block in range(8):
        of = [cases[t.case] for t in plan.trials if t.block == block]
        for name in {c.experiment for c in of}:
            part = [c for c in of if c.experiment == name]
            assert (part[0].runtime, part[0].params[PLACE], AGAIN in part[0].params) == (
                "process",
                "bind",
                False,
            )
            assert (part[-1].runtime, AGAIN in part[-1].params) == ("process", True)
            assert {c.params[PLACE] for c in part[1:-1] if c.runtime == "process"} == {"root", "tmpfs"}


def test_places_come_in_another_order_in_every_block():
    plan = a_plan(blocks=12)
    orders = {tuple(t.case for t in plan.trials if t.block == b) for b in range(12)}
    assert len(orders) == 12


def test_what_a_runtime_does_not_offer_is_skipped_with_what_it_has():
    skipped = {(s.case.runtime, s.case.params[PLACE]): s for s in a_plan(WORKS[:1]).skipped}
    assert set(skipped) == {
        ("docker", "raw"), ("docker", "qcow2"), ("docker:runsc", "raw"), ("docker:runsc", "qcow2"),
        ("libvirt:micro", "bind"), ("libvirt:micro", "volume"),
    }  # fmt: skip
    assert "named volume" in skipped["docker", "raw"].cause
    assert skipped["libvirt:micro", "bind"].verdict == "not offered"


def test_runtimes_that_must_be_named_take_part_where_they_are_or_in_the_whole_suite():
    def taking_part(**options):
        return {c.runtime for c in a_plan(**{"full": False, **options}).cases}

    assert taking_part() == {"process", "docker"}
    assert taking_part(named=["libvirt:micro"]) == {"process", "docker", "libvirt:micro"}
    assert taking_part(full=True) == {*RUNTIMES}


def test_a_runtime_without_an_overlay_has_no_root_to_write_to():
    assert places.ROOT in runtimes.load("runc:ns+overlay").places
    assert places.ROOT not in runtimes.load("runc:ns+net").places
    assert places.not_offered({PLACE: "root"}, runtimes.load("namespace")) == (
        "its files cannot lie in a place of the kind 'own root', only: where they do"
    )
    assert places.not_offered({}, runtimes.load("namespace")) is None


def test_the_shipped_suite_has_a_slice_by_itself_and_all_workloads_in_full():
    loaded = [e for e in suite.load("overhead").experiments if e.section == looked.SECTION]
    assert [e.name for e in loaded if not e.full] == ["places-fsync", "places-write4k", "places-create"]
    args = [
        e.tenants[0].args for e in loaded if e.tenants[0].workload == "io/fio" and e.name != "places-fsync"
    ]
    assert {(a["rw"], a["bs"], a.get("iodepth")) for a in args} == {
        ("randread", "4096", 1), ("randread", "4096", 32), ("randwrite", "4096", 1),
        ("randwrite", "4096", 32),
        ("read", "1048576", None), ("write", "1048576", None), ("randread", "131072", 32),
    }  # fmt: skip
    assert all(a["direct"] == 1 for a in args)
    rows = {r.params[PLACE] for e in loaded for r in plans.rows(e)}
    assert rows == {*places.PLACES}


# --- what is said -------------------------------------------------------------------------------


def test_what_the_place_costs_is_told_apart_from_what_the_boundary_adds():
    found = spots(a_run(a_plan(), rates(COSTS)))
    raw, own = found["process", "root"], found["docker", "root"]
    assert (raw.total.word, raw.alike) == ("costs", None)
    assert raw.total.ratio.estimate == pytest.approx(1.5, abs=0.02)
    assert own.total.ratio.estimate == pytest.approx(1.65, abs=0.02)
    assert (own.beside, own.alike.word) == ("root", "costs")
    assert own.alike.ratio.estimate == pytest.approx(1.1, abs=0.02)
    for place in ("bind", "volume", "tmpfs"):
        assert found["docker", place].alike.word == "none", place
    assert found["docker", "tmpfs"].total.word == "saves" and found["docker", "volume"].beside == "bind"


def test_a_machine_is_held_against_the_directory_its_disk_is_in_and_gvisor_against_an_overlay():
    found = spots(a_run(a_plan(), rates(COSTS)))
    assert found["libvirt:micro", "root"].beside == "bind" == found["libvirt:micro", "qcow2"].beside
    assert (
        found["docker:runsc", "root"].beside == "root" and found["libvirt:micro", "tmpfs"].beside == "tmpfs"
    )


def test_the_control_is_the_mean_of_both_its_trials():
    steady = rates({}, noise=0.001)

    def value(case, block, rng):
        place = 1.0 if case.runtime != "process" else 1.04 if AGAIN not in case.params else 0.96
        return steady(case, block, rng) * place

    found = looked.works(a_run(a_plan(), value))[0]
    docker = next(s for s in found.spots if (s.runtime, s.place) == ("docker", "bind"))
    assert docker.total.ratio.estimate == pytest.approx(1.0, abs=0.003)
    assert docker.alike.ratio.estimate == docker.total.ratio.estimate
    assert found.control.unstable == tuple(range(8))


def test_where_the_host_slows_down_from_block_to_block_no_place_costs_anything():
    def slower(case, block, rng):
        return rates({}, noise=0.002)(case, block, rng) * 0.8**block

    assert all(s.total.word == "none" for s in spots(a_run(a_plan(), slower)).values() if s.total)


def test_a_workload_that_says_why_it_has_no_number_is_quoted():
    why = "tmpfs takes no O_DIRECT here: Invalid argument"

    def value(case, block, rng):
        return None if case.params[PLACE] == "tmpfs" else rates(COSTS)(case, block, rng)

    run = a_run(a_plan(), value, reason=why)
    spot = spots(run)["docker", "tmpfs"]
    assert (spot.measured, spot.total, spot.why) == (None, None, why)
    finding = next(f for f in analysis.analyse(run) if f.runtime == "docker" and f.params == {PLACE: "tmpfs"})
    assert finding.verdict == "not testable" and finding.measured is None and why in finding.reason


def test_files_on_another_file_system_are_not_compared():
    def elsewhere(case):
        other = {"place.number": "8:1"} if (case.runtime, case.params[PLACE]) == ("docker", "volume") else {}
        return {**held(case), **other}

    spot = spots(a_run(a_plan(), rates(COSTS), facts=elsewhere))["docker", "volume"]
    assert (spot.total, spot.alike) == (None, None) and spot.measured is not None
    assert spot.why == f"its files lay on another file system (8:1) than those of the raw process ({GROUND})"


def test_what_the_tenant_itself_sees_counts_more_than_what_was_meant():
    def lying(case):
        return (
            {**told(case), "st_dev": "8:7"}
            if (case.runtime, case.params[PLACE]) == ("docker", "bind")
            else told(case)
        )

    found = spots(a_run(a_plan(), rates(COSTS), labels=lying))
    assert found["docker", "bind"].total is None and "(8:7)" in found["docker", "bind"].why
    assert found["docker", "volume"].total is not None


def test_a_tmpfs_that_is_none_is_found_out():
    def lying(case):
        return {**told(case), "type": "ext4"} if case.params[PLACE] == "tmpfs" else told(case)

    spot = spots(a_run(a_plan(), rates(COSTS), labels=lying))["docker", "tmpfs"]
    assert spot.total is None and spot.why == "its files lay on ext4 at /tmpfs, which is no memory"


def test_the_numbers_of_file_systems_inside_another_kernel_prove_nothing():
    def inside(case):
        other = "libvirt" in case.runtime or "runsc" in case.runtime
        return {**told(case), "st_dev": "253:0"} if other else told(case)

    found = spots(a_run(a_plan(), rates(COSTS), labels=inside))
    assert found["libvirt:micro", "raw"].total is not None
    assert all(found["docker:runsc", place].total is not None for place in ("bind", "volume"))


@pytest.mark.parametrize(
    ("runtime", "place", "why"),
    [
        (
            "docker:runsc",
            "bind",
            "gVisor does not hand O_DIRECT on: its files went through the host's page cache",
        ),
        ("docker:runsc", "tmpfs", ""),
        ("libvirt:micro", "root", "QEMU's cache mode unsafe puts the host's page cache below direct work"),
        ("libvirt:micro", "raw", ""),
        ("docker", "root", ""),
    ],
)
def test_direct_work_that_the_host_caches_is_not_compared_and_buffered_work_is(runtime, place, why):
    run = a_run(a_plan(), rates(COSTS))
    direct, buffered = (spots(run, work)[runtime, place] for work in (1, 0))
    assert direct.why == why and (direct.total is None) == bool(why) and direct.measured
    assert buffered.why == "" and buffered.total and buffered.alike


def test_a_machine_whose_cache_mode_nobody_tells_is_not_believed():
    untold = a_run(
        a_plan(), rates(COSTS), facts=lambda c: {k: v for k, v in held(c).items() if k != "place.cache"}
    )
    assert spots(untold, 1)["libvirt:micro", "raw"].total is None


def test_an_emulated_machine_has_numbers_and_no_word_and_is_in_no_sentence_on_costs():
    run = a_run(a_plan(emulated=("libvirt:micro",)), rates({**COSTS, ("libvirt:micro", "raw"): 9.0}))
    spot = spots(run)["libvirt:micro", "raw"]
    assert spot.emulated and spot.total.word is None and spot.alike.word is None
    assert spot.total.ratio.estimate == pytest.approx(9, abs=0.2)
    assert "×9" not in places_words.conclusion(looked.works(run))


def test_trials_that_break_are_counted_and_a_spot_whose_trials_all_broke_says_why():
    def value(case, block, rng):
        lost = case.params[PLACE] == "volume" or (case.params[PLACE] == "root" and block < 3)
        return None if case.runtime == "docker" and lost else rates(COSTS)(case, block, rng)

    found = spots(a_run(a_plan(), value))
    assert (found["docker", "root"].broken, found["docker", "root"].total.ratio.n) == (3, 5)
    assert found["docker", "volume"].why == "it broke"


def test_a_run_without_places_says_nothing_of_them():
    plan = a_plan()
    without = replace(plan, suite=replace(plan.suite, experiments=()), cases=(), trials=(), skipped=())
    assert looked.works(a_run(without, rates({}))) == []
    assert places_words.conclusion([]) == ""


def test_the_conclusion_says_what_the_file_system_costs_and_what_the_boundary_does():
    run = a_run(a_plan(), rates(COSTS))
    said = analysis.summary(run, analysis.analyse(run))
    assert said.startswith(
        "Where a file lies: an overlay adds to the raw process's time +50 % (work places"
    ), said
    assert "a tmpfs divides its time by 20 (work places" in said
    assert "on the same file system a boundary adds time in 2 of 20 cases, most Docker on an overlay" in said


def test_where_no_boundary_adds_anything_the_conclusion_says_so():
    run = a_run(a_plan(), rates({("", "root"): 1.5, ("libvirt:micro", "root"): 1.0}))
    assert "no boundary surely adds time" in places_words.conclusion(looked.works(run))


def test_with_too_few_blocks_for_an_interval_nothing_is_sure_and_that_is_said():
    said = places_words.conclusion(looked.works(a_run(a_plan(blocks=2), rates(COSTS))))
    assert "no place surely costs the raw process anything (4 of 4 cases are undecided)" in said
    assert "no boundary surely adds time (20 of 20 cases are undecided)" in said


def test_a_finding_has_its_share_of_the_hosts_speed_and_where_its_files_were():
    found = {f.id: f for f in analysis.analyse(a_run(a_plan(), rates(COSTS)))}
    one = found["places/places-write4k/docker/768 MiB, place=root"]
    assert one.evidence["metric"] == "io.iops" and one.evidence["place"] == "root"
    assert one.evidence["host.share"] == pytest.approx(1 / 1.65, abs=0.01)
    assert one.evidence["host.share.low"] < one.evidence["host.share"] < one.evidence["host.share.high"]
    assert (one.evidence["place.type"], one.evidence["place.behind"]) == ("overlay", GROUND)
    assert "the place: +65 %" in one.reason and "the boundary: +10 %" in one.reason
    assert "seen inside as overlay at /root" in one.reason
    machine = found["places/places-write4k/libvirt:micro/768 MiB, place=qcow2"]
    assert (machine.evidence["place.format"], machine.evidence["place.cache"]) == ("qcow2", "none")
    assert "QEMU's cache mode none" in machine.reason


def test_further_numbers_of_the_same_trials_are_works_of_their_own():
    plan = a_plan(WORKS[1:])
    (one,) = plan.suite.experiments
    further = {"evidence": ("io.stat.rate",), "options": {"io.stat.rate": "Looking, by place"}}
    one = replace(one, verdict=replace(one.verdict, **further))
    run = a_run(replace(plan, suite=replace(plan.suite, experiments=(one,))), rates(COSTS))
    assert [(w.metric, w.title) for w in looked.works(run)] == [
        ("io.iops", "Work places-write4k, by place"), ("io.stat.rate", "Looking, by place"),
    ]  # fmt: skip
    ids = [f.id for f in analysis.analyse(run)]
    assert len(ids) == len(set(ids))
    assert sum(i.endswith("/docker/768 MiB, place=root/io.stat.rate") for i in ids) == 1
    assert sum("/docker/768 MiB, place=raw" in i for i in ids) == 1, "what cannot run is said once"


# --- the report ---------------------------------------------------------------------------------


def judged(run):
    found = analysis.analyse(run)
    return replace(run, finding_list=tuple(found), conclusion=analysis.summary(run, found))


@pytest.fixture(scope="module")
def page():
    def value(case, block, rng):
        fast = "libvirt" in case.runtime and case.params[PLACE] == "root" and "fsync" in case.experiment
        return rates(COSTS)(case, block, rng) * (4 if fast else 1)

    return html.render(judged(a_run(a_plan(), value)))


def picture(page, number):
    figure = re.search(rf'<figure id="fig-places-{number}">.*?</figure>', page, re.S).group()
    return re.findall(r"<text[^>]*>(.*?)</text>", figure, re.S)


def test_each_kind_of_work_has_a_picture_with_a_row_a_place_and_a_name_a_runtime(page):
    labels = picture(page, 1)
    rows = {
        "host directory",
        "named volume",
        "own root (overlay)",
        "raw disk",
        "qcow2 disk",
        "tmpfs",
    }
    assert rows <= set(labels)
    assert {"raw process", "Docker", "gVisor", "machine"} <= set(labels)
    assert "machine (not durable)" in picture(page, 0)
    assert any(x.endswith(" … +65 %") for x in labels) and any(x.startswith("÷ 20") for x in labels)


def test_memory_does_not_squeeze_what_the_disks_cost(page):
    ticks = [float(x) for x in picture(page, 1) if re.fullmatch(r"[\d.]+", x)]
    assert min(ticks) >= 0.5 and max(ticks) <= 2


def test_every_spot_has_a_cell_and_a_row_with_its_sentence_and_the_label_where_it_is_not_durable(page):
    part = page[page.index('id="places"') : page.index('id="missing"')]
    assert len(re.findall(r'<tr class="why">', part)) == 2 * (3 + 4 + 4 + 4)
    reasons = re.findall(r'<span class="reason">(.*?)</span>', part, re.S)
    assert sum("not durable: " in reason for reason in reasons) == 2
    assert sum("QEMU&#39;s cache mode unsafe" in reason for reason in reasons) == 2
    assert "the place: +65 %" in part and "the boundary: +10 %" in part
    rows = re.findall(r'<th scope="row" data-label="Runtime"[^>]*>(.*?)</th>', part, re.S)
    assert sum("machine (not durable)" in row for row in rows) == 2


def test_what_is_not_offered_is_named_among_what_is_missing(page):
    gaps = page[page.index('id="missing"') :]
    assert (
        "place of the kind &#39;qcow2 disk&#39;, only: host directory, named volume, own root, tmpfs" in gaps
    )


def test_beside_a_ladder_the_section_has_its_own_sentence_and_alone_it_is_at_the_top(page):
    assert page.index("Where a file lies: ") < page.index('id="places"')
    assert page.count("Where a file lies: ") == 1
    both = html.render(
        judged(a_run(a_plan(more=LADDER_WORK), lambda c, b, r: 1000 * (1 + r.gauss(0, 0.003))))
    )
    assert both.index('id="overhead"') < both.index('id="places"')
    assert both.count("Where a file lies: ") == 2


def test_an_emulated_machine_has_a_row_and_no_dot():
    page = html.render(judged(a_run(a_plan(emulated=("libvirt:micro",)), rates(COSTS))))
    assert not any("machine" in label for label in picture(page, 0))
    assert "machine (emulated)" in page[page.index('id="places"') :]


def test_a_run_without_a_finished_trial_still_has_a_report():
    page = html.render(judged(a_run(a_plan(), lambda case, block, rng: None)))
    assert "Where files lie was measured in one place alone." in page and "it broke" in page
