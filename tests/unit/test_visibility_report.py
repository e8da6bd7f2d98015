"""The two tables and the picture of what tenants see, and the same in a terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest

from bench import analysis
from bench.analysis.properties import PROPERTIES
from bench.model import KINDS, Skipped
from bench.render import document, html, palette, terminal
from tests.unit.test_render_html import Page
from tests.unit.test_visibility import a_run


def judged(run):
    found = analysis.analyse(run)
    return replace(run, finding_list=tuple(found), conclusion=analysis.summary(run, found))


def no_docker(runtime, case):
    return Skipped(case, "not testable", "no engine answers", "start it") if runtime == "docker" else None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return judged(a_run(tmp_path_factory.mktemp("runs"), lacking=no_docker))


@pytest.fixture(scope="module")
def built(run):
    return document.build(run)


@pytest.fixture(scope="module")
def text(run, built):
    return html.render(run, built)


def test_there_is_a_row_for_every_property_and_a_column_for_every_runtime(built):
    table = built.visibility.runtimes
    lines = [line for group in table.groups for line in group.lines]
    assert [line.title for line in lines] == [
        p.title for group in table.groups for p in PROPERTIES if p.title in {x.title for x in group.lines}
    ]
    assert len(lines) == len(PROPERTIES)
    assert table.columns == ("process", "namespace", "docker")
    assert all(len(line.cells) == 3 for line in lines)


def test_a_cell_says_its_state_and_its_evidence(built):
    table = built.visibility.runtimes
    (line,) = [x for g in table.groups for x in g.lines if x.anchor == "process-signal"]
    words = [c.mark.word for c in line.cells]
    assert words == ["shared", "own", "not testable"]
    assert line.cells[0].evidence == "of process.signal; read back by the host: 1"
    assert line.cells[2].evidence == "no engine answers"


def test_the_table_of_kinds_is_loud_where_a_kind_changed_something_and_nowhere_else(built):
    table = built.visibility.kinds
    assert table.columns[0] == "none" and set(KINDS) < set(table.columns)
    lines = {line.anchor: line for group in table.groups for line in group.lines}
    loud = {c.column for c in lines["hostname"].cells if not c.quiet}
    assert loud == {"uts"}
    assert {c.column for c in lines["process-signal"].cells if not c.quiet} == {"pid", "user", "pid+mnt"}
    assert "Reads a file" in built.visibility.unchanged and "hostname" not in built.visibility.unchanged


def test_what_tenants_see_is_in_no_table_of_limits(built):
    assert built.matrix == () and built.sections == ()


def test_what_cannot_run_is_told_once(built):
    (gap,) = [g for g in built.gaps if g.cause == "no engine answers"]
    assert gap.runtimes == ("docker",) and gap.fix == "start it"


def test_the_page_is_whole(text):
    page = Page(text)
    ids = page.ids()
    assert len(ids) == len(set(ids))
    assert {"visibility", "fig-visibility"} <= set(ids) and "matrix" not in ids
    for more in page.all("button"):
        if more.get("aria-controls"):
            assert more["aria-controls"].strip() in ids
    assert {a["href"] for a in page.all("a") if a.get("class") == "skip"} == {"#visibility"}


def test_states_are_told_by_a_symbol_and_a_word_besides_their_colour(text):
    cells = re.findall(r'<td class="cell" data-label="[^"]*" title="[^"]*">(.*?)</td>', text, re.S)
    assert cells
    for cell in cells:
        assert re.search(r'aria-hidden="true">\S</span> (shared|own|restricted|not testable)<', cell)


def test_the_picture_has_a_mark_of_its_own_shape_for_every_state(run, built):
    (figure,) = built.visibility.figures
    for word in ("shared with the host", "its own", "none or refused", "no answer"):
        assert word in figure.svg
    assert "Processes and users" in figure.svg and "namespace" in figure.svg
    assert not re.search(r"#01fe", figure.svg) and "var(--fail)" in figure.svg


def test_on_paper_meanings_stand_below_the_titles_and_no_script_is_needed(built):
    page = palette.concrete(html.page(built, screen=False))
    assert "A tenant can stop or end what runs on the host." in page
    assert "<button" not in page and "var(--" not in page


def test_on_paper_what_was_read_stands_below_each_row_and_once_for_all_columns_that_have_it(built):
    page = html.page(built, screen=False)
    lines = [line for group in built.visibility.runtimes.groups for line in group.lines]
    for line in lines:
        assert [e for _, e in line.told] == list(dict.fromkeys(c.evidence for c in line.cells))
        assert sorted(n for names, _ in line.told for n in names.split(", ")) == sorted(
            c.column for c in line.cells
        )
    assert page.count('class="told"') == len(lines)
    assert 'class="told"' not in html.page(built, screen=True)


def test_a_terminal_shows_a_row_a_property_below_its_area(run):
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=120).print(terminal.table(run.finding_list))
    shown = out.getvalue()
    for word in ("Kernel", "Signals a process", "● shared", "○ own"):
        assert word in shown
    assert shown.index("Processes and users".capitalize()) < shown.index("Signals a process")


def test_plain_lines_say_the_state(run):
    lines = terminal.plain(run.finding_list)
    said = r"● shared\s+process: visible, process.signal: Signals a process: shared, of"
    assert any(re.match(said, line) for line in lines)
