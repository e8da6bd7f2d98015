"""`bench check`: what it hands on, what it refuses, and what it says the gate is worth on a machine."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from test_judging import a_run, concluded

from bench import cli, suite
from bench.commands import checking, comparing
from bench.comparison import instrument
from bench.errors import NothingToRunError
from bench.model import Policy

POLICY = Policy(half_width=0.02, minimum=50, batch=25)


def recording(blocks=400, spread=0.03, seed=1):
    rng = np.random.default_rng(seed)
    pace = np.exp(rng.normal(0, 0.3, (blocks, 1)))
    return 0.01 * pace * np.exp(rng.normal(0, spread, (blocks, 3)))


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A comparison on disk in the place of the minutes that measuring one takes; the live test measures."""

    def put(slower=1.0):
        run = a_run(tmp_path, 60, slower=slower)
        found = concluded(run)
        monkeypatch.setattr(comparing, "once", lambda *_, **__: (run, found))
        return found

    return put


def check(*words, **environment):
    return CliRunner().invoke(
        cli.main,
        ["check", "--no-report", *map(str, words)],
        env={"GITHUB_STEP_SUMMARY": None, **environment},
    )


def test_a_check_hands_its_result_on_and_appends_to_the_summary(tmp_path, measured):
    found = measured()
    junit, markdown, summary = (tmp_path / name for name in ("out.xml", "out.md", "summary.md"))
    summary.write_text("before\n")
    done = check(
        "--reference", "docker", "--candidate", "docker:crun", "--junit", junit, "--markdown", markdown,
        "--history", tmp_path / "history", GITHUB_STEP_SUMMARY=str(summary),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "start.ready: equivalent" in done.output and "noise floor" in done.output
    assert "19 times in 20" in done.output
    assert ET.fromstring(junit.read_bytes()).get("failures") == "0"
    assert markdown.read_text().startswith("## startup: equivalent")
    assert summary.read_text() == "before\n" + markdown.read_text()
    listed = CliRunner().invoke(cli.main, ["history", "list", str(tmp_path / "history"), "--json"])
    assert found.fingerprint in listed.output and "docker:crun" in listed.output


def test_a_slow_down_fails_the_check_and_the_junit_file(tmp_path, measured):
    measured(slower=1.1)
    done = check("--reference", "docker", "--candidate", "docker:crun", "--junit", tmp_path / "out.xml")
    assert done.exit_code == 1, done.output
    assert "measuring once more" in done.output
    assert ET.fromstring((tmp_path / "out.xml").read_bytes()).get("failures") == "1"


@pytest.mark.parametrize("option", ["--junit", "--markdown", "--summary"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path, monkeypatch, option):
    monkeypatch.setattr(comparing, "once", lambda *_, **__: pytest.fail("it was measured first"))
    done = check(option, tmp_path / "nowhere" / "file")
    assert done.exit_code == 2 and "its directory does not exist" in done.output


@pytest.mark.parametrize("words", [["--candidate", "docker"], ["--junit", "x"], ["--history", "x"]])
def test_a_check_of_the_machine_refuses_what_is_of_a_candidate(words):
    done = check("--aa", *words)
    assert done.exit_code == 2 and words[0] in done.output


def test_what_the_gate_is_worth_is_told_with_intervals(tmp_path):
    run = a_run(tmp_path, 120)
    gate = {m: replace(p, half_width=0.02) for m, p in suite.load("startup").gate.items()}
    gauged = checking.instruments(run, gate, 200, seed=1)
    text = "\n".join(checking.lines("docker", gauged))
    assert "docker against itself, 120 blocks recorded, 200 comparisons of at most 60 blocks" in text
    assert "false alarms of one measurement: 0 of 200, 0.00 % (95 % interval 0.00 … 1.88 %)" in text
    assert msgspec.json.encode(gauged)


def test_a_recording_that_is_too_short_says_so(tmp_path):
    with pytest.raises(NothingToRunError, match="60 blocks are fewer than the 100"):
        checking.instruments(a_run(tmp_path, 60), suite.load("startup").gate, 100, seed=1)


def test_the_smallest_slow_down_is_the_one_that_is_found_19_times_in_20():
    recorded = recording()
    found = instrument.gauge("start.ready", recorded, POLICY, count=400, seed=3)
    assert found.alarms.hits <= 1 and found.confirmed.hits == 0
    assert found.detectable is not None
    cut = replace(POLICY, maximum=found.longest)
    again = instrument.replay.power(recorded, cut, found.detectable, 400, 3)
    below = instrument.replay.power(recorded, cut, found.detectable - 2 * instrument.STEP, 400, 3)
    assert again.share >= 0.95 > below.share
    assert 0.5 * POLICY.half_width < found.floor <= 1.02 * POLICY.half_width


def test_a_noisier_machine_has_a_higher_floor_and_finds_less():
    quiet, noisy = (
        instrument.gauge("x", recording(spread=spread), POLICY, count=200, seed=3) for spread in (0.02, 0.3)
    )
    assert noisy.floor > 2 * quiet.floor
    assert noisy.detectable > 2 * quiet.detectable


def test_a_slow_down_beyond_twice_the_time_is_not_searched_for():
    assert instrument.smallest(recording(blocks=120, spread=2.0), replace(POLICY, maximum=60), 100, 1) is None
