"""The section on neighbours in a report: pictures that fit, words beside colours, and every number or its
reason."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from interference_material import Deed, a_plan, a_run, believable

from bench import analysis
from bench.render import document, html, palette
from bench.render.interference import HEADS
from bench.render.numbers import NONE


def judged(run):
    found = tuple(analysis.analyse(run))
    return replace(run, finding_list=found, conclusion=analysis.summary(run, found))


@pytest.fixture(scope="module")
def run():
    plan = a_plan(("process", "docker", "libvirt"), emulated=("libvirt",))
    return judged(a_run(plan, believable))


@pytest.fixture(scope="module")
def text(run):
    return html.render(run)


def figure(text, id_):
    return re.search(rf'<figure id="{id_}">.*?</figure>', text, re.S)[0]


def test_there_is_a_heat_map_for_every_runtime_no_wider_than_a_page(text):
    for index, name in enumerate(("process", "docker", "libvirt (emulated)")):
        svg = figure(text, f"fig-heat-{index}")
        assert f"{name}: what each neighbour does." in svg
        assert float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1]) <= 460


def test_a_silent_victim_is_marked_by_a_word_and_a_frame_and_not_by_colour_alone(text):
    svg = figure(text, "fig-heat-1")
    drawn = svg.split("</desc>")[1]
    assert "DNR" in drawn and "5/5" in drawn
    frame = r"fill: none[^\"]*stroke: var\(--fail\)|stroke: var\(--fail\)[^\"]*fill: none"
    assert re.search(frame, drawn)
    quiet = html.render(judged(a_run(a_plan(), lambda case, block: Deed(1 - 0.002 * (block % 3)))))
    assert "DNR" not in figure(quiet, "fig-heat-1").split("</desc>")[1]


def test_the_sleeping_neighbour_and_the_means_stand_apart(text):
    drawn = figure(text, "fig-heat-1").split("</desc>")[1]
    assert "sleep (A/A)" in drawn and "mean" in drawn


def test_an_emulated_machine_is_in_no_picture_of_what_controls_change(text):
    assert "libvirt" not in figure(text, "fig-neighbours").split("</desc>")[1]


def test_the_course_of_the_pair_to_which_limits_matter_most_is_drawn(text):
    assert "beside forks in docker, window by window" in figure(text, "fig-course")


def test_every_cell_has_a_row_with_every_number_or_a_dash_with_its_reason(run, text):
    bodies = re.findall(r'<tbody id="f\d+"[^>]*>\s*<tr>.*?</tbody>', text, re.S)
    cells = [f for f in run.finding_list if f.case]
    assert len(bodies) == len(cells) == 6 + 12 + 12
    for body in bodies:
        first = body.split('<tr class="why">')[0]
        entries = re.findall(r'<td class="(?:num|text)"([^>]*)>(.*?)</td>', first, re.S)
        assert len(entries) == len(HEADS) - 1
        for attributes, shown in entries:
            head = re.search(r'data-label="([^"]*)"', attributes)[1]
            if shown.strip() == NONE and head != "Protection":
                assert "title=" in attributes, head


def test_on_paper_where_nothing_can_be_hovered_the_reasons_are_printed(run):
    printed = html.page(document.build(run), screen=False)
    assert "Neighbour lost: the aggressor reports no work." in printed and "on hover" not in printed


def test_the_section_comes_with_its_conclusion_ranking_gains_and_claims(run, text):
    assert text.count("With limits a neighbour takes") == 1
    part = text[text.index('id="interference"') : text.index('id="missing"')]
    assert "What each control saves" in part and "Which runtime protects best" in part
    assert "P06" in part and "SHA-07" in part
    assert "There are no findings in this run" not in text


def test_nothing_in_the_page_is_an_unresolved_colour_or_leaves_the_page(text):
    assert "#01fe" not in text and "http://" not in text.replace("http://www.w3.org", "")
    assert "var(" not in re.sub(r"<style>.*?</style>", "", palette.concrete(text), flags=re.S)


def test_a_hostile_name_is_text(run):
    hostile = "<script>alert(1)</script>"
    plan = a_plan((hostile,), victims=("cpu",), aggressors=("sleep", "<b>x</b>"))
    page = html.render(judged(a_run(plan, believable)))
    assert hostile not in page and "<b>x</b>" not in page


def test_a_report_of_cells_that_all_failed_still_stands():
    page = html.render(judged(a_run(a_plan(), lambda case, block: Deed(broken="no disk"))))
    assert "all 5 trials failed: no disk" in page
    lacking = html.render(judged(a_run(a_plan(lacking=("docker",)), believable)))
    assert "it is not installed" in lacking
