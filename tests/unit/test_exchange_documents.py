"""What people and CI systems read: JUnit XML, OpenMetrics and Markdown, with text from outside in it."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from bench.exchange import Starts, _text, junit, markdown, openmetrics
from bench.model import OUTCOMES, ArmSummary, Interval, Judged
from tests.unit.strategies_comparison import HOSTILE, example, exports, few

# The elements and attributes that the schema of xunit2 (Jenkins' junit-10.xsd) knows and we use.
XUNIT2 = {
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"}, {"properties", "testcase"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": ({"name", "classname", "time"}, {"failure", "skipped"}),
    "failure": ({"type", "message"}, set()),
    "skipped": ({"type", "message"}, set()),
}  # fmt: skip


FACTS = ("id", "version", "fingerprint", "image", "reference", "commit")


def judged(outcome: str, confirmed: bool | None = None, reason: str = "why") -> Judged:
    return Judged("start", "docker", "ref", outcome, 0.01, reason, confirmed=confirmed)  # type: ignore[arg-type]


def case_of(document: str) -> ET.Element:
    """The test case of the candidate."""
    found = ET.fromstring(document).find(".//testcase[@classname='isobench.docker']")
    assert found is not None
    return found


# --- JUnit --------------------------------------------------------------------------------------


@few
@given(exports())
def test_junit_is_always_well_formed_and_keeps_to_its_schema(case) -> None:
    root = ET.fromstring(junit.write(*case).encode())
    for element in root.iter():
        attributes, children = XUNIT2[element.tag]
        assert set(element.attrib) <= attributes
        assert {child.tag for child in element} <= children
        if element.tag == "property" and element.get("name") not in FACTS:
            assert element.get("value", "").lower() not in ("nan", "inf", "-inf")
        assert element.attrib.get("time", "0").replace(".", "", 1).lstrip("-").isdigit()
    for suite in root:
        assert int(suite.get("tests", "")) == len(suite.findall("testcase"))
        assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("skipped", "")) == len(suite.findall("testcase/skipped"))
    assert int(root.get("tests", "")) == sum(int(suite.get("tests", "")) for suite in root)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_only_slower_is_a_failure_and_what_is_unknown_is_skipped(outcome: str) -> None:
    found = case_of(junit.write(*example(judged=(judged(outcome),))))
    expected = {"slower": ["failure"], "inconclusive": ["skipped"], "invalid": ["skipped"]}.get(outcome, [])
    assert [child.tag for child in found] == expected
    if expected:
        assert "why" in found[0].get("message", "")


def test_a_slow_down_that_was_contradicted_is_skipped() -> None:
    assert case_of(junit.write(*example(judged=(judged("slower", True),)))).find("failure") is not None
    found = case_of(junit.write(*example(judged=(judged("slower", False),))))
    assert found.find("failure") is None
    assert "not confirmed" in found[0].get("message", "")


def test_an_arm_that_never_started_is_skipped_and_not_passed() -> None:
    dead = ArmSummary("docker", "candidate", "docker", "start", "s", 0, 9, None)
    found = case_of(junit.write(*example(arms=(dead,), judged=(), ratios=())))
    assert [child.tag for child in found] == ["skipped"]


def test_the_numbers_are_properties() -> None:
    suite = ET.fromstring(junit.write(*example())).find("testsuite[@name='docker']")
    assert suite is not None
    values = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert values["start.median"] == "0.5508"
    assert values["start.ratio to ref.low"] == "1.066"
    assert values["start.detectable against ref"] == "0.03"
    assert "start.p99" not in values


# --- OpenMetrics --------------------------------------------------------------------------------


def families(text: str):
    return {family.name: family for family in text_string_to_metric_families(text)}


@few
@given(exports())
def test_openmetrics_is_always_read_by_the_parser_of_prometheus(case) -> None:
    text = openmetrics.write(*case)
    assert text.endswith("# EOF\n")
    for family in families(text).values():
        for sample in family.samples:
            assert math.isfinite(sample.value)


@given(st.one_of(st.sampled_from(HOSTILE), st.text()))
def test_a_label_is_read_back_as_it_was(text: str) -> None:
    arm = ArmSummary(text, "candidate", "docker", "start", "s", 1, 0, Interval(0.5, None, None, 1))
    found = families(openmetrics.write(*example(arms=(arm,), ratios=(), judged=(), excluded={text: 3})))
    assert found["isobench_start_seconds"].samples[0].labels["arm"] == _text.clean(text)
    assert found["isobench_excluded_blocks"].samples[0].labels["reason"] == _text.clean(text)


def test_openmetrics_says_quantiles_counts_ratios_outcomes_and_when() -> None:
    found = families(openmetrics.write(*example()))
    seconds = {
        (s.labels["arm"], s.labels["quantile"]): (s.value, s.labels["fingerprint"], float(s.timestamp))
        for s in found["isobench_start_seconds"].samples
    }
    assert seconds["docker", "0.5"] == (0.5508, "f1e2d3", 1795521600.0)
    assert ("docker", "0.99") not in seconds
    assert {s.labels["reason"]: s.value for s in found["isobench_excluded_blocks"].samples} == {
        "CPU pressure above 0.3": 2
    }
    assert [s.labels["isobench_outcome"] for s in found["isobench_outcome"].samples if s.value == 1] == [
        "slower"
    ]
    assert found["isobench_start_seconds"].unit == "seconds"
    assert sum(s.value for s in found["isobench_failed_starts"].samples) == 2


def test_a_metric_that_is_no_time_is_not_called_seconds() -> None:
    arm = ArmSummary("a", "candidate", "docker", "memory", "bytes", 3, 0, Interval(4096, None, None, 3))
    found = families(openmetrics.write(*example(arms=(arm,), ratios=(), judged=())))
    assert "isobench_start_seconds" not in found
    assert found["isobench_value"].samples[0].labels["unit"] == "bytes"


# --- Markdown -----------------------------------------------------------------------------------


class Page(HTMLParser):
    """Elements of a page, their attributes, and the text of each table cell."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.rows: list[list[str]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data) -> None:
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def page(text: str) -> Page:
    found = Page()
    found.feed(MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text))
    return found


