"""A machine or gVisor whose fsync is faster than its host's has no numbers about a disk."""

from __future__ import annotations

from dataclasses import replace

import pytest
from overhead_material import LADDER, WORK
from places_material import WORKS, a_plan, a_run, held, rates

from bench import analysis, suite
from bench.analysis import durability, ladder, wording
from bench.model import PLACE
from bench.render import terminal

HOST = {0: 100.0, 1: 100.0, 2: 100.0}


def times(factor):
    return {block: rate * factor for block, rate in HOST.items()}


@pytest.mark.parametrize(
    ("factor", "durable"), [(0.3, None), (1.0, None), (1.2, None), (1.21, False), (40, False)]
)
def test_more_than_a_fifth_more_fsyncs_than_the_host_is_not_durable(factor, durable):
    found = durability.judged(times(factor), HOST)
    assert found.durable is durable and found.ratio == pytest.approx(factor)
    assert found.reason.startswith("not durable: ") is (durable is False)


def test_a_cache_mode_that_ignores_flushes_is_not_durable_however_slow_it_is_and_others_say_nothing():
    slow = durability.judged(times(0.03), HOST, "unsafe")
    assert (slow.durable, slow.ratio) == (False, pytest.approx(0.03))
    assert slow.reason.startswith("not durable: QEMU's cache mode unsafe ignores every flush; no sign")
    assert durability.judged({}, HOST, "unsafe").durable is False
    assert all(
        durability.judged(times(0.9), HOST, mode).durable is None for mode in ("none", "writeback", "")
    )
    assert durability.judged(times(3), HOST, "unsafe").reason.startswith("not durable: 3 × the fsyncs")


def test_the_ratio_is_within_blocks_and_its_median():
    assert durability.judged({0: 100.0, 1: 50.0, 2: 400.0}, {0: 100.0, 1: 50.0, 2: 100.0}).durable is None


@pytest.mark.parametrize(
    ("mine", "host", "why"),
    [
        (HOST, {}, "the host's fsync rate on the same file system was not measured"),
        ({}, HOST, "its fsync rate was not measured"),
        ({5: 900.0}, HOST, "no block has its fsync rate and the host's"),
    ],
)
def test_without_both_rates_there_is_no_label_and_a_reason(mine, host, why):
    found = durability.judged(mine, host)
    assert (found.durable, found.ratio) == (None, None) and found.reason.endswith(why)


def safe(case):
    """Facts of disks that all are told to wait."""
    return {**held(case), **({"place.cache": "none"} if "place.cache" in held(case) else {})}


def unsafe(case, block, rng):
    """The root of a machine answers fsync at once; its disk waits."""
    fast = case.params.get(PLACE) == "root" and "libvirt" in case.runtime and "fsync" in case.experiment
    return rates({})(case, block, rng) * (3.4 if fast else 1)


def findings(run, place, runtime="libvirt:micro"):
    return {
        f.experiment: f for f in analysis.analyse(run) if f.runtime == runtime and f.params == {PLACE: place}
    }


def test_every_result_on_that_disk_carries_the_label_and_no_other_does():
    run = a_run(a_plan(), unsafe)
    assert [f.durable for f in findings(run, "root").values()] == [False, False]
    assert [f.durable for f in findings(run, "qcow2").values()] == [None, None]
    assert [f.durable for f in findings(run, "tmpfs").values()] == [None, None]
    assert [f.durable for f in findings(run, "root", "docker").values()] == [None, None]
    written = findings(run, "root")["places-write4k"]
    assert "not durable: 3.39 × the fsyncs a second of the host itself" in written.reason
    assert wording.runtime_name(written) == "libvirt:micro (not durable)"
    assert any("libvirt:micro (not durable): places-write4k" in line for line in terminal.plain([written]))


