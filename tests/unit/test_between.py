"""Two run directories held side by side: what may be said, what is refused, how often it would be wrong."""

from __future__ import annotations

import json
import math
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from test_analysis_starts import a_plan, record, times
from test_judging import HOST, a_run, concluded

from bench import cli, frames, recording, store
from bench.commands import between as command
from bench.commands import comparing, sides
from bench.comparison import between, replay
from bench.comparison.between import Anchored
from bench.model import HostFacts, Interval, Policy, Ratio

STARTS = Path(__file__).parents[1] / "fixtures" / "starts"


def ratio(estimate=1.0, half=0.01, arm="b", against="a", n=100):
    low, high = (estimate * math.exp(sign * half) for sign in (-1, 1))
    return Ratio("start.ready", arm, against, Interval(estimate, low, high, n), half)


def anchored(estimate=1.0, half=0.01, copy=1.0):
    return Anchored(ratio(estimate, half), (ratio(copy, half, "a-repeat"),))


ratios = st.floats(0.01, 100.0)
widths = st.floats(1e-4, 0.5)


@given(ratios, ratios, widths, widths, st.floats(0.9, 1.1))
def test_turning_the_runs_round_turns_the_ratio_round_and_it_is_never_narrower_than_either(a, b, u, v, copy):
    one, other = anchored(a, u, copy), anchored(b, v)
    there, back = between.apart(one, other), between.apart(other, one)
    assert there.ratio.estimate == pytest.approx(1 / back.ratio.estimate)
    assert there.half_width == pytest.approx(back.half_width)
    assert there.half_width >= math.hypot(u, v) >= max(u, v)
    assert there.half_width >= between.floor(one.copies) >= abs(math.log(copy))


@given(ratios, ratios, st.floats(0.1, 10.0))
def test_a_machine_that_is_slower_altogether_changes_nothing(a, b, factor):
    plain = between.apart(anchored(a), anchored(b))
    scaled = between.apart(anchored(a * factor), anchored(b * factor))
    assert scaled.ratio.estimate == pytest.approx(plain.ratio.estimate)
    assert scaled.half_width == pytest.approx(plain.half_width)


def test_without_an_interval_on_one_side_there_is_none():
    none = replace(ratio(), half_width=None)
    found = between.apart(Anchored(none), anchored())
    assert found.half_width is None and found.ratio.low is None
    assert between.change(found, 0.01) == "unknown"


@pytest.mark.parametrize(("estimate", "word"), [(1.2, "higher"), (1.0, "no change seen"), (0.8, "lower")])
def test_a_ratio_to_the_raw_process_is_never_given_an_outcome(estimate, word):
    assert between.change(ratio(estimate, 0.05), 0.01) == word


def test_copies_that_differ_in_either_run_make_it_invalid():
    for one, other in ((anchored(copy=1.1), anchored()), (anchored(), anchored(copy=0.9))):
        assert between.judge(Policy(), one, other, 1.0).outcome == "invalid"
    assert between.judge(Policy(), Anchored(ratio()), Anchored(ratio()), 1.0).outcome == "invalid"


@pytest.mark.parametrize("name", ["process-quiet", "process-noisy"])
def test_on_recorded_starts_it_is_silent_covers_and_still_finds_ten_per_cent(name):
    """Two windows of a recording at a time; labels are dealt anew in each block, so nothing differs."""
    recorded = recording.read(STARTS / f"{name}.parquet").series()["process"]
    rng = np.random.default_rng(5)
    count, length = 1000, 400

    def run():
        taken = np.log(np.concatenate(list(replay.windows(recorded, count, length, rng))))
        found, half = replay.intervals(taken[..., 0] - taken[..., 1], 0.99)
        copy, beside = replay.intervals(taken[..., 2] - taken[..., 1], 0.99)
        return found, half, np.abs(copy) + beside

    (a, u, f), (b, v, g) = run(), run()
    half = np.sqrt(u**2 + v**2 + f**2 + g**2)
    margin = math.log1p(Policy().margin)
    assert np.count_nonzero(b - a - half > margin) == 0
    assert np.mean(np.abs(b - a) <= half) >= 0.99
    assert np.mean(b - a + math.log1p(0.10) - half > margin) >= 0.95


# --- the command -------------------------------------------------------------------------------


