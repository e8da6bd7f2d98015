"""A run may stop at any moment, and any trial may break: what there is of it is judged."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from partial_material import DAMAGES, MADE, NOTHING, damaged, few, keeping, remains, whole

from bench import analysis
from bench.analysis import interference, ladder, literature
from bench.analysis import series as readings
from bench.analysis.claims import Evaluated
from bench.analysis.significance import LEAST
from bench.frames import Run
from bench.model import Finding, Interval
from bench.render import terminal

SURE = {"pass", "fail", "not enforced", "costs", "saves", "none"}
"""Words that only trials can have said: verdicts, and those of steps."""


def judged(run: Run) -> Run:
    found = analysis.analyse(run)
    analysis.undecided(run, found)
    return replace(run, finding_list=tuple(found), conclusion=analysis.summary(run, found))


def claims(run: Run) -> tuple[Evaluated, ...]:
    series = readings.of(run)
    return literature.evaluate(run, series, ladder.ladders(run, series), interference.matrix(run, series))


def numbers(found: Interval | None) -> Iterator[float]:
    if found is not None:
        yield from (v for v in (found.estimate, found.low, found.high) if v is not None)


def texts(finding: Finding) -> Iterator[str]:
    f = finding
    yield from (f.id, f.experiment, f.runtime, f.label, f.effective_source, f.reason, f.fix)
    yield from (v for v in f.evidence.values() if isinstance(v, str))
    yield from terminal.plain([f])


def whole_sentences(text: str) -> None:
    assert not NOTHING.search(text), text
    assert not re.search(r"[:,;]\s*$|[:;]\s*[;.]|\(\)", text), text


def a_finding(finding: Finding, good: set[int]) -> None:
    """A number or a plain reason; nothing is sure of itself that no trial has told of."""
    for text in texts(finding):
        whole_sentences(text)
    told = [*numbers(finding.measured), *numbers(finding.deviation), *finding.values]
    told += [v for v in finding.evidence.values() if isinstance(v, float)]
    assert all(map(math.isfinite, told)), finding
    assert finding.measured is not None or finding.reason, finding.id
    assert finding.measured is None or finding.measured.n > 0, finding
    assert set(finding.trials) <= good, finding
    if not finding.trials:
        words = {finding.verdict, *(v for k, v in finding.evidence.items() if k.endswith(".word"))}
        assert not words & SURE, finding


def a_claim(claim: Evaluated, told: int) -> None:
    """An interval, or at least three trials, where it is decided; `told` trials have any number."""
    whole_sentences(claim.reason)
    assert claim.reason or claim.measured is not None, claim
    assert all(map(math.isfinite, numbers(claim.measured))), claim
    assert not re.search(r"\b0 of 0\b", claim.reason), claim
    if told < (LEAST if claim.measured is None else 1):
        assert claim.word in ("not applicable", "inconclusive"), claim


def spoken(run: Run) -> set[str]:
    """The cases that findings are of: by name, by id, or by the trials that they rest on."""
    of = {r.index: r.case for r in run.records}
    found = run.finding_list
    return {f.case for f in found} | {f.id for f in found} | {of[i] for f in found for i in f.trials}


@functools.cache
def expected(kind: str) -> set[str]:
    """The planned cases that findings are of where every trial is good; none of a plan made for claims."""
    if kind == "ways":
        return set()
    return spoken(judged(whole(kind))) & {c.id for c in whole(kind).plan.cases}


def checked(run: Run, kind: str) -> None:
    done = judged(run)
    good = [r for r in run.records if r.status == "ok"]
    for finding in done.finding_list:
        a_finding(finding, {r.index for r in good})
    ids = [f.id for f in done.finding_list]
    assert len(ids) == len(set(ids))
    assert expected(kind) <= spoken(done), expected(kind) - spoken(done)
    whole_sentences(done.conclusion)
    told = sum(any(o.value is not None for t in r.tenants for o in t.observations) for r in good)
    for claim in claims(run):
        a_claim(claim, told)


@pytest.mark.parametrize("kind", MADE)
@few
@given(data=st.data())
def test_whatever_is_left_of_a_run_is_judged(kind: str, data: st.DataObject) -> None:
    checked(data.draw(remains(whole(kind))), kind)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kind", MADE)
def test_a_run_of_which_every_trial_went_wrong_is_judged(kind: str, how: str) -> None:
    run = whole(kind)
    checked(keeping(run, tuple(damaged(r, how, 0.5) for r in run.records)), kind)
