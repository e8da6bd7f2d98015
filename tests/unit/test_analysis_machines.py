"""Tenants in virtual machines: which side is read, what is emulated, and what a guest believes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench import frames, store
from bench.analysis import evidence, machines, quality, series
from bench.analysis import findings as analysis
from bench.analysis.measures import GUEST_PHASE, PHASE, Question, measure, slope
from bench.analysis.series import Series
from bench.model import Exit, Judgement, Observation, TenantRecord, TrialRecord
from tests import builders
from tests import machines as made

RATE = Judgement("rate", "cpu.usage", limit="cpu")
FENCE = Judgement("outside", "cpu.seconds_on", limit="cpuset")
ANONYMOUS = Judgement(
    "observed", "memory.rss_anon", limit="memory", exit="oom", event="memory.events.oom_kill",
    options={"inside": "host.oom_kill"},
)  # fmt: skip


def frame(*rows: tuple[str, str, str, float, float]) -> pd.DataFrame:
    """Rows of (tenant, collector, metric, time, value) in trial 3."""
    columns = ["tenant", "collector", "metric", "time", "value"]
    return pd.DataFrame(rows, columns=columns).assign(trial=3)


def tenant(**changes: Any) -> TenantRecord:
    marks = (Observation(0.5, "event.start", 1), Observation(2.6, "event.end", 1))
    return replace(
        TenantRecord("a", {}, Exit("exited", 0), 0.0, 3.0, marks, cgroup="/sys/fs/cgroup/cpu/qemu-1"),
        **changes,
    )


def trial(*tenants: TenantRecord) -> TrialRecord:
    return TrialRecord(
        index=3, block=0, case="c", experiment="e", runtime="libvirt", status="ok", reason="", image="i",
        wall_time="", duration=3.0, workload_seconds=3.0, tenants=tenants,
    )  # fmt: skip


MACHINE = frame(
    ("a", "cgroup", "cpu.usage", 1.0, 0.5), ("a", "cgroup", "memory.peak", 1.0, 9e8),
    ("a", "cgroup", "pids.current", 1.0, 7.0), ("a", "guest.cgroup", "cpu.usage", 1.0, 1.9),
    ("a", "guest.cgroup", "memory.peak", 1.0, 1e8),
)  # fmt: skip


# --- which side ---------------------------------------------------------------------------------


def test_of_a_machine_memory_is_read_inside_and_cpu_time_outside() -> None:
    found = Series(MACHINE)
    assert found.largest(3, "a", "memory.peak") == 1e8
    assert found.largest(3, "a", "cpu.usage") == 0.5
    assert found.largest(3, "a", "guest.cpu.usage") == 1.9


def test_the_memory_of_qemu_is_never_taken_for_that_of_the_tenant() -> None:
    assert Series(MACHINE).largest(3, "a", "pids.current") is None
    outside = MACHINE[~MACHINE["collector"].str.startswith("guest.")]
    assert Series(outside, {(3, "a"): True}).largest(3, "a", "memory.peak") is None
    assert Series(outside).largest(3, "a", "memory.peak") == 9e8


def test_of_a_container_inside_a_guest_everything_is_read_inside() -> None:
    inside = Series(MACHINE[MACHINE["collector"] == "guest.cgroup"])
    assert inside.largest(3, "a", "cpu.usage") == 1.9
    assert not inside.bounded_outside(3, "a")
    # The record says that this machine has a group: what the guest counts must not stand in for it.
    assert Series(MACHINE[MACHINE["collector"] == "guest.cgroup"], {(3, "a"): True}).get(
        3, "a", "cpu.usage"
    ) is None  # fmt: skip


def test_another_tenant_of_the_trial_without_a_machine_is_read_as_always() -> None:
    other = frame(("b", "cgroup", "memory.peak", 1.0, 5.0))
    assert Series(pd.concat([MACHINE, other])).largest(3, "b", "memory.peak") == 5.0


def test_counters_of_a_whole_guest_count_from_their_first_reading() -> None:
    rows = [("a", "guest.host", "host.oom_kill", t, v) for t, v in ((0.1, 4.0), (1.0, 5.0))]
    assert Series(frame(*rows)).increment(3, "a", "guest.host.oom_kill") == 1.0
    assert Series(frame(*rows)).get(3, "a", "host.oom_kill") is None


def test_what_a_machine_did_before_the_trial_is_no_evidence_of_it() -> None:
    before = [("a", "cgroup", "cpu.nr_throttled", t, 40.0) for t in (0.1, 1.0)]
    inside = ("a", "guest.cgroup", "memory.events.max", 1.0, 3.0)
    found = Series(frame(*before, inside))
    assert found.increment(3, "a", "cpu.nr_throttled") == 0.0
    assert found.increment(3, "a", "memory.events.max") == 3.0  # the group inside is fresh


# --- rates from inside --------------------------------------------------------------------------


def arrivals(late: float) -> pd.DataFrame:
    """A guest's readings, those of the second part arriving `late` seconds after their time."""
    times = [0.03 + 0.1 * i for i in range(30)]
    return frame(
        *(
            ("a", "guest.cgroup", "cpu.usage", t + (late if i > 12 else 0), 0.5 * t)
            for i, t in enumerate(times)
        )
    )


