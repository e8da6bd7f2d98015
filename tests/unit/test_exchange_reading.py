"""What others wrote comes in as history, what they cannot have written is skipped and counted."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_benchmark.stats import Stats

from bench import exchange
from bench.errors import RunFormatError
from bench.exchange import Starts, _text, hyperfine, pytest_benchmark
from bench.model import ArmSummary, Commit
from tests.unit.strategies_comparison import example, exports, few

GOLDEN = Path(__file__).parent.parent / "golden" / "exchange"
KEYS = (
    "stats", "data", "median", "times", "command", "exit_codes", "extra_info", "isobench", "arm", "metric",
    "fullname", "params", "x",
)  # fmt: skip
values = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=40)
nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def golden(name: str) -> str:
    return (GOLDEN / name).read_text()


# --- pytest-benchmark, there and back ------------------------------------------------------------


@few
@given(exports())
def test_what_is_read_back_is_what_was_written(case) -> None:
    found, starts = case
    read = exchange.imported(pytest_benchmark.write(found, starts))
    first: dict[tuple[str, str], ArmSummary] = {}
    for one in found.arms:
        first.setdefault((_text.clean(one.arm), _text.clean(one.metric)), one)
    expected = {
        key: (_text.clean(one.unit), one.failed, _text.finites(starts.of(one.arm, one.metric)), one.role)
        for key, one in first.items()
        if one.unit in ("s", "seconds") and _text.finites(starts.of(one.arm, one.metric))
    }
    assert read.skipped == ()
    assert {
        (a.arm, a.metric): (a.unit, a.failed, list(a.values), a.metadata["role"]) for a in read.arms
    } == expected
    assert read.created == _text.clean(found.created)
    for arm in read.arms:
        assert arm.n == len(arm.values)
        assert arm.median == statistics.median(arm.values)
        assert arm.metadata["comparison"] == _text.clean(found.id)


def test_the_commit_and_the_machine_come_back() -> None:
    read = exchange.imported(pytest_benchmark.write(*example()))
    assert read.format == "pytest_benchmark"
    assert read.commit == Commit("0123456789abcdef", "2026-11-24T11:00:00+00:00", "main")
    assert read.machine == {"fingerprint": "f1e2d3", "cpu.model": "Test CPU", "cpu.count": 2}
    assert exchange.imported(pytest_benchmark.write(example(commit=None)[0], Starts())).commit is None


@given(values)
def test_the_statistics_are_those_of_pytest_benchmark(found: list[float]) -> None:
    theirs = Stats()
    for value in found:
        theirs.update(value)
    ours = pytest_benchmark._stats(found)
    counted = {
        "outliers",
        "iqr_outliers",
        "stddev_outliers",
        "ld15iqr",
        "hd15iqr",
    }  # a rounding apart at a fence
    assert {k: v for k, v in ours.items() if k in Stats.fields and k not in counted} == pytest.approx(
        {k: v for k, v in theirs.as_dict().items() if k not in counted}, rel=1e-9, abs=1e-15
    )
    assert set(theirs.as_dict()) <= set(ours)


def test_the_outliers_are_those_of_pytest_benchmark() -> None:
    theirs, found = Stats(), [1.0, 1.1, 0.9, 1.05, 1.02, 0.97, 9.0, 0.1]
    for value in found:
        theirs.update(value)
    ours = pytest_benchmark._stats(found)
    for name in ("outliers", "iqr_outliers", "stddev_outliers", "ld15iqr", "hd15iqr"):
        assert ours[name] == getattr(theirs, name)


def test_pytest_benchmark_compares_two_of_our_files(tmp_path: Path) -> None:
    found, starts = example()
    slower = Starts(
        {arm: {"start": [2 * v for v in series["start"]]} for arm, series in starts.values.items()}
    )
    (tmp_path / "0001_before.json").write_text(pytest_benchmark.write(found, starts))
    (tmp_path / "0002_after.json").write_text(pytest_benchmark.write(found, slower))
    program = Path(sys.executable).parent / "pytest-benchmark"
    done = subprocess.run(
        [program, "compare", "--group-by=fullname", "--csv=out.csv", "0001_before.json", "0002_after.json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Failed to load" not in done.stderr + done.stdout
    for arm in ("docker", "ref", "ref2", "process"):
        assert done.stdout.count(f"start[{arm}]") >= 2
    rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    medians = [float(row[rows[0].index("median")]) for row in rows[1:] if "isobench::start[docker]" in row]
    assert sorted(medians) == pytest.approx([0.5508, 1.1016])


def test_a_file_of_pytest_benchmark_is_history() -> None:
    read = exchange.imported(golden("pytest-benchmark-5.3.1.json"))
    assert (read.version, read.commit.id[:8], read.commit.dirty) == ("5.3.1", "89abcdef", True)
    assert [(a.arm, a.metric, a.unit, a.n, a.failed) for a in read.arms] == [
        ("test_x.py::test_sum[1]", "time", "s", 6, 0), ("test_x.py::test_sum[2]", "time", "s", 6, 0),
    ]  # fmt: skip
    assert read.arms[0].metadata == {"note": "real", "size": 1}
    assert "node" not in read.machine  # a hostname is private


def test_statistics_alone_are_enough() -> None:
    whole = exchange.imported(golden("pytest-benchmark-5.3.1.json")).arms
    short = exchange.imported(golden("pytest-benchmark-5.3.1-summary.json")).arms
    for a, b in zip(whole, short, strict=True):
        assert b.values == ()
        assert (b.n, b.median, b.deviation) == (a.n, pytest.approx(a.median), a.deviation)


def test_a_broken_entry_is_skipped_and_named_and_the_others_stay() -> None:
    document = json.loads(golden("pytest-benchmark-5.3.1.json"))
    document["benchmarks"] += [
        7,
        {"name": "x"},
        {"stats": {"median": 1}},
        {"name": "x", "stats": {"mean": 1}},
    ]
    document["benchmarks"] += [{"name": "x", "stats": {"data": [1.0, "2"], "median": 1}}]
    read = exchange.imported(json.dumps(document))
    assert len(read.arms) == 2
    assert [reason.partition(": ")[0] for reason in read.skipped] == [f"benchmark {i}" for i in range(3, 8)]


# --- hyperfine ----------------------------------------------------------------------------------


def test_a_file_of_hyperfine_is_history_and_failed_runs_are_no_values() -> None:
    read = exchange.imported(golden("hyperfine-1.15.json"))
    assert read.format == "hyperfine"
    assert [(a.arm, a.n, a.failed) for a in read.arms] == [('sh -c "exit 0"', 3, 0)]
    assert read.arms[0].metadata["parameter.n"] == "0"
    assert read.skipped == ("result 2: every one of 3 runs failed",)


def test_a_run_that_a_signal_ended_has_failed_and_memory_is_kept() -> None:
    read = exchange.imported(golden("hyperfine-1.20.json"))
    assert read.arms[0].values == (0.002, 0.0015, 0.0025)
    assert (read.arms[0].n, read.arms[0].failed, read.arms[0].median) == (3, 1, 0.002)
    assert read.arms[0].metadata["memory"] == 1050624
    assert (read.arms[1].deviation, read.arms[1].metadata["parameter.delay"]) == (None, "0.1")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"times": [0.1, "x"]}, "no finite numbers"),
        ({"exit_codes": [0]}, "4 times and 1 exit codes"),
        ({"command": ""}, "no command"),
        ({"times": None, "median": None}, "neither times nor a median"),
    ],
)
def test_a_result_that_cannot_be_used_is_skipped_with_its_reason(change, reason) -> None:
    document = json.loads(golden("hyperfine-1.20.json"))
    document["results"][0] |= change
    read = hyperfine.read(json.dumps(document))
    assert len(read.arms) == 1
    assert len(read.skipped) == 1
    assert reason in read.skipped[0]


# --- truncated and foreign ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pytest-benchmark-5.3.1.json", "hyperfine-1.15.json"])
@given(st.data())
def test_a_file_cut_anywhere_is_called_truncated(name: str, data: st.DataObject) -> None:
    text = golden(name).rstrip()
    cut = data.draw(st.integers(1, len(text) - 1))
    with pytest.raises(RunFormatError, match="truncated"):
        exchange.imported(text[:cut])


@pytest.mark.parametrize(
    "text", ["", "hello", "[]", "{}", "null", '{"benchmarks": []}', '{"results": [1]}', "[" * 9**5]
)
def test_foreign_text_is_refused(text: str) -> None:
    with pytest.raises(RunFormatError):
        exchange.imported(text)


@given(st.lists(nested, max_size=3))
def test_no_json_makes_a_reader_stumble(entries) -> None:
    for document in (
        {"benchmarks": entries, "machine_info": entries, "commit_info": entries[:1]},
        {"results": [{"command": "x", **e} if isinstance(e, dict) else e for e in entries]},
    ):
        try:
            read = exchange.imported(json.dumps(document))
        except RunFormatError:
            continue
        assert len(read.arms) + len(read.skipped) == len(entries)
        for arm in read.arms:
            assert all(_text.finite(v) is not None for v in arm.values)
            assert arm.median is not None


def test_files_are_collected_and_the_others_counted_with_their_reasons(tmp_path: Path) -> None:
    contents = {
        "a.json": golden("hyperfine-1.15.json").encode(),
        "b.json": pytest_benchmark.write(*example()).encode(),
        "bom.json": b"\xef\xbb\xbf" + golden("hyperfine-1.20.json").encode(),
        "cut.json": golden("hyperfine-1.15.json")[:100].encode(),
        "foreign.json": b'{"something": "else"}',
        "image.png": b"\x89PNG\r\n\xff\xfe",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = exchange.collect([*(tmp_path / name for name in contents), tmp_path / "absent.json", tmp_path])
    assert [Path(p).name for p in found.taken] == ["a.json", "b.json", "bom.json"]
    reasons = {Path(p).name: reason for p, reason in found.skipped.items()}
    assert "truncated" in reasons["cut.json"]
    assert "not a hyperfine file" in reasons["foreign.json"]
    assert reasons["image.png"] == "not UTF-8 text"
    assert reasons["absent.json"] == "No such file or directory"
    assert len(reasons) == 5


def test_a_file_that_is_too_large_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MOST_BYTES", 2**20)
    (tmp_path / "large.json").write_bytes(b" " * (2**20 + 1))
    assert list(exchange.collect([tmp_path / "large.json"]).skipped.values()) == ["larger than 1 MiB"]