def test_a_machine_that_is_slow_and_ignores_flushes_is_labelled_by_its_cache_mode():
    run = a_run(a_plan(), rates({}))
    found = findings(run, "root").values()
    assert [f.durable for f in found] == [False, False]
    assert all("not durable: QEMU's cache mode unsafe ignores every flush" in f.reason for f in found)
    assert "machine on its own root (ext4) (QEMU's cache mode unsafe)." in analysis.summary(run, [])


def test_the_conclusion_names_what_is_not_durable():
    run = a_run(a_plan(), unsafe)
    said = analysis.summary(run, analysis.analyse(run))
    assert (
        "Not durable, as a flush is not waited for: machine on its own root (ext4) (3.39 × the host" in said
    )
    honest = a_run(a_plan(), rates({}), facts=safe)
    assert "durable" not in analysis.summary(honest, analysis.analyse(honest))


def test_a_disk_that_one_kind_of_work_alone_was_done_on_is_labelled_by_that():
    run = a_run(a_plan(), rates({}))
    for experiment in {r.experiment for r in run.records}:
        left = (r for r in run.records if not (r.experiment == experiment and r.runtime == "libvirt:micro"))
        said = analysis.summary(replace(run, records=tuple(left)), [])
        assert "machine on its own root (ext4) (QEMU's cache mode unsafe)." in said


def test_gvisor_is_held_to_the_same_rule_and_a_container_of_this_kernel_is_not():
    def fast(case, block, rng):
        return rates({})(case, block, rng) * (
            2 if case.runtime.startswith("docker") and case.params[PLACE] == "bind" else 1
        )

    run = a_run(a_plan(), fast)
    assert findings(run, "bind", "docker:runsc")["places-fsync"].durable is False
    assert findings(run, "bind", "docker")["places-fsync"].durable is None


def test_a_run_that_has_no_fsync_rate_of_the_host_labels_nothing_and_says_why():
    def value(case, block, rng):
        return None if case.runtime == "process" and "fsync" in case.experiment else unsafe(case, block, rng)

    found = findings(a_run(a_plan(), value, facts=safe), "root")["places-write4k"]
    assert (
        found.durable is None
        and "the host's fsync rate on the same file system was not measured" in found.reason
    )
    without = findings(a_run(a_plan(WORKS[1:]), unsafe, facts=safe), "root")["places-write4k"]
    assert without.durable is None and "its fsync rate was not measured" in without.reason


def test_a_rung_of_the_ladder_is_held_to_it_as_well_by_the_same_disk_alone():
    def work(name, metric, needs):
        text = WORK.format(name=name, title=name, metric=metric, unit="1/s").replace("cpu/sysbench", "io/fio")
        return text.replace("limits", f"needs = {needs}\nlimits")

    more = work("fsync", "io.sync.rate", '["disk"]') + work("read4k", "io.iops", '["disk"]')
    more += work("other", "io.iops", "[]")
    plan = a_plan((), more=more)
    assert {e.name for e in plan.suite.experiments} == {"fsync", "read4k", "other"}

    def value(case, block, rng):
        fast = "libvirt" in case.runtime and case.experiment == "fsync"
        return 1000 * (1 + rng.gauss(0, 0.003)) * (9 if fast else 1)

    run = a_run(plan, value, facts=lambda case: {k: v for k, v in held(case).items() if "place" not in k})
    found = {of.experiment.name: {x.rung.runtime: x for x in of.levels} for of in ladder.ladders(run)}
    assert (
        found["fsync"]["libvirt:micro"].durable is False and found["read4k"]["libvirt:micro"].durable is False
    )
    assert found["fsync"]["docker"].durability is None
    assert found["other"]["libvirt:micro"].durable is None
    said = {f.id: f for f in analysis.analyse(run)}["overhead/read4k/libvirt:micro/768 MiB"]
    assert said.durable is False and "not durable: 8.99 ×" in said.reason
    assert suite.parse(LADDER + more, "s", "s.toml").rungs
