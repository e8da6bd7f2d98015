"""Pictures of the factors: every start and every level is drawn, in the width of a small screen."""

import re
from dataclasses import replace

import pandas as pd
import pytest
from test_analysis_factors import a_plan, a_run, believable

from bench import analysis
from bench.analysis.series import Series
from bench.render import figures, matrix
from bench.render.figures.material import Material

NO_SAMPLES = pd.DataFrame(
    {"trial": [], "tenant": [], "collector": [], "metric": [], "time": [], "value": []}
).astype({"trial": int, "time": float, "value": float})


def drawn(run):
    run = replace(run, finding_list=tuple(analysis.analyse(run)))
    columns = matrix.columns(run.finding_list, run.plan.runtimes)
    material = Material(run, Series(NO_SAMPLES), columns)
    return {figure.id: figure.svg for figure in figures.draw(material).get("factors", ())}


def uses(svg, colour):
    return re.findall(rf'<use [^>]*x="([\d.-]+)" y="([\d.-]+)" style="fill: var\(--{colour}\)', svg)


def test_each_factor_has_a_picture_no_wider_than_a_page():
    pictures = drawn(a_run(a_plan(), believable))
    assert set(pictures) == {"fig-concurrency", "fig-network", "fig-residents", "fig-cache", "fig-attach"}
    for svg in pictures.values():
        assert float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1]) <= 460


def test_a_factor_that_was_not_measured_has_no_picture():
    assert set(drawn(a_run(a_plan(only="network"), believable))) == {"fig-network"}
    assert not drawn(a_run(a_plan(only="start"), believable))


def test_every_start_at_once_is_drawn_and_the_cores_are_marked():
    svg = drawn(a_run(a_plan(4), believable))["fig-concurrency"]
    starts = 4 * (1 + 2 + 4 + 8)
    for colour in ("r1", "r2"):  # docker is not the control's grey
        if found := uses(svg, colour):
            assert len(found) >= starts
    assert "2 cores" in svg and "makespan" in svg
    assert (
        "cores" not in drawn(a_run(a_plan(4), believable, cores=None))["fig-concurrency"].split("</desc>")[1]
    )


def test_the_ratio_to_the_first_level_stands_beside_each_row():
    svg = drawn(a_run(a_plan(), believable))["fig-network"]
    assert "×1.50" in svg and "×2.00" in svg
    assert "docker, no network" in svg and "process" not in svg.split("</desc>")[1]


@pytest.mark.parametrize("cores", [0, None])
def test_unknown_cores_are_not_marked(cores):
    assert "0 cores" not in drawn(a_run(a_plan(2), believable, cores=cores))["fig-concurrency"]
