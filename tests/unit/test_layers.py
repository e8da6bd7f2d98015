"""Layers: how a suite names probes, and what a run of them says; the kernel's own times are live tests."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import analysis, layering, suite
from bench import plan as planning
from bench.analysis import layers_claims
from bench.analysis.copying import copyings, spell
from bench.analysis.layers import conclusion
from bench.analysis.lookups import depth
from bench.errors import SuiteError, UsageError
from bench.frames import Run
from bench.layering import mounting
from bench.model import Exit, HostFacts, Observation, Skipped, TenantRecord, TrialRecord
from bench.render import document

SHIPPED = suite.load("layers")
MIB = 2**20


def a_plan(blocks=8, lacking=lambda runtime, case: None, runtimes=("process", "docker"), only=None):
    return planning.make(
        replace(SHIPPED, warmup=0), list(runtimes), seed=1, blocks=blocks, baseline=lambda r: r == "process",
        lacking=lacking, only=only,
    )  # fmt: skip


def numbers(params, per_byte=1e-9, base=1e-3, second=1e-5, grown=1.0, noise=lambda: 1.0, layer=2e-6):
    """What a probe of those params observes."""
    kind = params["probe"]
    if kind == "copyup":
        size = params["bytes"]
        part = {"chmod, metacopy": 0.01, "open, volatile": 0.3}.get(params.get("by", ""), 1.0)
        return {
            "copyup.first": (base + per_byte * size * part) * noise(), "copyup.second": second,
            "copyup.grown": size * grown, "copyup.bytes": float(size), "copyup.reflinks": 0.0,
        }  # fmt: skip
    if kind == "lookup":
        deep = {"top": 0.0, "middle": 0.5, "bottom": 1.0, "absent": 1.0}
        cold = {f"lookup.{w}.cold": (1e-6 + d * layer * params["layers"]) * noise() for w, d in deep.items()}
        return cold | {f"lookup.{w}.warm": 1e-6 for w in deep}
    if kind == "whiteout":
        return {
            "whiteout.delete": 3e-5, "plain.delete": 1e-5, "whiteout.names": 1000.0, "whiteout.inodes": 1.0,
            "whiteout.freed": 0.0, "plain.freed": 4096e3, "whiteout.bytes": 4096e3,
        }  # fmt: skip
    if kind == "mix":
        times = {"overlay": 2.0, "bind": 1.0, "tmpfs": 0.5}[params["on"]]
        names = ("create", "stat", "chmod", "rename", "list", "unlink", "all")
        return {f"mix.{name}": 1e-5 * times * noise() for name in names}
    return {
        "economy.images": 3.0, "economy.image": 500e6, "economy.listed": 1512e6, "economy.held": 512e6,
        "economy.disk": 800e6, "economy.clone": 800e6, "economy.overlay": 2e5,
    }  # fmt: skip


def a_run(plan, of=numbers, failed=lambda case: False, container=None):
    cases, records = {c.id: c for c in plan.cases}, []
    for t in plan.trials:
        case = cases[t.case]
        broken = failed(case)
        facts = {}
        if "probe" in case.params:
            seen = tuple(Observation(1.0, m, v, "s") for m, v in of(case.params).items())
        else:
            sizes = (65536, MIB, 8 * MIB, 32 * MIB)
            seen = tuple(
                Observation(1.0, f"copyup.{name}", (1e-3 + s * 1e-9) * share, "s", {"bytes": str(s)})
                for s in sizes for name, share in (("first", 1.0), ("second", 0.001))
            )  # fmt: skip
            facts = {"layer.bytes": container or sum(sizes)}
        tenant = TenantRecord("a", {}, Exit("exited", 0), 0.0, 1.0, () if broken else seen, facts=facts)
        records.append(TrialRecord(
            t.index, t.block, case.id, case.experiment, case.runtime, "broken" if broken else "ok",
            "it said no" if broken else "", "host", "2026-01-01T00:00:00+0000", 1.0, 1.0, (tenant,),
            params=dict(case.params),
        ))  # fmt: skip
    return Run(Path("runs/x"), plan, HostFacts({}, {}, {}), "", "0", (), tuple(records), (), "")


def found_by_id(run):
    return {f.id: f for f in analysis.analyse(run)}


def words(run, id_="P24"):
    return {e.claim.text: e.word for e in layers_claims.evaluate(run) if e.claim.id == id_}


# --- suites and probes ----------------------------------------------------------------------------


def test_every_experiment_without_a_workload_names_a_probe_that_takes_its_params():
    for case in a_plan(blocks=1).cases:
        if not case.tenants:
            assert layering.find(case.params).title


def test_an_experiment_of_layers_with_neither_probe_nor_workload_is_refused():
    text = (suite.SHIPPED / "layers.toml").read_text().replace('probe = "mix"\n', "")
    with pytest.raises(SuiteError, match=r"params\.probe"):
        suite.parse(text, "layers", "layers.toml")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"probe": "copyupp"}, "did you mean 'copyup'"),
        ({"probe": "copyup", "on": "disk"}, "bytes"),
        ({"probe": "copyup", "on": "moon", "bytes": 1}, "on is one of"),
        ({"probe": "lookup", "layers": 0}, "at least 1"),
    ],
)
def test_a_probe_that_means_nothing_is_a_usage_error(params, said):
    with pytest.raises(UsageError, match=said):
        layering.find(params)


def test_a_file_that_does_not_fit_is_not_begun():
    huge = 1 << 60
    lacking = mounting.lacking("disk", huge)
    assert lacking and (lacking.what == "overlay" or "MiB of disk space" in lacking.cause)


def test_larger_files_are_estimated_to_take_longer():
    costs = {
        c.params["bytes"]: c.seconds for c in a_plan(only="copyup").cases if c.params.get("on") == "disk"
    }
    assert costs[268435456] > 20 * costs[4096]


# --- findings -------------------------------------------------------------------------------------


def test_the_slope_of_copying_up_is_found_with_its_fixed_part():
    found = found_by_id(a_run(a_plan()))
    slope = found["copyup.slope/disk"]
    assert slope.measured.estimate == pytest.approx(1e-9 * MIB, rel=1e-6)
    assert slope.evidence["time at 0 bytes, ms"] == pytest.approx(1)
    assert slope.evidence["R²"] == pytest.approx(1.0)
    assert found["copyup.slope/docker"].measured.estimate == pytest.approx(1e-9 * MIB, rel=1e-6)


@given(st.floats(1e-10, 1e-8), st.floats(1e-5, 1e-3), st.integers(0, 99))
def test_noise_of_a_few_percent_moves_the_slope_by_no_more(per_byte, base, seed):
    chance = random.Random(seed)
    run = a_run(a_plan(only="copyup"), lambda p: numbers(
        p, per_byte, base, noise=lambda: chance.uniform(0.95, 1.05)))  # fmt: skip
    slope = found_by_id(run)["copyup.slope/disk"].measured
    assert slope.low < slope.estimate < slope.high
    assert slope.estimate == pytest.approx(per_byte * MIB, rel=0.06)


def test_depth_is_a_slope_by_place_and_half_of_it_in_the_middle():
    found = found_by_id(a_run(a_plan()))
    absent, middle, top = (
        found[f"lookup.slope/{w}/cold"].measured.estimate for w in ("absent", "middle", "top")
    )
    assert (
        absent == pytest.approx(2e-6) and middle == pytest.approx(1e-6) and top == pytest.approx(0, abs=1e-12)
    )
    assert found["lookup.slope/absent/warm"].measured.estimate == pytest.approx(0, abs=1e-12)


def test_every_block_has_a_slope_of_its_own():
    run = a_run(a_plan(blocks=2, only="lookup"))
    of = [replace(r, tenants=(replace(t, observations=tuple(
              replace(o, value=o.value * (1 + r.block)) for o in t.observations)),))
          for r in run.records for t in r.tenants]  # fmt: skip
    assert depth(of, "lookup.absent.cold") == pytest.approx({0: 2e-6, 1: 4e-6})


def test_findings_stand_in_the_order_of_the_suite_whatever_that_of_the_trials():
    found = list(found_by_id(a_run(a_plan())))
    of = [f for f in found if f.startswith(("copyup.slope", "copyup.by", "mix"))]
    assert of == ["copyup.slope/disk", "copyup.slope/tmpfs", "copyup.slope/docker", "copyup.by/open",
                  "copyup.by/chmod", "copyup.by/chmod, metacopy", "copyup.by/open, volatile", "mix.all/bind",
                  "mix.all/overlay", "mix.all/tmpfs"]  # fmt: skip


def test_overlay_and_bind_are_compared_within_blocks():
    found = found_by_id(a_run(a_plan()))
    assert found["mix.all/overlay"].deviation.estimate == pytest.approx(1.0)
    assert found["mix.all/bind"].deviation is None
    assert found["copyup.by/chmod, metacopy"].deviation.estimate < -0.9
    assert found["whiteout.delete/disk"].deviation.estimate == pytest.approx(2.0)


def test_images_are_counted_as_layers_clones_and_overlays():
    found = found_by_id(a_run(a_plan()))
    taken = {
        name: found[f"economy.{name}"].measured.estimate for name in ("listed", "held", "clones", "overlays")
    }
    assert taken == {"listed": 1512e6, "held": 512e6, "clones": 2400e6, "overlays": 800.6e6}


def test_what_cannot_run_or_failed_is_a_finding_with_its_cause():
    def lacking(runtime, case):
        return Skipped(case, "not testable", "no engine", "start it") if runtime == "docker" else None

    run = a_run(a_plan(lacking=lacking), failed=lambda case: case.params.get("probe") == "mix")
    lost = [f for f in analysis.analyse(run) if f.measured is None]
    assert {(f.section, f.reason) for f in lost} == {
        ("copyup", "no engine"), ("mix", "all 8 trials failed: it said no"),
    }  # fmt: skip


def test_a_trial_whose_probe_told_nothing_is_no_number():
    run = a_run(a_plan())
    mute = tuple(
        replace(r, tenants=tuple(replace(t, observations=()) for t in r.tenants))
        if r.experiment == "mix"
        else r
        for r in run.records
    )
    found = [f for f in analysis.analyse(replace(run, records=mute)) if f.experiment and "mix" in f.id]
    assert found and {f.verdict for f in found} == {"not testable"}
    assert all("trials ended without a number" in f.reason for f in found)


@pytest.mark.parametrize(
    ("probe", "lacks"),
    [
        ("copyup", ("copyup.second",)), ("copyup", ("copyup.grown",)), ("copyup", ("copyup.first",)),
        ("whiteout", ("whiteout.names",)), ("whiteout", ("plain.freed", "whiteout.freed")),
        ("whiteout", ("whiteout.delete", "whiteout.freed", "plain.delete")), ("mix", ("mix.stat",)),
        ("mix", ("mix.all",)), ("lookup", ("lookup.top.cold",)), ("economy", ("economy.images",)),
    ],
)  # fmt: skip
def test_a_probe_that_told_a_part_leaves_a_gap_and_no_number_of_nothing(probe, lacks):
    run = a_run(a_plan(blocks=4), of=lambda params: {
        name: v for name, v in numbers(params).items() if params["probe"] != probe or name not in lacks
    })  # fmt: skip
    found = analysis.analyse(run)
    assert all(f.measured or f.verdict == "not testable" for f in found)
    assert not any("median of 0" in f.reason for f in found)
    of = {r.index: r.case for r in run.records}
    told = {of[index] for f in found for index in f.trials} | {f.id for f in found}
    assert {c.id for c in run.plan.cases} <= told
    assert conclusion(found)


def test_the_summary_says_what_is_copied_what_depth_costs_and_what_is_freed():
    said = conclusion(analysis.analyse(a_run(a_plan())))
    assert "1.05 ms for every MiB on the state directory's disk" in said
    assert "costs 2 µs for every layer the first time, and less than a nanosecond afterwards" in said
    assert "left 1000 names and 1 inode in the upper layer" in said and "with it nothing." in said
    assert conclusion([]) == "Nothing of the layered file system was measured."


def test_seconds_are_spelt_down_to_microseconds():
    assert [spell(v) for v in (2.0, 0.0034, 0.00099999, 8.5e-7, 0.0)] == [
        "2 s", "3.4 ms", "1 ms", "0.85 µs", "0 µs",
    ]  # fmt: skip


# --- claims ---------------------------------------------------------------------------------------


def test_p24_is_reproduced_where_files_are_copied_whole():
    assert set(words(a_run(a_plan())).values()) == {"reproduced"} and len(words(a_run(a_plan()))) == 9


def test_a_time_that_does_not_grow_inverts_linearity():
    chance = random.Random(3)
    run = a_run(a_plan(only="copyup"), lambda p: numbers(
        p, per_byte=0.0, noise=lambda: chance.uniform(0.6, 1.4)))  # fmt: skip
    found = words(run)
    assert found["on disk the time to copy a file up is linear in its size, R² above 0.95"] == "inverted"


def test_a_second_open_of_a_small_file_takes_about_as_long_and_is_not_held_against_the_claim():
    def of(params):
        found = numbers(params)
        return found | ({"copyup.second": found["copyup.first"]} if params["bytes"] < 2**24 else {})

    found = words(a_run(a_plan(only="copyup"), of))
    assert found["on disk the second open takes at most 5 % of the first from 16 MiB"] == "reproduced"


def test_a_slow_second_open_and_a_part_of_the_file_invert_theirs():
    found = words(a_run(a_plan(only="copyup"), lambda p: numbers(p, second=1.0, grown=0.5)))
    assert found["on disk the second open takes at most 5 % of the first from 16 MiB"] == "inverted"
    assert found["on disk the upper layer grows by the whole file"] == "inverted"


def test_a_container_whose_layer_is_smaller_than_its_files_inverts_the_growth():
    found = words(a_run(a_plan(), container=1000))
    assert found["in a container of docker the upper layer grows by the whole file"] == "inverted"


def test_too_few_blocks_leave_it_open():
    chance = random.Random(5)
    run = a_run(a_plan(blocks=3, only="copyup"), lambda p: numbers(p, noise=lambda: chance.uniform(0.9, 1.1)))
    assert (
        words(run)["on disk the time to copy a file up is linear in its size, R² above 0.95"]
        == "inconclusive"
    )


def test_where_blocks_are_shared_p24_does_not_apply():
    run = a_run(a_plan(only="copyup"), lambda p: numbers(p) | {"copyup.reflinks": float(p["on"] == "disk")})
    found = words(run)
    assert {w for text, w in found.items() if text.startswith("on disk")} == {"not applicable"}
    assert {w for text, w in found.items() if text.startswith("on tmpfs")} == {"reproduced"}
    assert [c.shares for c in copyings(run)] == [True, False]


@pytest.mark.parametrize(("disk", "word"), [(1600e6, "reproduced"), (800e6, "inverted")])
def test_p25_on_images_is_counted_and_its_other_parts_do_not_apply(disk, word):
    def of(params):
        return numbers(params) | ({"economy.disk": disk} if params["probe"] == "economy" else {})

    assert list(words(a_run(a_plan(), of), "P25").values()) == [word, "not applicable", "not applicable"]


# --- the report -----------------------------------------------------------------------------------


def test_the_report_has_the_line_the_depth_and_the_claims():
    run = a_run(a_plan())
    run = replace(run, finding_list=tuple(analysis.analyse(run)))
    page = document.build(run)
    drawn = [f.id for s in page.sections for f in s.figures]
    assert drawn == ["fig-copyup", "fig-lookup"]
    assert {s.name for s in page.sections} == {"copyup", "lookup", "whiteout", "mix", "economy"}
    assert sum(len(g.claims) for g in page.literature.groups) == 12