def test_readings_stamped_on_arrival_may_miss_whole_periods_by_more() -> None:
    inside = tenant(cgroup=None)
    found = measure(Question(RATE, {}, 0.2, False), trial(inside), Series(arrivals(0.012)))
    assert found.value == pytest.approx(0.5, rel=0.01)
    times = np.array([0.0, 1.012])
    assert slope(times, times, 0.0, 2.0, phase=PHASE).value is None
    assert slope(times, times, 0.0, 2.0, phase=GUEST_PHASE).value == pytest.approx(1.0)


def test_even_so_a_reading_that_comes_too_late_is_not_used() -> None:
    found = measure(Question(RATE, {}, 0.2, False), trial(tenant(cgroup=None)), Series(arrivals(0.05)))
    assert found.value is None
    assert "whole number of periods" in found.reason


def test_among_arrivals_the_pair_nearest_to_whole_periods_is_taken() -> None:
    times = np.array([0.018, 0.1, 0.2, 0.3, 1.0, 1.1, 1.2, 1.3 + 0.018])
    usage = np.array([0.0, 0.1, 0.2, 0.3, 1.0, 1.1, 1.2, 1.3])
    assert slope(times, usage, 0.0, 2.0, phase=GUEST_PHASE).value == pytest.approx(1.0, abs=1e-9)


# --- CPU sets, weights, kills -------------------------------------------------------------------


def on(cpu: str, seconds: float) -> Observation:
    return Observation(2.0, "cpu.seconds_on", seconds, "s", {"cpu": cpu})


def test_a_guest_s_cpu_numbers_say_nothing_of_the_host_s() -> None:
    numbered = tenant(observations=(on("0", 1.0), on("1", 1.0)), facts={"cpu.numbering": "guest"})
    question = Question(FENCE, {"a": {"cpuset": "1"}}, 0.0, False)
    host = [("a", "domain", f"cpu.seconds_on.{c}", t, v) for c, v in ((0, 3.0), (1, 4.0)) for t in (0.1, 1.0)]
    host[-1] = ("a", "domain", "cpu.seconds_on.1", 1.0, 6.0)
    found = measure(question, trial(numbered), Series(frame(*host)))
    assert found.value == 0.0
    assert "host" in found.source
    silent = measure(question, trial(numbered), Series(MACHINE))
    assert (silent.value, silent.testable) == (None, False)
    assert "CPU numbers of its machine" in silent.reason
    plain = replace(numbered, facts={})
    assert measure(question, trial(plain), Series(frame(*host))).value == 0.5


