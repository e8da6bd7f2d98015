"""Findings in a terminal."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from bench import frames
from bench.analysis import findings as analysis
from bench.render import terminal
from tests import builders


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = frames.load(builders.sample_run(tmp_path_factory.mktemp("runs"), blocks=2, quick=True))
    return replace(run, finding_list=tuple(analysis.analyse(run)))


def printed(renderable, width, colour=False):
    out = StringIO()
    Console(file=out, width=width, force_terminal=colour, color_system="truecolor" if colour else None).print(
        renderable
    )
    return out.getvalue()


def test_the_table_has_a_column_a_runtime_and_no_line_too_wide(run):
    shown = printed(terminal.table(run), 120)
    for runtime in run.plan.runtimes:
        assert runtime in shown
    assert "control, no limits" in shown
    assert "CPU ceiling" in shown
    assert "✓ pass" in shown
    assert max(map(len, shown.splitlines())) <= 120


def test_findings_alone_make_the_same_table_with_names_for_titles(run):
    shown = printed(terminal.table(list(run.finding_list)), 120)
    assert "cpu-ceiling" in shown
    assert "✓ pass" in shown


def test_a_given_width_wins_over_that_of_the_console(run):
    assert max(map(len, printed(terminal.table(run, 100), 140).splitlines())) <= 100


def test_a_narrow_terminal_gets_a_list_with_reasons(run):
    shown = printed(terminal.table(run), 60)
    assert "│" not in shown
    assert "docker: cpu-ceiling" in shown


def test_markup_in_names_is_shown_and_not_obeyed(run):
    odd = tuple(
        replace(f, runtime="[red]x[/red]", reason="[bold]b")
        for f in run.finding_list
        if f.runtime == "docker"
    )
    shown = printed(terminal.table(list(odd)), 100)
    assert "[red]x[/red]" in shown
    assert "[bold]b" in terminal.plain(odd)[0]


def test_plain_lines_hold_verdict_runtime_reason_and_fix_without_colour(run):
    finding = replace(run.finding_list[1], verdict="not testable", reason="no such file", fix="modprobe x")
    (line,) = terminal.plain([finding])
    assert line.startswith("? not testable")
    assert finding.runtime in line
    assert "no such file" in line
    assert "fix: modprobe x" in line
    assert "\x1b" not in line
    assert "\n" not in line


def test_colour_is_never_the_only_sign(run):
    coloured = printed(terminal.table(run), 120, colour=True)
    assert "\x1b[" in coloured
    assert "✓ pass" in coloured
