"""The report of a comparison: the outcome first, every number there, and nothing told by colour alone."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from click.testing import CliRunner
from test_judging import a_run, concluded
from test_render_html import HOSTILE, Page

from bench import cli, frames
from bench.commands import comparing
from bench.model import OUTCOMES, Judged
from bench.render import compared, html, outcomes, pdf


@pytest.fixture(scope="module")
def slower(tmp_path_factory):
    """A slow-down of 10 %, confirmed by a second run, with failed and disturbed starts."""
    directory = tmp_path_factory.mktemp("slower")
    broke = lambda arm, block: arm == "docker" and block == 7  # noqa: E731
    run = a_run(directory / "a", 60, slower=1.1, fails=broke)
    first = concluded(run)
    second = concluded(a_run(directory / "b", 60, slower=1.1, seed=4))
    return run, comparing._confirmed(first, second)


@pytest.fixture(scope="module")
def text(slower):
    run, found = slower
    loaded = frames.load(run.path)
    return html.render(loaded, compared.build(loaded, found))


def rendered(run, found):
    loaded = frames.load(run.path)
    return html.render(loaded, compared.build(loaded, found))


def test_the_outcome_in_words_and_a_symbol_comes_first_then_its_picture(slower, text):
    _, found = slower
    body = text[text.index("<body>") :]
    (judged,) = found.judged
    figures = [f'id="fig-{name}"' for name in ("ratio-1", "starts-1", "blocks-1-1")]
    parts = (">✗</span> slower<", judged.reason, *figures, "start.ready: the arms")
    places = [body.index(part) for part in parts]
    assert places == sorted(places)
    assert "is the noise floor of start.ready" in body and "19 times in 20" in body


def test_the_second_measurement_stands_beside_the_first(slower, text):
    _, found = slower
    assert found.confirmation.id in text
    assert "docker:crun over docker, again" in text and "docker:crun: agreed" in text
    assert text.count("(A/A)") >= 2


def test_every_arm_ratio_and_reading_is_in_the_tables(slower, text):
    _, found = slower
    for arm in found.arms:
        assert f'<th scope="row">{arm.arm}</th>' in text
    tables = re.findall(r"<table.*?</table>", text, re.S)
    ratios = next(t for t in tables if "start.ready: the ratios" in t)
    for ratio in found.ratios:
        if ratio.metric == "start.ready":
            assert f"{ratio.arm} over {ratio.against}" in ratios
    assert "Starts failed: 1 of docker." in text
    for title in ("CPU pressure", "Stolen CPU time", "Pages swapped in"):
        assert title in text


def test_blocks_that_a_guard_left_out_are_counted_with_their_reason(tmp_path):
    run = a_run(tmp_path, 60, pressure=0.9)
    text = rendered(run, concluded(run))
    assert "60 left out: 60 for CPU pressure above 0.3" in text
    assert ">○</span> invalid<" in text


def test_it_says_how_to_measure_the_same_again(text):
    assert "bench compare docker docker:crun --suite startup --seed 1 --half-width 0.013" in text


def test_the_page_is_self_contained_and_its_links_lead_somewhere(text):
    page = Page(text)
    assert not page.all("img")
    assert [a.get("href") for a in page.all("link")] == ["data:,"]
    ids = page.ids()
    assert len(ids) == len(set(ids))
    assert all(a["href"][1:] in ids for a in page.all("a") if (a.get("href") or "").startswith("#"))
    assert len(text) < 1_000_000
    assert not re.search(r"#01fe\w\w", text)


def test_hostile_names_stay_text(slower):
    run, found = slower
    judged = tuple(replace(j, reason=HOSTILE, arm=HOSTILE, metric=HOSTILE) for j in found.judged)
    text = rendered(run, replace(found, judged=judged, notes=(HOSTILE,), excluded={HOSTILE: 3}))
    page = Page(text)
    assert len(page.all("script")) == 1 and not page.all("img")
    assert HOSTILE in page.text


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_has_a_word_and_a_symbol_of_its_own(outcome):
    others = [m.symbol for name, m in outcomes.MARKS.items() if name != outcome]
    assert outcomes.MARKS[outcome].symbol not in others
    judged = Judged("m", "a", "b", outcome, 0.01, "", confirmed=True)
    assert outcomes.mark(judged).word == outcome
    once = outcomes.mark(replace(judged, confirmed=None))
    assert once.word == ("slower, not confirmed" if outcome == "slower" else outcome)


def test_a_comparison_without_one_block_still_has_a_page(tmp_path):
    run = a_run(tmp_path, 0)
    text = rendered(run, concluded(run))
    assert "0 blocks" in text


def test_the_command_writes_both_files_for_a_comparison_that_nobody_judged(tmp_path):
    run = a_run(tmp_path, 12)
    done = CliRunner().invoke(cli.main, ["report", str(run.path)])
    assert done.exit_code == 0, done.output
    assert (run.path / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert "It was interrupted" in (run.path / "report.html").read_text()
    assert (run.path / "comparison.json").exists()


def test_a_pdf_has_concrete_colours(slower):
    run, found = slower
    loaded = frames.load(run.path)
    assert pdf.render(loaded, compared.build(loaded, found)).startswith(b"%PDF-")


def test_a_comparison_prints_where_its_report_lies(tmp_path, capfd):
    run = a_run(tmp_path, 12)
    assert comparing.told(run, concluded(run), as_json=False, report=True) == 0
    said = capfd.readouterr().err
    assert f"report: {run.path / 'report.html'}" in said and f"report: {run.path / 'report.pdf'}" in said


def test_several_candidates_are_each_judged_and_confirmed_by_name(tmp_path):
    both = ("docker:crun", "docker:runsc")
    run = a_run(tmp_path / "a", 60, slower=1.1, candidates=both)
    first = concluded(run)
    assert {j.arm: j.outcome for j in first.judged} == {"docker:crun": "slower", "docker:runsc": "equivalent"}
    second = concluded(a_run(tmp_path / "b", 60, slower=1.1, seed=4, candidates=both))
    found = comparing._confirmed(first, second)
    assert {j.arm: j.confirmed for j in found.judged} == {"docker:crun": True, "docker:runsc": None}
    text = "\n".join(comparing.lines(found))
    assert "start.ready of docker:crun: slower" in text and "start.ready of docker:runsc: equivalent" in text
    page = rendered(run, found)
    assert page.index("docker:crun</b>") < page.index("docker:runsc</b>"), "the gravest first"
