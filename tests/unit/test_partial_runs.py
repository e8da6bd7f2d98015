"""A run may stop at any moment, and any trial may break: what there is of it is judged and reported."""

from __future__ import annotations

import functools
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import applications_material
import interference_material
import modes_material
import overhead_material
import places_material
import pytest
import test_analysis_starts as starts_material
import test_density as density_material
import test_layers as layers_material
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import analysis, frames, store
from bench.model import AGAIN
from bench.render import html
from tests import builders
from tests.builders import HOST

NOTHING = re.compile(r"\b(nan|None|inf)\b")
SURE = {"pass", "fail", "not enforced", "costs", "saves", "none"}


def neighbours():
    plan = interference_material.a_plan(("process", "namespace", "docker"))
    cases = {c.id: c for c in plan.cases}
    directory = store.create(Path(tempfile.mkdtemp()), plan, HOST, run_id="20260102-030405-test")
    for one in plan.trials:
        case = cases[one.case]
        deed = interference_material.believable(case, one.block)
        directory.write_trial(interference_material.a_record(one, case, deed), [])
    return frames.load(directory.path)


def modes():
    return modes_material.a_run(modes_material.a_plan(), modes_material.times({"bridge": 2.0}))


def applications():
    return applications_material.a_run(
        applications_material.a_plan(), applications_material.slower({"proxy": 2.0})
    )


MADE = {
    "limits": lambda: frames.load(builders.sample_run(Path(tempfile.mkdtemp()), blocks=3, quick=True)),
    "starts": lambda: starts_material.a_run(starts_material.a_plan(blocks=5), starts_material.times),
    "neighbours": neighbours,
    "ladder": lambda: overhead_material.a_run(overhead_material.a_plan(), overhead_material.rates({})),
    "places": lambda: places_material.a_run(places_material.a_plan(), places_material.rates({})),
    "modes": modes,
    "applications": applications,
    "layers": lambda: layers_material.a_run(layers_material.a_plan(blocks=4)),
    "density": lambda: density_material.a_run(density_material.a_plan()),
}


@functools.cache
def whole(kind):
    return MADE[kind]()


@st.composite
def remains(draw, run):
    """What is left of a run: its first trials, without some runtimes, blocks and ends, some of it broken."""
    records = list(run.records[: draw(st.integers(0, len(run.records)))])
    runtimes = sorted({r.runtime for r in run.records})
    gone = draw(st.sets(st.sampled_from(runtimes)))
    blocks = draw(st.sets(st.integers(0, run.plan.blocks)))
    control = draw(st.sampled_from(["kept", "first gone", "last gone"]))
    rate = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    rng = draw(st.randoms(use_true_random=False))
    kept = []
    for record in records:
        again = AGAIN in record.params
        if record.runtime in gone or record.block in blocks:
            continue
        if (control == "last gone" and again) or (
            control == "first gone" and not again and rng.random() < 0.5
        ):
            continue
        if rng.random() < rate:
            how = rng.choice(["empty", "silent", "partly"])
            record = replace(record, status="broken", reason="it broke\nbecause")
            if how == "empty":
                record = replace(record, tenants=())
            if how == "silent":
                record = replace(
                    record,
                    status="ok",
                    reason="",
                    tenants=tuple(replace(t, observations=()) for t in record.tenants),
                )
        kept.append(record)
    return replace(run, records=tuple(kept))


def judged(run):
    found = analysis.analyse(run)
    return replace(run, finding_list=tuple(found), conclusion=analysis.summary(run, found))


def checked(run):
    done = judged(run)
    for finding in done.finding_list:
        text = f"{finding.reason} {finding.fix}"
        assert not NOTHING.search(text), (finding.id, text)
        assert finding.measured is not None or finding.reason, finding.id
        if not finding.trials:
            assert finding.verdict not in SURE, (finding.id, finding.verdict)
    assert not NOTHING.search(done.conclusion), done.conclusion
    return done


def reported(run):
    page = html.render(checked(run))
    words = re.sub(r"<(script|style|svg)\b.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert not re.search(r"\bnan\b|(?<!“)\bNone\b", words), words


@pytest.mark.parametrize("kind", MADE)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_is_left_of_a_run_is_judged(kind, data):
    checked(data.draw(remains(whole(kind))))


@pytest.mark.parametrize("kind", MADE)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_is_left_of_a_run_has_a_report(kind, data):
    reported(data.draw(remains(whole(kind))))


@pytest.mark.parametrize("kind", MADE)
def test_a_run_of_which_nothing_is_left_and_one_of_a_few_trials_have_a_report(kind):
    for count in (0, 1, 5):
        run = whole(kind)
        reported(replace(run, records=run.records[:count]))
