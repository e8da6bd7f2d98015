from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import plan, suite
from bench.commands import assembly, listing
from bench.feasible import Host
from bench.host import cgroups
from bench.model import Case, Missing, Plan, Skipped, Tenant
from tests import machines

SUITE = suite.load("cgroups")


def planned(seed: int = 1, **options) -> Plan:
    options.setdefault("lacking", lambda runtime, case: None)
    return plan.make(SUITE, ("process", "cgroup"), seed=seed, baseline=lambda r: r == "process", **options)


def test_a_block_holds_every_case_once():
    made = planned(blocks=3)
    ids = sorted(c.id for c in made.cases)
    for block in range(3):
        assert sorted(t.case for t in made.trials if t.block == block) == ids
    assert [t.index for t in made.trials] == list(range(len(made.trials)))


@given(st.integers(0, 2**32))
def test_the_order_comes_from_the_seed_alone(seed: int):
    assert planned(seed).trials == planned(seed).trials


def test_blocks_are_in_different_orders():
    made = planned(blocks=2)
    first, second = ([t.case for t in made.trials if t.block == b] for b in (0, 1))
    assert first != second


def test_a_baseline_has_one_case_for_all_rows():
    made = planned()
    controls = [c for c in made.cases if c.runtime == "process" and c.experiment == "cpu-ceiling"]
    assert [c.id for c in controls] == ["cpu-ceiling/process/control"]
    assert not any(t.limits for c in controls for t in c.tenants)
    assert len([c for c in made.cases if c.runtime == "cgroup" and c.experiment == "cpu-ceiling"]) == 5


def test_rows_know_the_ids_of_their_cases():
    made = planned()
    ids = {c.id for c in made.cases}
    for experiment in SUITE.experiments:
        for row in plan.rows(experiment):
            assert row.case_id("cgroup") in ids
            assert row.control_id("process") in ids


def test_weights_are_labelled_as_a_ratio():
    weight = next(e for e in SUITE.experiments if e.name == "cpu-weight")
    assert [r.label for r in plan.rows(weight)] == ["1:1", "2:1", "4:1", "10:1"]
    assert [r.label for r in plan.rows(weight, quick=True)] == ["4:1"]


def test_a_cell_that_cannot_run_is_kept_with_its_reason():
    made = planned(
        lacking=lambda r, c: Skipped(c, "not testable", "no", "fix") if "io" in c.experiment else None
    )
    assert {s.case.experiment for s in made.skipped} >= {"io-write-direct", "io-weight-bfq"}
    assert not any("io-" in t.case for t in made.trials)


def test_quick_is_a_subset_that_is_much_shorter():
    assert plan.estimate(planned(quick=True)) < plan.estimate(planned()) / 4


def test_extending_adds_one_block_of_the_given_cases():
    made = planned(blocks=2)
    more = plan.extend(made, [made.cases[3].id, made.cases[5].id, "no such case"])
    added = more.trials[len(made.trials) :]
    assert {t.case for t in added} == {made.cases[3].id, made.cases[5].id}
    assert {t.block for t in added} == {2}
    assert [t.index for t in more.trials] == list(range(len(more.trials)))


def test_a_case_that_the_budget_gave_few_blocks_has_more_where_it_is_undecided():
    made = planned(blocks=None, emulated=["cgroup"])
    few = [replace(c, blocks=3) if c.runtime == "cgroup" else c for c in made.cases]
    made = replace(made, cases=tuple(few))
    wanted = next(c.id for c in few if c.runtime == "cgroup")
    more = plan.extend(made, [wanted])
    assert [(t.case, t.block) for t in more.trials[len(made.trials) :]] == [(wanted, made.blocks)]


def test_workloads_of_emulated_runtimes_last_longer_and_are_the_same_otherwise():
    native, slow = planned(), planned(emulated=["cgroup"])
    assert (native.emulated, slow.emulated) == ((), ("cgroup",))
    for before, after in zip(native.cases, slow.cases, strict=True):
        factor = plan.STRETCH if after.runtime == "cgroup" else 1
        for a, b in zip(before.tenants, after.tenants, strict=True):
            assert dict(b.args) == {k: v * factor if k == "seconds" else v for k, v in a.args.items()}
    assert plan.estimate(slow) > 1.5 * plan.estimate(native)


def test_only_keeps_matching_experiments():
    assert {c.experiment for c in planned(only="cpuset").cases} == {"cpuset"}


