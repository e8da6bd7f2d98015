"""What there is of a run, however little, has a report."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from partial_material import MADE, fewer, keeping, no_number_is_none, remains, whole
from test_partial_runs import judged

from bench.frames import Run
from bench.render import html


def reported(run: Run) -> None:
    no_number_is_none(html.render(judged(run)))


ONCE = ("moments", "effort", "modes")
"""Runs whose pages have little that is not in another kind's; as drawing takes long, they are drawn once."""
SEEN = (*ONCE, "machines", "stops", "ways")
"""These and the ones whose parts are all on another kind's page."""


@pytest.mark.parametrize("kind", [kind for kind in MADE if kind not in SEEN])
@fewer
@given(data=st.data())  # the first example is a run of which nothing is left
def test_whatever_is_left_of_a_run_has_a_report(kind: str, data: st.DataObject) -> None:
    reported(data.draw(remains(whole(kind))))


@pytest.mark.parametrize("kind", ONCE)
def test_the_first_trials_of_a_run_have_a_report(kind: str) -> None:
    run = whole(kind)
    reported(keeping(run, run.records[:5]))
