"""A comparison on disk: when it has enough blocks, what it says, and what a disturbed machine does to it."""

from __future__ import annotations

import json
import random

import msgspec
import pytest
from click.testing import CliRunner

from bench import arms, cli, cli_comparing, exchange, store, suite
from bench.commands import comparing, judging
from bench.model import Exit, HostFacts, Observation, Sample, TenantRecord, TrialRecord

PHASES = ("start.first", "start.ready", "stop.ended", "stop.removed")


HOST = HostFacts({"cpu.count": 2}, {"load.1min": 0.5}, {"hostname": "secret"})


def a_run(
    tmp_path, blocks, slower=1.0, spread=0.02, pressure=0.0, fails=lambda arm, block: False, seed=3,
    candidates=("docker:crun",), reference="docker", host=HOST, image="sha256:0",
):  # fmt: skip
    """A run of arms whose first candidate takes `slower` times as long; written as a real one is."""
    rng = random.Random(seed)
    made = arms.of(reference, *candidates)
    plan = arms.plan(arms.gated(suite.load("startup"), made), made, seed=1, blocks=blocks)
    run = store.create(tmp_path / "runs", plan, host)
    pace = {t.block: rng.lognormvariate(0, 0.5) for t in plan.trials}
    for t in plan.trials:
        arm = t.case.removeprefix("start/")
        at = (0.002 if "raw" in arm else 0.3) * pace[t.block] * rng.lognormvariate(0, spread)
        at *= slower if arm == candidates[0] else 1
        ok = not fails(arm, t.block)
        observed = tuple(Observation(at, phase, at, "s") for phase in PHASES) if ok else ()
        tenant = TenantRecord("a", {}, Exit("exited", 0), 0.0, at, observed)
        record = TrialRecord(
            t.index, t.block, t.case, "start", "x", "ok" if ok else "broken", "" if ok else "it broke",
            image, "", 1.0, 1.0, (tenant,),
        )  # fmt: skip
        samples = [
            Sample(at, "", "psi", "psi.cpu.some", value) for at, value in ((0, 5.0), (1, 5.0 + pressure))
        ]
        run.write_trial(record, samples if pressure else [])
    return run


def concluded(run):
    judging.conclude(run.path, 12.0, "width")
    return store.open_run(run.path).comparison()


def test_measuring_goes_on_until_the_interval_is_narrow_and_never_looks_at_the_result(tmp_path):
    narrow = a_run(tmp_path / "a", 50, slower=1.3, spread=0.01)
    assert judging.progress(narrow.path, 1.0)["stopped"] == "width"
    wide = a_run(tmp_path / "b", 50, slower=1.3, spread=0.2)
    assert judging.progress(wide.path, 1.0) == {"stopped": None, "further": 25}
    few = a_run(tmp_path / "c", 10, spread=0.001)
    assert judging.progress(few.path, 1.0) == {"stopped": None, "further": 40}


@pytest.mark.parametrize(("slower", "outcome"), [(1.0, "equivalent"), (1.05, "slower"), (0.93, "faster")])
def test_what_comes_out_is_the_shift_that_is_there(tmp_path, slower, outcome):
    found = concluded(a_run(tmp_path, 60, slower=slower))
    (judged,) = found.judged
    assert (judged.metric, judged.outcome) == ("start.ready", outcome)
    assert judged.detectable < 0.05
    assert {a.arm for a in found.arms} == {"docker", "docker:crun", "docker-repeat", "raw", "raw-repeat"}
    assert found.blocks == 60 and found.excluded == {} and found.image == "sha256:0"


def test_a_disturbed_block_is_left_out_with_all_its_arms_and_a_disturbed_machine_says_nothing(tmp_path):
    found = concluded(a_run(tmp_path, 60, pressure=0.9))
    assert found.excluded == {"CPU pressure above 0.3": 60}
    assert found.judged[0].outcome == "invalid"
    assert "disturbed" in found.judged[0].reason


def test_a_slow_down_counts_once_two_measurements_agree(tmp_path):
    first = concluded(a_run(tmp_path / "a", 60, slower=1.1))
    agrees = concluded(a_run(tmp_path / "b", 60, slower=1.1, seed=4))
    denies = concluded(a_run(tmp_path / "c", 60, slower=1.0, seed=5))
    assert comparing._status(first) == 3, "one measurement is not enough to fail anything"
    assert comparing._status(comparing._confirmed(first, agrees)) == 1
    contradicted = comparing._confirmed(first, denies)
    assert contradicted.judged[0].outcome == "inconclusive" and comparing._status(contradicted) == 0


def test_failed_starts_are_counted_and_never_fast(tmp_path):
    found = concluded(a_run(tmp_path, 60, fails=lambda arm, block: arm == "docker:crun" and block % 2 == 0))
    candidate = next(a for a in found.arms if a.role == "candidate" and a.metric == "start.ready")
    assert candidate.failed == 30 and candidate.n == 30
    assert found.judged[0].outcome == "inconclusive" and "failed starts: 30" in found.judged[0].reason


def test_it_is_told_in_a_few_lines_with_the_noise_floor(tmp_path):
    text = "\n".join(comparing.lines(concluded(a_run(tmp_path, 60))))
    assert text.startswith("start.ready: equivalent")
    for word in ("median", "noise floor: docker-repeat over docker", "19 times in 20", "60 blocks in 12 s"):
        assert word in text


def test_a_comparison_reads_back_as_it_was_written(tmp_path):
    found = concluded(a_run(tmp_path, 60))
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


@pytest.mark.parametrize("form", cli_comparing.FORMATS)
def test_a_comparison_leaves_in_every_format_by_the_command_line(tmp_path, form):
    run = a_run(tmp_path, 12)
    concluded(run)
    target = tmp_path / "out"
    done = CliRunner().invoke(cli.main, ["export", str(run.path), "--format", form, "-o", str(target)])
    assert done.exit_code == 0, done.output
    assert b"docker:crun" in target.read_bytes()


def test_every_format_that_can_be_written_is_offered():
    assert sorted(exchange.writers()) == sorted(cli_comparing.FORMATS)


def test_what_is_no_comparison_is_not_exported(tmp_path):
    run = a_run(tmp_path, 1)
    done = CliRunner().invoke(cli.main, ["export", str(run.path)])
    assert done.exit_code == 2 and "is no comparison" in done.output


def test_comparisons_go_into_a_history_and_come_out_as_series(tmp_path):
    runs = [a_run(tmp_path / str(n), 12, seed=n) for n in range(3)]
    for one in runs:
        concluded(one)
    history, ask = str(tmp_path / "history"), CliRunner().invoke
    done = ask(cli.main, ["history", "add", history, *(str(one.path) for one in runs)])
    assert done.exit_code == 0 and "3 added, 0 were there already" in done.output
    done = ask(cli.main, ["history", "list", history, "--json"])
    series = {(s["arm"], s["metric"], s["measure"]): s["points"] for s in json.loads(done.output)["series"]}
    assert series["docker:crun", "start.ready", "code"] == 3
    done = ask(cli.main, ["history", "check", history])
    assert done.exit_code == 0 and "no history verdict" in done.output