def test_the_estimate_counts_only_what_is_left():
    made = planned(blocks=1)
    assert plan.estimate(made, done=[t.index for t in made.trials]) == 0
    assert plan.estimate(replace(made, trials=made.trials[:1])) < plan.estimate(made)


# --- which runtimes, and what they take ---------------------------------------------------------


class Machines:
    """A runtime of machines; `lacking` and `slow` are what a host would answer."""

    def __init__(self, lacking: bool = False, slow: bool = False) -> None:
        self.lacking, self.slow = lacking, slow

    def requires(self) -> list[Missing]:
        return [Missing("qemu", "no QEMU", "apt-get install qemu")] if self.lacking else []

    def emulated(self) -> bool:
        assert not self.lacking, "a runtime that cannot run must not be asked"
        return self.slow


def given_machines(monkeypatch: pytest.MonkeyPatch, machines: Machines) -> None:
    monkeypatch.setattr(
        assembly.runtime_registry, "names", lambda: ["docker", "libvirt", "podman", "process"]
    )
    monkeypatch.setattr(assembly.runtime_registry, "load", lambda name: machines)


@pytest.mark.parametrize(
    ("machines", "joins"),
    [(Machines(), True), (Machines(slow=True), False), (Machines(lacking=True), False)],
)
def test_machines_join_unasked_only_where_they_run_natively(monkeypatch, machines, joins):
    given_machines(monkeypatch, machines)
    found = assembly.chosen_runtimes(None, ("process", "docker"))
    assert found == ["process", "docker", *(["libvirt"] if joins else [])]


def test_all_is_every_registered_runtime_and_named_ones_are_taken_as_they_are(monkeypatch):
    given_machines(monkeypatch, Machines(slow=True))
    assert assembly.chosen_runtimes("all", ("process", "docker")) == [
        "process",
        "docker",
        "libvirt",
        "podman",
    ]
    assert assembly.chosen_runtimes("process, libvirt:full", ("process",)) == ["process", "libvirt:full"]
    assert assembly.chosen_runtimes("libvirt:full,all", ("process",))[0] == "libvirt:full"


def test_the_plan_knows_its_emulated_runtimes_and_does_not_ask_those_that_cannot_run():
    known = {"process": Machines(), "libvirt": Machines(slow=True), "vagrant": Machines(lacking=True)}
    host = Host(known, None, cgroups.detect(), 2, 2**30, root=True)  # type: ignore[arg-type]
    assert assembly.emulated(host) == ["libvirt"]


def test_the_plan_says_what_each_runtime_takes_and_which_are_emulated():
    made = machines.make_plan(only="cpu-ceiling", blocks=2)
    lines = list(listing.plan_lines(made))
    assert "libvirt (emulated)" in lines[1]
    (own,) = [line for line in lines if line.startswith("libvirt (emulated)")]
    assert "5 cases   10 trials" in own
    assert "about 60 s" in own  # 10 × (1.8 s of work + 4.2 s of booting)
    assert any(line.startswith("emulated: no usable KVM") for line in lines)
    plain = list(listing.plan_lines(planned()))
    assert not any("emulated" in line for line in plain)


def test_a_value_that_a_runtime_refuses_is_not_testable_with_its_cause():
    class Small:
        title, needs_image, controls = "small machine", False, frozenset({"memory"})

        def requires(self) -> list[Missing]:
            return []

        def lacks(self, limit: str) -> None:
            return None

        def refuses(self, tenant: Tenant) -> Missing | None:
            return Missing("memory", "a guest of 64 MiB does not boot", "ask more")

    host = Host({"small": Small()}, None, cgroups.detect(), 2, 2**34, root=True)  # type: ignore[dict-item]
    case = Case("c", "e", "small", (Tenant("a", "memory/touch", {}, {"memory": 2**26}),))
    skipped = host.why_not("small", case)
    assert skipped is not None
    assert (skipped.verdict, skipped.cause) == ("not testable", "a guest of 64 MiB does not boot")


def test_stopping_is_not_offered_by_a_machine_and_the_reason_is_told():
    from bench.runtimes.libvirt import Runtime as Libvirt

    host = Host({"libvirt": Libvirt()}, None, cgroups.detect(), 2, 2**34, root=True)
    case = Case("c", "e", "libvirt", (Tenant("a", "start/ready", {}, {}),), {"entry": "exec", "grace": 10})
    skipped = host.why_not("libvirt", case)
    assert skipped is not None
    assert skipped.verdict == "not offered" and "SIGTERM" in skipped.cause
