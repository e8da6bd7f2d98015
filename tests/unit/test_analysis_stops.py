"""What a run of stops says: medians by entry, who needed SIGKILL, and whether the trap was there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import analysis, suite
from bench import plan as planning
from bench.analysis.start_claims import evaluate, swallowing
from bench.errors import SuiteError
from bench.frames import Run
from bench.model import Exit, HostFacts, Observation, TenantRecord, TrialRecord


def a_plan(only="stop", blocks=20, **options):
    return planning.make(
        suite.load("startup"), ("process", "docker"), seed=1, blocks=blocks,
        baseline=lambda r: r == "process", lacking=lambda runtime, case: None, only=only, **options,
    )  # fmt: skip


def a_run(ended):
    """A run in which `ended(runtime, entry)` is (seconds, killed, left)."""
    plan = a_plan()
    cases = {c.id: c for c in plan.cases}
    records = []
    for planned in plan.trials:
        case = cases[planned.case]
        after, killed, left = ended(case.runtime, case.params["entry"])
        told = {"term.ended": after, "term.killed": killed, "term.left": left, "term.removed": after + 0.1}
        observed = tuple(Observation(after, k, float(v), "s") for k, v in told.items())
        tenant = TenantRecord("a", {}, Exit("exited", 0), 0.0, 1.0, observed)
        records.append(TrialRecord(
            planned.index, planned.block, case.id, case.experiment, case.runtime, "ok", "", "sha256:0",
            "2026-01-01T00:00:00+0000", 1.0, 1.0, (tenant,), dict(case.params),
        ))  # fmt: skip
    return Run(Path("runs/x"), plan, HostFacts({}, {}, {}), "", "0", (), tuple(records), (), "")


def trap(runtime, entry):
    if runtime == "process":
        return (0.001, 0, int(entry == "shell"))
    return (10.2, 1, 0) if entry == "shell" else (0.2, 0, 0)


def test_each_entry_is_a_line_of_its_own_with_what_happened():
    found = {(f.runtime, "shell" in f.case): f for f in analysis.analyse(a_run(trap))}
    assert len(found) == 4
    shell, plain = found["docker", True], found["docker", False]
    assert shell.experiment != plain.experiment
    assert shell.measured.estimate == pytest.approx(10.2) and shell.measured.n == 3
    assert "3 of 3 ended by SIGKILL only, after the grace period of 10 s" in shell.reason
    assert shell.evidence["failed"] == 0
    assert plain.measured.estimate == pytest.approx(0.2)
    assert "none needed SIGKILL" in plain.reason
    assert plain.deviation.estimate == pytest.approx(199)  # against the process entered alike
    assert "in 3 of 3 the payload outlived" in found["process", True].reason


@pytest.mark.parametrize(
    ("shell", "plain", "word"),
    [
        ((10.2, 1, 0), (0.2, 0, 0), "reproduced"),
        ((0.3, 0, 0), (0.2, 0, 0), "inverted"),
        ((10.2, 1, 0), (10.2, 1, 0), "inconclusive"),  # then it is not the shell
        ((3.0, 1, 0), (0.2, 0, 0), "inconclusive"),  # killed before the grace period was over
    ],
)
def test_the_trap_is_reproduced_only_where_the_shell_alone_makes_the_stop_wait(shell, plain, word):
    run = a_run(lambda runtime, entry: shell if entry == "shell" else plain)
    found = {e.claim.runtime: e for e in swallowing(run)}
    assert found["docker"].word == word
    assert "docker" in found["docker"].claim.text
    assert f"medians {shell[0]:.3g} s" in found["docker"].reason or shell[0] < 1


def test_where_the_shell_is_not_pid_1_the_trap_does_not_apply():
    found = {e.claim.runtime: e for e in swallowing(a_run(trap))}
    assert found["process"].word == "not applicable" and "not PID 1" in found["process"].reason
    assert found["docker"].word == "reproduced" and "10.2 s" in found["docker"].reason


def test_fewer_than_three_stops_decide_nothing_and_silent_ones_do_not_count():
    run = a_run(trap)
    entered = [
        [r for r in run.records if r.runtime == "docker" and r.params["entry"] == e]
        for e in ("shell", "exec")
    ]

    def found(records):
        return [e for e in swallowing(replace(run, records=tuple(records))) if e.claim.runtime == "docker"]

    (few,) = found([*entered[0], *entered[1][:2]])
    assert few.word == "inconclusive" and few.reason.endswith("SIGKILL needed in 3 of 3 and 0 of 2")
    mute = [replace(r, tenants=(replace(r.tenants[0], observations=()),)) for r in entered[1]]
    assert found([*entered[0], *mute]) == []


def test_stops_are_no_starts():
    assert {e.word for e in evaluate(a_run(trap))} == {"not applicable"}


def test_a_run_without_stops_says_nothing_of_the_trap():
    run = a_run(trap)
    assert swallowing(replace(run, records=())) == []


def test_a_bounded_experiment_has_its_blocks_after_the_warm_up_and_no_others_change():
    both, alone = a_plan(""), a_plan("start")
    blocks = {}
    for trial in both.trials:
        blocks.setdefault(trial.case.split("/")[0], []).append(trial.block)
    assert set(blocks["stop"]) == {1, 2, 3} and len(blocks["stop"]) == 3 * 2 * 2
    assert set(blocks["start"]) == set(range(21)) and len(blocks["start"]) == len(alone.trials)


def test_a_stop_behind_a_shell_is_expected_to_take_the_grace_period():
    seconds = {c.id: c.seconds for c in a_plan().cases}
    quick = {c.id: c.seconds for c in a_plan(quick=True).cases}
    assert max(seconds.values()) - min(seconds.values()) == 10
    assert max(quick.values()) - min(quick.values()) == 2


@pytest.mark.parametrize(("old", "new"), [('"shell"]', '"shel"]'), ("grace = [10]", 'grace = ["10"]')])
def test_a_wrong_entry_or_grace_is_refused(old, new):
    text = (suite.SHIPPED / "startup.toml").read_text()
    assert old in text
    with pytest.raises(SuiteError, match="entry"):
        suite.parse(text.replace(old, new), "startup", "startup.toml")
