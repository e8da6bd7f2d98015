"""Every format takes every comparison, lets no infinite number out, and keeps its files as they are."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import exchange
from bench.errors import UsageError
from bench.exchange import Starts, _text, bencher, github_action_benchmark, parquet
from bench.exchange import csv as csv_format
from bench.exchange._rows import COLUMNS
from bench.model import ArmSummary, Interval
from tests.unit.strategies_comparison import HOSTILE, comparisons, example, exports, few

GOLDEN = Path(__file__).parent.parent / "golden" / "exchange"
JSON = ("bencher", "github_action_benchmark", "pytest_benchmark")


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} got out")


def strict(text: str):
    """The JSON in `text`, which must not hold NaN or Infinity."""
    return json.loads(text, parse_constant=refuse)


def test_the_formats_are_the_modules() -> None:
    assert exchange.names() == sorted([
        "bencher", "csv", "github_action_benchmark", "hyperfine", "junit", "markdown", "openmetrics",
        "parquet", "pytest_benchmark",
    ])  # fmt: skip
    assert exchange.readers() == ["hyperfine", "pytest_benchmark"]
    assert set(exchange.writers()) == set(exchange.names()) - {"hyperfine"}
    for name in exchange.names():
        module = exchange.load(name)
        assert module.TITLE
        assert module.SUFFIX.startswith(".")


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="junti") as caught:
        exchange.load("junti")
    assert "junit" in str(caught.value)
    assert exchange.load("pytest-benchmark") is exchange.load("pytest_benchmark")


def test_a_format_that_is_only_read_cannot_be_written() -> None:
    with pytest.raises(UsageError, match="read and not written"):
        exchange.exported("hyperfine", *example())
    with pytest.raises(UsageError, match="written and not read"):
        exchange.imported("{}", "junit")


@few
@given(exports())
def test_any_comparison_exports_in_every_format(case) -> None:
    for name in exchange.writers():
        content = exchange.exported(name, *case)
        if name == "parquet":
            pq.read_table(io.BytesIO(content))
            continue
        text = content.decode()  # no surrogate got out
        assert text.endswith("\n")
        assert not set(text) & {"\x00", "\x07", "\x1b", "\ud800"}
        if name in JSON:
            strict(text)


@pytest.mark.parametrize("name", sorted(set(exchange.writers()) - {"parquet"}))
def test_the_example_is_written_as_it_always_was(name: str) -> None:
    module = exchange.load(name)
    golden = GOLDEN / f"example.{name}{module.SUFFIX}"
    assert exchange.exported(name, *example()).decode() == golden.read_text()


def test_a_comparison_without_anything_exports_in_every_format() -> None:
    empty, _ = example(arms=(), ratios=(), judged=(), excluded={}, commit=None, policy={}, notes=())
    for name in exchange.writers():
        assert exchange.exported(name, empty, Starts())


def test_a_missing_number_stays_missing() -> None:
    arm = ArmSummary("a", "candidate", "docker", "start", "s", 0, 7, None)
    found, starts = example(arms=(arm,), ratios=(), judged=())
    assert strict(bencher.write(found, starts)) == {}
    assert strict(github_action_benchmark.write(found, starts)) == []
    row = next(csv.DictReader(io.StringIO(csv_format.write(found, starts))))
    assert (row["median"], row["p95"], row["ratio"], row["outcome"]) == ("", "", "", "")
    assert row["failed"] == "7"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_counts_as_missing(bad: float) -> None:
    arm = ArmSummary("a", "candidate", "docker", "start", "s", 3, 0, Interval(0.5, bad, 0.6, 3), p95=bad)
    found, starts = example(arms=(arm,), ratios=())
    assert strict(bencher.write(found, starts)) == {
        "a/start": {"latency": {"value": 0.5e9, "upper_value": 0.6e9}}
    }
    assert "range" not in strict(github_action_benchmark.write(found, starts))[0]


# --- the single formats -------------------------------------------------------------------------


def test_bencher_has_nanoseconds_and_the_interval() -> None:
    found = strict(bencher.write(*example()))
    assert found["docker/start"]["latency"] == pytest.approx(
        {"value": 550.8e6, "lower_value": 540e6, "upper_value": 561.6e6}
    )
    assert found["docker/start"]["ratio-to-reference"]["value"] == 1.08


def test_bencher_keeps_other_units_apart_from_latency() -> None:
    arm = ArmSummary("a/b", "candidate", "docker", "memory", "bytes", 3, 0, Interval(4096, 4096, 8192, 3))
    found, starts = example(arms=(arm,), ratios=())
    assert strict(bencher.write(found, starts)) == {
        "a%2Fb/memory": {"memory": {"value": 4096, "lower_value": 4096, "upper_value": 8192}}
    }


def test_github_action_gets_seconds_and_the_ratio_to_the_reference_only() -> None:
    found = {entry["name"]: entry for entry in strict(github_action_benchmark.write(*example()))}
    assert found["docker start"]["unit"] == "s"
    assert found["docker start / reference"]["value"] == 1.08
    assert found["docker start / reference"]["range"] == "± 0.014"
    assert not any(entry["value"] == 135.0 for entry in found.values())  # that one is against the raw process


@few
@given(exports())
def test_csv_has_a_row_for_each_arm_and_metric_and_all_columns(case) -> None:
    found, starts = case
    rows = list(csv.reader(io.StringIO(csv_format.write(found, starts), newline="")))
    assert len(rows) == 1 + len({(_text.clean(a.arm), _text.clean(a.metric)) for a in found.arms})
    assert {len(row) for row in rows} == {len(rows[0])}
    for cell in (cell for row in rows for cell in row):
        if cell.startswith(("=", "+", "@", "\t", "\r", "-")):
            float(cell)  # a formula would be no number
    for column, kind in enumerate(COLUMNS.values()):
        if kind in (int, float):
            assert all(math.isfinite(float(row[column])) for row in rows[1:] if row[column])


def test_csv_disarms_formulas_and_leaves_negative_numbers() -> None:
    arm = ArmSummary("=HYPERLINK(1)", "candidate", "-x", "start", "s", 1, 0, Interval(-0.5, None, None, 1))
    found, starts = example(arms=(arm,), ratios=())
    row = next(csv.DictReader(io.StringIO(csv_format.write(found, starts))))
    assert (row["arm"], row["runtime"], row["median"]) == ("'=HYPERLINK(1)", "'-x", "-0.5")


def test_the_wide_table_has_a_row_for_each_comparison_by_time() -> None:
    later, _ = example()
    earlier, _ = example(commit=None, created="2026-11-01T00:00:00+00:00", arms=later.arms[:2], ratios=())
    rows = list(csv.DictReader(io.StringIO(csv_format.wide([later, earlier]))))
    assert [row["time"] for row in rows] == ["2026-11-01T00:00:00+00:00", "2026-11-24T11:00:00+00:00"]
    assert list(rows[0])[:3] == ["time", "commit", "branch"]
    assert (rows[1]["docker.start"], rows[1]["docker.start.ratio"]) == ("0.5508", "1.08")
    assert (rows[0]["docker.start.ratio"], rows[0]["ref2.start"]) == ("", "")


@few
@given(st.lists(comparisons, max_size=3))
def test_any_comparisons_make_a_wide_table(found) -> None:
    rows = list(csv.reader(io.StringIO(csv_format.wide(found), newline="")))
    assert len(rows) == 1 + len(found)
    assert {len(row) for row in rows} == {len(rows[0])}


@few
@given(exports())
def test_parquet_holds_every_start_in_its_place(case) -> None:
    found, starts = case
    table = pq.read_table(io.BytesIO(parquet.write_bytes(found, starts)))
    first = {}
    for one in found.arms:
        first.setdefault((_text.clean(one.arm), _text.clean(one.metric)), starts.of(one.arm, one.metric))
    expected = [(a, m, i, _text.finite(v)) for (a, m), series in first.items() for i, v in enumerate(series)]
    columns = (table[name].to_pylist() for name in ("arm", "metric", "position", "value"))
    assert list(zip(*columns, strict=True)) == expected
    whole = strict(table.schema.metadata[b"isobench.comparison"].decode())
    assert len(whole["arms"]) == len(found.arms)
    assert len(strict(table.schema.metadata[b"isobench.summary"].decode())) == len(first)


# --- text and numbers ---------------------------------------------------------------------------


@given(st.one_of(st.sampled_from(HOSTILE), st.text()))
def test_clean_text_fits_every_format_and_stays_clean(text: str) -> None:
    found = _text.clean(text)
    found.encode()
    assert _text.clean(found) == found
    assert len(found) == len(text)
    assert "\n" not in _text.line(text)


@given(st.text(), st.integers(1, 40))
def test_a_line_is_never_longer_than_asked(text: str, most: int) -> None:
    assert len(_text.line(text, most)) <= most


@pytest.mark.parametrize("value", [None, True, "1", math.nan, math.inf, -1e308, 10**400, [], {}])
def test_what_is_no_finite_number_is_none(value) -> None:
    assert _text.finite(value) is None


def test_a_time_without_offset_is_no_moment() -> None:
    assert _text.timestamp("1970-01-01T01:00:00+01:00") == 0
    assert _text.timestamp("1970-01-01T00:00:00") is None
    assert _text.timestamp("yesterday") is None