OURS = {"h2", "ul", "li", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "sub", "code"}


@few
@given(exports())
def test_no_text_from_outside_becomes_markup(case) -> None:
    found = page(markdown.write(*case))
    assert found.elements <= OURS
    assert found.attributes <= {"style"}
    assert {len(row) for row in found.rows} <= {len(markdown.HEADING)}


@given(st.one_of(st.sampled_from(HOSTILE), st.text()))
def test_a_name_is_shown_as_it_is(text: str) -> None:
    arm = ArmSummary(text, "candidate", "docker", "start", "s", 1, 0, Interval(0.5, None, None, 1))
    found = page(markdown.write(*example(arms=(arm,), ratios=(), judged=())))
    shown = found.rows[1][0].replace("\u200b", "")
    assert shown.strip() == _text.line(text).replace("\u200b", "").strip()


@pytest.mark.parametrize("text", ["@someone", "me@example.org", "https://x.example", "WWW.x.example"])
def test_no_mention_and_no_link_is_made(text: str) -> None:
    shown = page(f"- {markdown.escape(text)}").text
    assert text not in shown
    assert shown.replace("\u200b", "").strip() == text


def test_the_outcome_comes_first_and_the_gravest_of_them_leads() -> None:
    several = (judged("faster"), judged("inconclusive"), judged("slower", True))
    text = markdown.write(*example(judged=several))
    assert text.startswith("## start: slower\n")
    assert text.index("**slower**") < text.index("**inconclusive**") < text.index("**faster**")


def test_a_contradicted_slow_down_is_not_announced_as_one() -> None:
    text = markdown.write(*example(judged=(judged("slower", False),)))
    assert text.startswith("## start: slower, not confirmed\n")
    text = markdown.write(*example(judged=(judged("slower", False), judged("invalid"))))
    assert text.startswith("## start: invalid\n")


def test_the_summary_says_noise_floor_exclusions_and_fix() -> None:
    text = markdown.write(*example())
    assert "noise floor of start: ±1.1\u00a0%" in text
    assert "2 excluded with all their arms (CPU pressure above 0.3: 2)" in text
    assert "intervals at 99\u00a0%" in text
    assert "- fix (slower): " in text
    assert "fix (" not in markdown.write(*example(judged=(judged("faster"),)))


def test_nothing_judged_is_said_as_such() -> None:
    assert "nothing was judged" in markdown.write(example(judged=())[0], Starts()).splitlines()[0]
