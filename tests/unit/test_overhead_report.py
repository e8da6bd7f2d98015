"""What the report says of a ladder: every step, waterfalls, numbers, budgets, and what was left out."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from overhead_material import a_plan, a_run, a_suite, judged, rates

from bench.render import document, html, palette, terminal

COSTS = {"cgroup": 1.0, "runc:ns": 1.10, "docker": 3.0, "libvirt:micro": 9.0}
WORKS = (("primes", "1/s"), ("pipes", "1/s"))


@pytest.fixture(scope="module")
def run():
    return judged(a_run(a_plan(WORKS, emulated=("libvirt:micro",)), rates(COSTS)))


@pytest.fixture(scope="module")
def text(run):
    return html.render(run)


def figure(text, name):
    return re.search(rf'<figure id="{name}">.*?</figure>', text, re.S).group()


def drawn(text, name):
    """The labels of a picture."""
    return re.findall(r"<text[^>]*>(.*?)</text>", figure(text, name), re.S)


def test_it_begins_with_what_costs_most_and_the_ladder_is_the_first_section(text):
    assert text.index("What costs most is Docker") < text.index('id="overhead"') < text.index('id="missing"')
    assert 'id="matrix"' not in text


def test_each_waterfall_has_a_row_a_rung_with_its_step(text):
    labels = drawn(text, "fig-ladder-0")
    assert {"raw process", "+ cgroup", "+ namespaces", "Docker", "machine (emulated)"} <= set(labels)
    assert "×2.7" in "".join(labels) and any(x.startswith("none (&lt;") for x in labels)
    assert drawn(text, "fig-ladder-1")


def test_a_machine_on_an_emulated_cpu_has_a_number_and_no_bar_and_does_not_stretch_the_axis(text, run):
    labels = drawn(text, "fig-ladder-0")
    assert any(x.startswith("×9") or x.startswith("×8.9") for x in labels)
    ticks = [float(x) for x in labels if re.fullmatch(r"[\d.]+", x)]
    assert ticks and max(ticks) <= 3
    native = html.render(judged(a_run(a_plan(WORKS), rates(COSTS))))
    assert max(float(x) for x in drawn(native, "fig-ladder-0") if re.fullmatch(r"[\d.]+", x)) >= 5


def test_every_rung_of_every_workload_has_a_cell_and_a_row_with_its_sentence(text, run):
    part = text[text.index('id="overhead"') : text.index('id="budgets"')]
    glance = part[: part.index("</table>")]
    assert glance.count('class="cell"') == 4 * 2
    assert len(re.findall(r'<tr class="why">', part)) == 5 * 2
    for finding in run.finding_list:
        if finding.section == "overhead":
            assert finding.reason.split("(")[0].replace("'", "&#39;") in part


def test_the_budgets_say_what_was_read_back_and_what_is_not_told(text):
    part = text[text.index('id="budgets"') :]
    assert "768 MiB" in part and "no limit" in part and "not told: no probe looked" in part
    assert re.search(r"sha256:[0-9a-f]{12}<", part)


def test_rungs_that_were_not_asked_for_are_named():
    plan = a_plan(WORKS)
    less = replace(
        plan, runtimes=plan.runtimes[:-1], trials=tuple(t for t in plan.trials if "libvirt" not in t.case),
        cases=tuple(c for c in plan.cases if "libvirt" not in c.runtime),
    )  # fmt: skip
    assert "Not run: machine (libvirt:micro)" in html.render(judged(a_run(less, rates(COSTS))))


def test_a_rung_that_could_not_run_is_missing_with_its_reason_and_fix():
    page = html.render(judged(a_run(a_plan(WORKS, lacking=("docker",)), rates(COSTS))))
    gaps = page[page.index('id="missing"') :]
    assert "it is not installed" in gaps and "install it" in gaps
    assert "Docker" not in drawn(page, "fig-ladder-0")


def test_many_workloads_are_divided_over_several_tables():
    works = [(f"w{i}", "1/s") for i in range(8)]
    found = document.build(judged(a_run(a_plan(works, blocks=5), rates(COSTS))))
    assert [len(g.heads) for g in found.overhead.glances] == [6, 2]


def test_on_paper_nothing_asks_to_be_hovered_or_clicked(run):
    printed = html.page(document.build(run), screen=False)
    part = printed[printed.index('id="overhead"') : printed.index('id="missing"')]
    assert "<button" not in part and "var(" not in palette.concrete(part)


def test_a_hostile_title_is_text():
    hostile = "<script>alert(1)</script>"
    plan = a_plan((("primes", "1/s"),))
    rungs = tuple(replace(r, title=hostile, adds=hostile, group=hostile) for r in plan.suite.rungs)
    page = html.render(judged(a_run(replace(plan, suite=replace(plan.suite, rungs=rungs)), rates(COSTS))))
    assert hostile not in page and "&lt;script&gt;" in page


def test_a_terminal_shows_the_same_steps(run):
    lines = terminal.plain(run.finding_list)
    assert any("runc:ns: primes, + namespaces" in x and "on top of cgroup" in x for x in lines)


def test_a_run_without_a_finished_trial_still_has_a_report():
    page = html.render(judged(a_run(a_plan(WORKS), lambda case, block, rng: None)))
    assert "No rung was measured beside the raw process." in page and "it broke" in page


def test_the_text_of_a_suite_can_name_any_number_of_workloads():
    assert a_suite(WORKS).count("[[experiment]]") == 2
