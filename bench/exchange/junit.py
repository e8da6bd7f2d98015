"""JUnit XML of the dialect xunit2, for every CI that shows test results.

A test suite an arm, a test case a metric of it. Only a slower metric is a failure; what is inconclusive or
invalid is skipped with its reason. The numbers are properties of the suite, named METRIC.NUMBER: that schema
allows no properties in a test case.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from bench.exchange import Starts
from bench.exchange._reading import SECONDS, Key, bounds, fails, judgements, ratios, summaries
from bench.exchange._text import clean, finite
from bench.model import ArmSummary, Comparison, Judged

TITLE = "JUnit XML (xunit2)"
SUFFIX = ".xml"

SKIPPED = ("inconclusive", "invalid")


def write(comparison: Comparison, starts: Starts) -> str:
    """The comparison as a JUnit document; `starts` is not needed."""
    root = ET.Element("testsuites", name=clean(f"isobench {comparison.suite}"))
    measured, judged = summaries(comparison), judgements(comparison)
    keys = list(dict.fromkeys([*measured, *judged]))
    for arm in dict.fromkeys(arm for arm, _ in keys):
        suite = ET.SubElement(root, "testsuite", name=arm)
        if finite(comparison.duration) is not None:
            suite.set("time", f"{max(0.0, comparison.duration):.3f}")
        if comparison.created:
            suite.set("timestamp", clean(comparison.created))
        properties = ET.SubElement(suite, "properties")
        mine = [key for key in keys if key[0] == arm]
        for name, value in _numbers(comparison, mine):
            ET.SubElement(properties, "property", name=name, value=value)
        for key in mine:
            _cases(suite, key, measured.get(key), judged.get(key, []))
        _count(suite)
    _count(root)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _cases(suite: ET.Element, key: Key, measured: ArmSummary | None, judged: list[Judged]) -> None:
    """A test case for every judgement of that arm and metric; one that says nothing where there is none."""
    said: list[Judged | None] = [*judged] or [None]
    for one in said:
        name = key[1] if len(judged) < 2 or one is None else f"{key[1]} against {clean(one.against)}"
        case = ET.SubElement(suite, "testcase", classname=f"isobench.{key[0]}", name=name)
        median = bounds(measured.median)[0] if measured else None
        if measured and measured.unit in SECONDS and median is not None:
            case.set("time", f"{median:.9f}")
        if one is None:
            if median is None:
                ET.SubElement(case, "skipped", type="missing", message="no start was measured")
        elif fails(one):
            failure = ET.SubElement(case, "failure", type=one.outcome, message=clean(one.reason))
            second = "agreed" if one.confirmed else "was not made"
            failure.text = clean(
                f"{one.metric} of {one.arm} is slower than that of {one.against}: {one.reason}\n"
                f"a second measurement with the places swapped {second}"
            )
        elif one.outcome in SKIPPED or one.outcome == "slower":
            kind = one.outcome if one.outcome in SKIPPED else "not confirmed"
            ET.SubElement(case, "skipped", type=kind, message=clean(f"{kind}: {one.reason}"))


def _numbers(comparison: Comparison, keys: list[Key]) -> Iterator[tuple[str, str]]:
    """Names and values of the properties of an arm; numbers that are missing are left out."""
    for name in ("id", "version", "fingerprint", "image", "reference"):
        yield name, clean(getattr(comparison, name))
    if comparison.commit:
        yield "commit", clean(comparison.commit.id)
    measured, judged, compared = summaries(comparison), judgements(comparison), ratios(comparison)
    for key in keys:
        found: dict[str, float | None] = {}
        if one := measured.get(key):
            yield f"{key[1]}.unit", clean(one.unit)
            yield f"{key[1]}.role", one.role
            found["n"], found["failed"] = one.n, one.failed
            found["median"], found["median.low"], found["median.high"] = bounds(one.median)
            found |= {"p10": one.p10, "p95": one.p95, "p99": one.p99}
        for (arm, metric, against), ratio in compared.items():
            if (arm, metric) == key:
                name = f"ratio to {against}"
                found[name], found[f"{name}.low"], found[f"{name}.high"] = bounds(ratio.ratio)
        for verdict in judged.get(key, []):
            yield f"{key[1]}.outcome against {clean(verdict.against)}", verdict.outcome
            for name in ("margin", "p", "adjusted", "detectable"):
                found[f"{name} against {clean(verdict.against)}"] = getattr(verdict, name)
        for name, value in found.items():
            if (number := finite(value)) is not None:
                yield f"{key[1]}.{name}", f"{number:.9g}"


def _count(element: ET.Element) -> None:
    """Set the totals that JUnit wants on a suite, and on the document."""
    element.set("tests", str(len(element.findall(".//testcase"))))
    element.set("failures", str(len(element.findall(".//testcase/failure"))))
    element.set("errors", "0")
    if element.tag == "testsuite":
        element.set("skipped", str(len(element.findall(".//testcase/skipped"))))