def test_containers_in_one_guest_are_siblings_by_their_groups_inside() -> None:
    share = Judgement("share", "cpu.usage", limit="cpu.weight")
    pair = [tenant(name=n, cgroup=None, facts={"guest.cgroup": f"/system.slice/docker-{n}"}) for n in "ab"]
    rows = [(n, "guest.cgroup", "cpu.usage", 0.03 + 0.1 * i, 0.1 * i) for n in "ab" for i in range(30)]
    found = measure(Question(share, {}, 0.2, False), trial(*pair), Series(frame(*rows)))
    assert found.value == pytest.approx(0.5)


def kills(host: float, inside: float, cgroup: str | None) -> tuple[float | None, ...]:
    rows = [("", "host", "host.oom_kill", t, 7 + host * t) for t in (0.0, 1.0)]
    rows += [("a", "guest.host", "host.oom_kill", t, inside * t) for t in (0.0, 1.0)]
    rows += [("a", "guest.cgroup", "memory.events.oom_kill", 1.0, 1.0)]
    rows += [("a", "cgroup", "cpu.usage", 1.0, 1.0)] if cgroup else []
    killed = tenant(exit=Exit("oom", signal=9), cgroup=cgroup)
    return evidence.spilled([trial(killed)], ANONYMOUS, Series(frame(*rows)))


def test_a_kill_inside_a_machine_is_not_one_of_the_host() -> None:
    assert kills(host=0, inside=1, cgroup="/qemu") == (0.0,)
    assert kills(host=1, inside=1, cgroup="/qemu") == (1.0,)


def test_beside_a_container_in_a_guest_every_further_kill_there_is_outside() -> None:
    assert kills(host=0, inside=1, cgroup=None) == (0.0,)
    assert kills(host=0, inside=2, cgroup=None) == (1.0,)


# --- whole runs ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> frames.Run:
    base = tmp_path_factory.mktemp("runs")
    return frames.load(made.write_run(base, made.make_plan(blocks=2)))


@pytest.fixture(scope="module")
def found(run: frames.Run) -> list[Any]:
    return analysis.analyse(run)


def test_every_limit_holds_in_machines_as_it_does_outside(found: list[Any]) -> None:
    verdicts = {f.verdict for f in found if f.runtime in made.BOOTS}
    assert verdicts <= {"pass", "not offered", "not testable", "inconclusive", None}
    assert sum(f.verdict == "pass" for f in found if f.runtime == "libvirt") >= 20


def test_every_finding_of_an_emulated_runtime_says_so_those_that_did_not_run_included(
    found: list[Any],
) -> None:
    assert {f.runtime for f in found if f.emulated} == set(made.BOOTS)
    assert all(f.emulated for f in found if f.runtime in made.BOOTS)


def test_what_qemu_said_wins_over_what_the_plan_expected(tmp_path: Any) -> None:
    plan = made.make_plan(only="cpu-ceiling", blocks=2, runtimes=("process", "libvirt"))
    native = frames.load(made.write_run(tmp_path, plan, made.carried("kvm")))
    assert not any(f.emulated for f in analysis.analyse(native))
    assert analysis.conclusion(analysis.analyse(native)).count("emulated") == 0


def test_findings_of_older_versions_load_and_are_not_emulated() -> None:
    from pathlib import Path

    golden = store.open_run(Path(__file__).parents[1] / "golden" / "run-format-1")
    kept = golden.findings()
    assert kept is not None
    assert not any(f.emulated for f in kept.findings)
    assert golden.info.plan.emulated == ()


def test_the_conclusion_names_emulated_runtimes_and_says_what_their_speed_means(found: list[Any]) -> None:
    text = analysis.conclusion(found)
    assert "libvirt (emulated) " in text
    assert text.endswith(
        "3 runtimes ran in emulated virtual machines (no usable KVM on this host): their verdicts on limits "
        "are real, their speed says nothing about what virtual machines cost."
    )


