"""Published claims against a run: the interval decides, and what was not measured does not apply."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_analysis_starts import a_plan, a_run

from bench.analysis.claims import Cited
from bench.analysis.start_claims import Claim, evaluate
from bench.model import Skipped

CLAIM = Claim("P", "process", "docker", 5, Cited(by="somebody"))


def run_with(ratio, spread, blocks=20, emulated=()):
    rng = random.Random(1)
    noise = [rng.lognormvariate(0, spread) for _ in range(blocks)]

    def seconds(runtime, block):
        return 0.01 * (ratio * noise[block] if runtime == "docker" else 1.0)

    return a_run(a_plan(blocks, emulated=emulated), seconds)


@pytest.mark.parametrize(
    ("ratio", "spread", "word"),
    [(8, 0.1, "reproduced"), (3, 0.1, "inverted"), (5, 0.5, "inconclusive")],
)
def test_the_interval_of_the_ratio_decides(ratio, spread, word):
    (found,) = evaluate(run_with(ratio, spread), [CLAIM])
    assert found.word == word
    assert found.measured.n == 20


def test_an_emulated_machine_stands_for_none_and_what_was_not_started_is_said():
    (found,) = evaluate(run_with(8, 0.1, emulated=("docker",)), [CLAIM])
    assert found.word == "not applicable" and "emulated" in found.reason
    (found,) = evaluate(run_with(8, 0.1), [Claim("P", "process", "vagrant", 1, Cited(by="x"))])
    assert found.word == "not applicable" and "vagrant was not started" in found.reason


def test_a_runtime_that_could_not_be_started_says_why():
    run = run_with(8, 0.1)
    (case,) = [c for c in run.plan.cases if c.runtime == "docker"]
    plan = replace(run.plan, skipped=(Skipped(case, "not testable", "it answers nobody", "start it"),))
    without = replace(run, plan=plan, records=tuple(r for r in run.records if r.runtime != "docker"))
    (found,) = evaluate(without, [CLAIM])
    assert (found.word, found.reason) == ("not applicable", "docker: it answers nobody")
    (found,) = evaluate(replace(run, plan=plan), [CLAIM])
    assert found.word == "reproduced"


def test_a_few_blocks_decide_nothing():
    (found,) = evaluate(run_with(8, 0.1, blocks=2), [CLAIM])
    assert found.word == "inconclusive" and found.measured.low is None


@given(st.floats(0.2, 50), st.floats(0, 1))
def test_no_run_is_both_or_neither(ratio, spread):
    (found,) = evaluate(run_with(ratio, spread), [CLAIM])
    low, high = found.measured.low, found.measured.high
    assert (found.word == "reproduced") == (low >= 5)
    assert (found.word == "inverted") == (high < 5)