def compare(*words):
    return CliRunner().invoke(cli.main, ["compare", *map(str, words)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Comparisons on disk: two alike, one whose candidate is slower, and that one confirmed."""
    base = tmp_path_factory.mktemp("runs")
    found = {}
    for number, (name, slower) in enumerate({"old": 1.0, "new": 1.0, "slow": 1.2, "again": 1.2}.items()):
        run = a_run(base / name, 120, slower=slower, seed=number)
        found[name] = run.path
        concluded(run)
    confirmed = a_run(base / "confirmed", 120, slower=1.2, seed=9)
    second = concluded(a_run(base / "second", 120, slower=1.2, seed=10))
    confirmed.write_comparison(comparing._confirmed(concluded(confirmed), second))
    return {**found, "confirmed": confirmed.path}


def put_starts(base, factor):
    """A run of the suite `startup` on disk whose Docker takes `factor` times as long."""
    plan, rng = a_plan(blocks=40, emulated=()), random.Random(factor)
    run, cases = store.create(base, plan, HOST), {c.id: c for c in plan.cases}
    for t in plan.trials:
        runtime = cases[t.case].runtime
        seconds = (
            times(runtime, t.block) * rng.lognormvariate(0, 0.02) * (factor if runtime == "docker" else 1)
        )
        run.write_trial(record(t, cases[t.case], seconds), [])
    return run.path


def test_two_runs_of_the_same_are_not_called_slower_and_it_is_said_what_was_compared(runs):
    done = compare(runs["old"], runs["new"])
    assert done.exit_code == 0, done.output
    assert "start.ready of docker:crun over docker: equivalent" in done.output
    assert "not measured in turn" in done.output
    assert "start.ready of docker over raw: no change seen" in done.output
    assert " ms" not in done.output, "no absolute time"


def test_a_slow_down_that_was_measured_once_fails_nothing_and_one_measured_twice_does(runs):
    once = compare(runs["old"], runs["slow"])
    assert once.exit_code == 3 and "docker:crun over docker: slower" in once.output
    twice = compare(runs["old"], runs["confirmed"])
    assert twice.exit_code == 1, twice.output
    assert compare(runs["confirmed"], runs["old"]).exit_code == 0


def test_what_both_runs_say_is_there_as_json(runs):
    found = json.loads(compare(runs["old"], runs["slow"], "--json").output)
    assert [j["outcome"] for j in found["judged"]] == ["slower"]
    assert {p["against"] for p in found["pairs"]} == {"docker", "raw"}


def test_a_run_that_was_invalid_by_itself_vouches_for_nothing(runs, tmp_path):
    bad = a_run(tmp_path, 120)
    found = concluded(bad)
    void = tuple(replace(j, outcome="invalid", reason="others used the CPU") for j in found.judged)
    bad.write_comparison(replace(found, judged=void))
    for pair, which in (((runs["old"], bad.path), "second"), ((bad.path, runs["old"]), "first")):
        done = compare(*pair)
        assert done.exit_code == 3
        assert f"invalid: the {which} run is invalid by itself: others used the CPU" in done.output


def test_runs_with_nothing_in_common_say_so(runs, tmp_path):
    disturbed = a_run(tmp_path, 120, pressure=0.9)
    concluded(disturbed)
    done = compare(runs["old"], disturbed.path)
    assert done.exit_code == 3 and "no ratio of the same thing" in done.output


def test_runs_of_other_machines_or_images_are_refused_with_both_values(runs, tmp_path):
    host = HostFacts({"cpu.count": 64}, HOST.state, {})
    other = a_run(tmp_path, 12, host=host, image="sha256:1")
    concluded(other)
    done = compare(runs["old"], other.path)
    assert done.exit_code == 2
    assert "cpu.count: 2 / 64" in done.output and "image: sha256:0 / sha256:1" in done.output
    assert "secret" not in done.output


def test_starts_that_were_asked_for_in_another_way_are_refused(runs, tmp_path):
    done = compare(runs["old"], put_starts(tmp_path, 1.0))
    assert done.exit_code == 2
    assert "attach (see docs/method.md): next / first" in done.output


def test_a_state_that_differs_is_shown_and_refuses_nothing(runs, tmp_path):
    other = a_run(tmp_path, 120, host=HostFacts(HOST.identity, {"load.1min": 7.5}, {}), seed=8)
    concluded(other)
    done = compare(runs["old"], other.path)
    assert done.exit_code == 0 and "load.1min 0.5 / 7.5" in done.output


def test_an_engine_that_was_upgraded_in_between_is_named_and_one_that_a_run_did_not_use_is_not(
    runs, tmp_path
):
    found = []
    for number, versions in enumerate(({"Engine": "20.10.24", "runsc": "0.1"}, {"Engine": "20.10.25"})):
        state = HOST.state | {f"version.{name}": version for name, version in versions.items()}
        run = a_run(tmp_path / str(number), 120, host=HostFacts(HOST.identity, state, {}), seed=number)
        concluded(run)
        found.append(run.path)
    done = compare(*found)
    assert "first / second: Engine 20.10.24 / 20.10.25\n" in done.output
    assert "runsc" not in done.output and "state that differs" not in done.output
    assert json.loads(compare(*found, "--json").output)["programs"] == {"Engine": ["20.10.24", "20.10.25"]}
    assert "other versions" not in compare(found[0], found[0]).output


def test_what_a_trial_tells_of_an_engine_in_a_machine_is_a_version_too(runs):
    run = frames.load(runs["old"])
    told = [{"engine.version": v, "machine.seconds.boot": 3.0} for v in ("20.10.24", "20.10.25")]
    records = [
        replace(r, runtime="docker-vm", tenants=(replace(r.tenants[0], facts=told[i % 2]),))
        for i, r in enumerate(run.records)
    ]
    _, programs = sides._state(replace(run, records=tuple(records)))
    assert programs == {"docker-vm engine.version": "20.10.24 and 20.10.25"}


def test_runs_with_other_references_are_compared_by_their_ratios_to_the_raw_process_alone(runs, tmp_path):
    other = a_run(tmp_path, 120, reference="docker:runsc", candidates=("docker",))
    concluded(other)
    done = compare(runs["old"], other.path)
    assert done.exit_code == 0 and "the references differ" in done.output
    assert "docker over raw" in done.output and "slower" not in done.output


def test_two_builds_with_names_of_their_own_are_one_pair(tmp_path):
    one, other = (a_run(tmp_path / tag, 120, candidates=(f"docker@app:{tag}",), seed=i) for i, tag in
                  enumerate(("old", "new")))  # fmt: skip
    for run in (one, other):
        concluded(run)
    done = compare(one.path, other.path)
    assert done.exit_code == 0, done.output
    assert "docker@app:old → docker@app:new over docker: equivalent" in done.output


def test_runs_of_the_startup_suite_are_compared_by_the_raw_process_and_never_called_slower(tmp_path):
    done = compare(put_starts(tmp_path, 1.0), put_starts(tmp_path, 3.0))
    assert done.exit_code == 0, done.output
    assert "start.ready of docker over process: higher" in done.output and "slower" not in done.output
    assert "nothing was measured twice" in done.output and "a reason to measure" in done.output


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda run: (run / "run.json").write_text("{"), "is damaged"),
        (lambda run: (run / "run.json").write_text('{"format": 99, "version": "9.9"}'), "has format 99"),
        (lambda run: (run / "comparison.json").unlink(), "was not judged"),
        (lambda run: (run / "comparison.json").write_text('{"format":'), "is damaged"),
        (lambda run: next((run / "trials").glob("*")).write_text("no"), "is damaged"),
        (lambda run: (run / "run.json").unlink(), "is not a run directory"),
    ],
)
def test_a_truncated_or_foreign_directory_says_what_is_wrong(runs, tmp_path, spoil, says):
    broken = tmp_path / "broken"
    shutil.copytree(runs["new"], broken)
    spoil(broken)
    done = compare(runs["old"], broken)
    assert done.exit_code == 2 and says in done.output


def test_another_format_of_the_comparison_is_refused(runs, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(runs["new"], other)
    found = json.loads((other / "comparison.json").read_text())
    (other / "comparison.json").write_text(json.dumps({**found, "format": 2}))
    done = compare(runs["old"], other)
    assert done.exit_code == 2 and "has format 2; this program reads 1" in done.output


def test_a_run_of_limits_has_no_starts(runs):
    golden = Path(__file__).parents[1] / "golden" / "run-format-1"
    done = compare(runs["old"], golden)
    assert done.exit_code == 2 and "has no starts" in done.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["RUN", "docker"], "is a directory: a run is compared with one other run"),
        (["RUN"], "is a directory"),
        (["RUN", "RUN", "RUN"], "is a directory"),
        (["RUN", "nowhere/at/all"], "there is no run directory nowhere/at/all"),
        (["RUN", "RUN", "--seed", "3"], "--seed has no use here"),
        (["docker"], "nothing to compare docker with"),
        (["docker", "podman", "podman"], "named twice"),
    ],
)
def test_words_that_make_no_comparison_are_refused(runs, words, says):
    done = compare(*(str(runs["old"]) if word == "RUN" else word for word in words))
    assert done.exit_code == 2 and says in done.output, done.output


def test_with_arms_a_directory_of_that_name_is_none(tmp_path, monkeypatch, runs):
    shutil.copytree(runs["old"], tmp_path / "docker")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparing, "measured", lambda reference, candidates, **_: pytest.fail("measured"))
    assert command.named(["docker", "docker"])
    with pytest.raises(pytest.fail.Exception, match="measured"):
        comparing.compare(["docker", "docker"], arms=True, as_json=False, report=False)


def test_a_side_has_each_arm_once(runs):
    side = sides.read(runs["old"])
    assert set(side.raw["start.ready"]) == {"docker", "docker:crun"}
    assert set(side.code["start.ready"]) == {"docker:crun"}
