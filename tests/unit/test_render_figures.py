"""Pictures: nothing that was measured is cut off, and nothing is drawn that was not measured."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import frames
from bench.analysis import findings as analysis
from bench.analysis.series import Series
from bench.render import figures, matrix, palette
from bench.render.figures import svg
from bench.render.figures.material import MOST_POINTS, Material, slope, thinned
from tests import builders


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plan = builders.make_plan(blocks=2, lacking=builders.typical_lacking)
    loaded = frames.load(builders.write_run(tmp_path_factory.mktemp("runs"), plan))
    return replace(loaded, finding_list=tuple(analysis.analyse(loaded)))


def drawn(run):
    columns = matrix.columns(run.finding_list, run.plan.runtimes)
    return figures.draw(Material(run, Series(run.samples), columns))


def markers(picture, colour):
    """Places of the markers of one colour, legend included."""
    found = re.findall(rf'<use [^>]*x="([\d.-]+)" y="([\d.-]+)" style="fill: var\(--{colour}\)', picture)
    return [(float(x), float(y)) for x, y in found]


def named(drawn, section, figure_id):
    (picture,) = [f.svg for f in drawn[section] if f.id == figure_id]
    return picture


def test_the_unlimited_control_lies_inside_of_the_picture_however_fast_it_is(run):
    picture = named(drawn(run), "io", "fig-io-multiples")
    rates = {f.experiment for f in run.finding_list if f.section == "io" and f.unit in ("bytes/s", "1/s")}
    assert len(rates) == 6
    left, width = (
        float(v) for v in re.search(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', picture).groups()
    )
    for colour in ("r0", "r1", "r2", "r3"):
        inside = [y for x, y in markers(picture, colour) if left <= x <= left + width]
        assert len(set(inside)) >= len(rates)


def test_all_runtimes_and_limits_have_a_point(run):
    picture = named(drawn(run), "cpu", "fig-cpu-delivered-cores")
    for colour in ("r1", "r2", "r3"):
        assert len(markers(picture, colour)) >= 2 * 5


def test_a_stall_without_a_prediction_is_drawn_without_one(run):
    stalls = [f for f in run.finding_list if "stall.predicted" in f.evidence]
    assert any(f.evidence["stall.predicted"] is None for f in stalls)
    picture = named(drawn(run), "cpu", "fig-stalls")
    assert len(markers(picture, "r1")) == 5 + 1


def test_without_samples_there_is_no_picture_over_time_and_no_failure(run):
    empty = Series(run.samples.iloc[:0])
    columns = matrix.columns(run.finding_list, run.plan.runtimes)
    found = figures.draw(Material(run, empty, columns))
    assert "fig-throttling" not in [f.id for f in found["cpu"]]
    assert found["pids"] == ()
    assert [f.id for f in found["memory"]] == ["fig-memory"]  # from what the workload reported


def test_without_any_measurement_there_is_no_picture(run):
    blank = tuple(
        replace(f, measured=None, deviation=None, expected=None, values=(), trials=(), evidence={})
        for f in run.finding_list
    )
    assert all(found == () for found in drawn(replace(run, finding_list=blank)).values())


def test_a_run_without_a_control_is_drawn_as_well(run):
    found = drawn(replace(run, finding_list=tuple(f for f in run.finding_list if not f.control)))
    assert all(found[section] for section in {f.section for f in run.finding_list})


def test_for_paper_colours_are_concrete(run):
    for pictures in drawn(run).values():
        for figure in pictures:
            assert "var(--ink)" in figure.svg
            assert "var(--" not in palette.concrete(figure.svg)
            assert palette.LIGHT["ink"] in palette.concrete(figure.svg)


def test_ids_of_two_figures_differ(run):
    ids = [i for of in drawn(run).values() for f in of for i in re.findall(r'\bid="([^"]+)"', f.svg)]
    assert len(ids) == len(set(ids))


def test_the_shown_trial_is_the_one_nearest_to_the_estimate(run):
    columns = matrix.columns(run.finding_list, run.plan.runtimes)
    material = Material(run, Series(run.samples), columns)
    finding = next(f for f in run.finding_list if f.runtime == "docker" and len(f.trials) == 2)
    near = replace(finding, values=(9.0, 1.1), measured=replace(finding.measured, estimate=1.0))
    assert material.representative(near).index == finding.trials[1]
    assert material.representative(replace(finding, measured=None)) is None


def test_text_with_dollars_and_angle_brackets_is_drawn_as_it_is():
    with svg.sheet(200, 100) as (canvas, grid):
        grid[0][0].set_title("$x_{2$ <b>")
        figure = svg.finish(canvas, "odd", "a <title>", 'a "caption"')
    assert "$x_{2$ &lt;b&gt;" in figure.svg
    assert "a &lt;title&gt;" in figure.svg


def test_every_runtime_has_a_marker_a_dash_and_a_colour_of_its_own():
    names = ["process", "cgroup", "namespace", "docker", "podman", "libvirt", "vagrant", "docker-vm", "runsc"]
    found = palette.looks(names, frozenset({"process"}))
    for part in ("colour", "marker", "dash"):
        assert len({getattr(look, part) for look in found.values()}) == len(names)


@given(st.integers(0, 5000))
def test_a_line_is_thinned_to_a_bound_and_keeps_its_ends(count):
    times = np.arange(count, dtype=float)
    kept, values = thinned((times, times * 2))
    assert len(kept) <= MOST_POINTS
    assert len(kept) == len(values)
    if count:
        assert (kept[0], kept[-1]) == (0, count - 1)


@given(st.lists(st.floats(0.001, 1.0), min_size=2, max_size=60), st.floats(0.01, 10))
def test_the_slope_of_a_steady_counter_is_its_rate(gaps, rate):
    times = np.cumsum(gaps)
    _, found = slope((times, times * rate))
    assert np.allclose(found, rate, rtol=1e-6)


def test_readings_close_together_are_one_interval():
    times = np.array([0.0, 0.1, 0.1001, 0.2])
    middles, found = slope((times, np.array([0.0, 0.05, 0.0502, 0.1])))
    assert len(found) == 2
    assert found.max() < 0.6
    assert list(middles) == pytest.approx([0.05, 0.15])
