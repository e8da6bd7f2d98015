"""What a report says of claims: the word, this machine's figure, and the published ones beside it."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from overhead_material import a_plan, a_run, judged, rates

from bench.analysis.claims import Cited, Evaluated, Said, bound, counted, decided, multiple
from bench.model import Interval
from bench.published import figures, rows
from bench.render import document, html, literature, palette

WORKS = (("primes", "1/s"), ("syscalls", "1/s"), ("open", "1/s"))
COSTS = {"docker": 1.8, "libvirt:micro": 9.0}


@pytest.fixture(scope="module")
def run():
    return judged(a_run(a_plan(WORKS, emulated=("libvirt:micro",)), rates(COSTS)))


@pytest.fixture(scope="module")
def part(run):
    page = html.render(run)
    return page[page.index('id="claims"') : page.index('id="missing"')]


def of(*found):
    return literature.section(
        [Evaluated(Said("P", "it is so", cited), word, None, "why") for cited, word in found]
    )


# --- the judging that all share -------------------------------------------------------------------

SAID = Said("P", "slower", Cited(by="somebody"))


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (5.0, 6.0, "reproduced"),
        (4.9, 6.0, "inconclusive"),
        (4.0, 5.0, "inconclusive"),
        (3.0, 4.9, "inverted"),
    ],
)
def test_the_bound_itself_belongs_to_the_claim(low, high, word):
    assert decided(SAID, Interval(5, low, high, 10), 5).word == word


def test_nothing_measured_does_not_apply_and_few_blocks_decide_nothing():
    assert decided(SAID, None, 5).word == "not applicable"
    assert decided(SAID, Interval(50, None, None, 2), 5).word == "inconclusive"
    assert bound(Interval(50, 49, 51, 2), least=5) == "inconclusive"


@given(st.floats(0.01, 1000), st.floats(1, 3))
def test_at_least_and_at_most_the_same_bound_are_never_both_inverted(middle, wide):
    found = Interval(middle, middle / wide, middle * wide, 9)
    assert (bound(found, least=5.0), bound(found, most=5.0)) != ("inverted", "inverted")


def test_near_one_a_thousandth_is_told():
    assert multiple(Interval(1.0045, 0.997, 1.012, 10)) == "1.004 times, 95 % 0.997 … 1.012, 10 blocks"
    assert multiple(Interval(231.4, 211, 252, 10)) == "231 times, 95 % 211 … 252, 10 blocks"
    assert "too few blocks" in multiple(Interval(2, None, None, 1))


def test_every_word_is_counted_and_those_that_nobody_got_are_not():
    found = [Evaluated(SAID, w, None, "") for w in ("inverted", "reproduced", "inverted")]
    assert counted(found) == {"reproduced": 1, "inverted": 2} and counted([]) == {}


# --- the section ----------------------------------------------------------------------------------


def test_each_claim_has_its_word_its_figure_and_its_interval(part):
    assert re.search(r"inverted</span> a system call in Docker takes at most 1\.4 times", part)
    assert re.search(r'class="cause">1\.8 times, 95 % 1\.\d+ … 1\.\d+, 10 blocks', part)
    assert "machine ran on an emulated CPU" in part
    assert "not measured by this suite" in part and "this run measured no network modes" in part


def test_published_figures_stand_beside_with_source_year_and_hardware(part):
    assert "Young et al. 2019" in part and "CloudLab 220 M4" in part
    assert "runc against native 0.22: 0.29 µs latency, gettimeofday forced syscall" in part
    assert 'title="Young et al. - The True Cost of Containing' in part


def test_what_was_transcribed_from_memory_is_unverified(part):
    before = part[: part.index("unverified transcription")]
    assert before.rstrip().endswith("<b>")
    assert "Felter et al. 2014</b> <b>unverified transcription" in part
    assert "Young et al. 2019</b> <b>unverified" not in part


def test_numbers_of_their_time_say_which_time(part):
    assert "P14: numbers of their time, 2019" in part
    (group,) = of((Cited(rows("FEL-13 OPS-02"), severity="era"), "inverted")).groups
    assert group.severity == "numbers of their time, 2014 … 2026"
    (must,) = of((Cited(rows("KER-16"), severity="must"), "reproduced")).groups
    assert must.severity == "promised by the kernel"


def test_the_counts_come_first(part):
    counts = part[: part.index("</p>\n", part.index('class="counts"'))]
    assert [w in counts for w in ("reproduced", "inverted", "not applicable")] == [True] * 3


def test_many_figures_of_one_kind_are_told_together_and_the_silent_ones_are_counted():
    (group,) = of((Cited(rows("RUN-25..40")), "reproduced")).groups
    (source,) = group.sources
    who = "kata-qemu, kata-template, kata-fc, rund"
    assert source.figures == (
        ("RUN-25 … RUN-40", f"{who}: 23.9 … 165.8 MB PSS per sandbox, 16 figures"),
    )  # fmt: skip
    (matthews,) = of((Cited(rows("MAT-01..18")), "reproduced")).groups[0].sources
    texts = dict(matthews.figures)
    assert len(texts) == 2 and any("0 … 91.3 %" in t and "no response in 4" in t for t in texts.values())
    assert set(texts) == {"9 of MAT-01 … MAT-17", "9 of MAT-02 … MAT-18"}


@pytest.mark.parametrize(
    ("id_", "text"),
    [
        ("FEL-01", "docker against native: −4 % throughput change, PXZ lossless compression"),
        (
            "FEL-13",
            "docker-nat against native: ×2 round-trip latency ratio, netperf TCP_RR and UDP_RR 100B/200B",
        ),
        ("GVD-15", "runsc against runc 13099: 13107 ops/s, sysbench memory"),
        ("SHA-31", "kvm-full-distro against container: 10 or more s start latency, boot"),
        ("SHA-07", "lxc against lxc alone: did not respond, kernel compile + fork bomb neighbour"),
    ],
)
def test_a_figure_in_words(id_, text):
    (source,) = of((Cited((id_,)), "reproduced")).groups[0].sources
    assert source.figures == ((id_, text),)


def test_claims_on_the_same_figures_stand_together():
    same = Cited(rows("YOU-07"))
    found = of((same, "reproduced"), (same, "inverted"), (Cited(rows("YOU-08")), "inverted"))
    assert [len(g.claims) for g in found.groups] == [2, 1]


def test_every_published_figure_can_be_told():
    for id_ in figures():
        (source,) = of((Cited((id_,)), "reproduced")).groups[0].sources
        assert source.name.endswith(str(figures()[id_].year)) and source.figures[0][1]


# --- pictures -------------------------------------------------------------------------------------


def labels(page, name):
    figure = re.search(rf'<figure id="{name}">.*?</figure>', page, re.S).group()
    return re.findall(r"<text[^>]*>(.*?)</text>", figure, re.S)


def test_a_picture_has_a_row_for_each_claim_that_was_measured_here_and_elsewhere(part):
    times = labels(part, "fig-literature-times")
    assert "P13  Docker ÷ raw process" in times and "P14  Docker ÷ raw process" in times
    assert "P11  Docker ÷ raw process" in labels(part, "fig-literature-rate")
    assert not any("machine ÷" in x or "gVisor" in x for x in times)


def test_without_a_number_on_both_sides_there_is_no_picture():
    assert of((Cited(rows("YOU-07"), (("YOU-07", ""),)), "not applicable")).pictures == ()
    page = judged(a_run(a_plan((("primes", "1/s"),)), lambda case, block, rng: None))
    assert document.build(page).literature.pictures == ()


@given(st.floats(1e-6, 1e6), st.floats(1.01, 20))
def test_any_number_can_be_drawn(middle, wide):
    said = Said("P", "x", Cited(rows("YOU-07"), (("YOU-07", ""),)), "a ÷ b")
    one = Evaluated(
        said, "inverted", Interval(middle, middle / wide, middle * wide, 9), "", "times", (None, 1.4)
    )
    (figure,) = literature.section([one]).pictures
    assert "P  a ÷ b" in figure.svg and "nan" not in figure.svg.lower()
    assert math.isfinite(middle)


# --- the page -------------------------------------------------------------------------------------


def test_a_suite_that_nobody_says_anything_of_has_no_section():
    assert literature.section([]) is None


def test_an_inverted_claim_is_no_finding_and_no_failure(run):
    assert any(m.word == "inverted" for m, _ in document.build(run).literature.counts)
    assert not any(f.verdict in ("fail", "not enforced") for f in run.finding_list)
    assert not any("literature" in f.id or f.section == "claims" for f in run.finding_list)


def test_nothing_in_it_is_markup_of_others(run):
    hostile = "<script>alert(1)</script>"
    rungs = tuple(replace(r, title=hostile) if r.runtime == "docker" else r for r in run.plan.suite.rungs)
    page = html.render(
        judged(replace(run, plan=replace(run.plan, suite=replace(run.plan.suite, rungs=rungs))))
    )
    assert hostile not in page and "system call in &lt;script&gt;" in page


def test_on_paper_its_colours_are_resolved(run):
    printed = palette.concrete(html.page(document.build(run), screen=False))
    section = printed[printed.index('id="claims"') : printed.index('id="missing"')]
    assert "var(" not in section and "#01fe" not in section