def test_the_evidence_shows_what_the_guest_believed(found: list[Any]) -> None:
    (half,) = [f for f in found if f.id == "cpu-ceiling/libvirt/0.5 cores"]
    assert half.evidence["guest.cpu.rate"] == pytest.approx(1.96, rel=0.01)
    assert half.measured.estimate == pytest.approx(0.5, rel=0.02)
    (docker,) = [f for f in found if f.id == "cpu-ceiling/docker-vm/0.5 cores"]
    assert "guest.cpu.rate" not in docker.evidence


def test_the_evidence_of_a_kill_inside_claims_none_on_the_host(found: list[Any]) -> None:
    (killed,) = [f for f in found if f.id == "memory-anonymous/libvirt/128 MiB + swap 0 B"]
    assert killed.evidence["memory.events.oom_kill"] == 1
    assert killed.evidence["host.oom_kill"] == 0
    assert killed.evidence["kills.outside"] == 0


def test_a_program_that_gets_less_than_its_machine_has_is_told_why(tmp_path: Any) -> None:
    plan = made.make_plan(only="memory-anonymous", blocks=2, runtimes=("process", "libvirt"))

    def less(case: Any, record: Any, samples: Any) -> builders.Trial:
        record, samples = made.carried()(case, record, samples)
        return builders.scaled(record, "memory.rss_anon", 0.7), samples

    small = analysis.analyse(frames.load(made.write_run(tmp_path, plan, less)))
    reasons = [f.reason for f in small if f.runtime == "libvirt" and f.verdict == "fail"]
    assert len(reasons) == 2
    assert all("own kernel and agent live in that memory" in r for r in reasons)


def test_weights_between_machines_that_keep_a_cpu_each_say_why(tmp_path: Any) -> None:
    plan = made.make_plan(only="cpu-weight", blocks=3, runtimes=("process", "docker", "libvirt"))
    evening = {"heavy": 0.75, "light": 1.5}

    def even(case: Any, record: Any, samples: Any) -> builders.Trial:
        record, samples = made.carried()(case, record, samples)
        if record.case.endswith("/2:1") and case.runtime != "process":
            samples = [
                replace(s, value=s.value * evening[s.tenant]) if s.metric == "cpu.usage" else s
                for s in samples
            ]
        return record, samples

    found = {f.id: f for f in analysis.analyse(frames.load(made.write_run(tmp_path, plan, even)))}
    assert {found[f"cpu-weight/{r}/2:1"].verdict for r in ("docker", "libvirt")} <= {"fail", "not enforced"}
    told = [name for name, f in found.items() if "no more threads to the host" in f.reason]
    assert told == ["cpu-weight/libvirt/2:1"]


def test_machines_are_described_by_runtime_with_a_shared_one_counted_once(run: frames.Run) -> None:
    by_name = {m.runtime: m for m in machines.machines(run, series.of(run))}
    assert list(by_name) == ["libvirt", "vagrant", "docker-vm"]
    assert by_name["libvirt"].boots == ("micro",)
    assert by_name["libvirt"].ready.n > 40
    assert by_name["docker-vm"].ready.n == 1
    assert by_name["docker-vm"].ready.low is None


def test_cpu_time_of_booting_is_not_in_the_split_and_both_sides_cover_the_same_time(run: frames.Run) -> None:
    machine = machines.machines(run, series.of(run))[0]
    parts = machine.parts
    assert parts["vcpu"] / parts["emulator"] == pytest.approx(0.93 / 0.05, rel=0.01)
    assert sum(parts.values()) < 5
    assert machine.inside > machine.outside > 0
    assert machine.steal == 0


def test_a_run_without_machines_has_none(tmp_path: Any) -> None:
    plan = made.make_plan(only="pids", blocks=2, runtimes=("process", "docker"))
    plain = frames.load(made.write_run(tmp_path, plan))
    assert machines.machines(plain, series.of(plain)) == ()


def test_cpu_time_of_machines_is_not_compared_with_what_was_counted_inside(run: frames.Run) -> None:
    only = replace(run, records=tuple(r for r in run.records if r.runtime in made.BOOTS))
    checks = {c.name: c for c in quality.quality(only).checks}
    assert checks["accounting"].trials == 0
