"""Recordings and the figures from them: what goes into a file comes out, and what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from test_judging import a_run

from bench import cli, recording
from bench.commands import comparing, figures
from bench.comparison import replay
from bench.comparison.blocks import Table
from bench.errors import RunFormatError, UsageError
from bench.model import Policy
from bench.recording import About, Recording
from bench.suite import load

ARMS = {"a": "namespace", "b": "namespace", "c": "namespace", "raw": "process", "raw-2": "process", "d": "x"}


def a_recording(blocks=300, spread=0.02, seed=1):
    rng = np.random.default_rng(seed)
    values = 0.003 * rng.lognormal(0, spread, (blocks, len(ARMS)))
    values[3, 1] = np.nan
    excluded = tuple("CPU pressure above 0.3" if i % 10 == 7 else "" for i in range(blocks))
    about = About(1, "quiet", "start.ready", ARMS, "r", "2026-11-24T12:00:00+00:00", "0", 1, {"cpu": 2}, {})
    return Recording(about, Table(tuple(ARMS), {"start.ready": values}, excluded))


def test_a_recording_comes_back_as_it_was_written_to_a_few_parts_in_ten_million(tmp_path):
    one = a_recording()
    recording.write(one, tmp_path / "a.parquet")
    back = recording.read(tmp_path / "a.parquet")
    assert back.about == one.about and back.table.excluded == one.table.excluded
    np.testing.assert_allclose(
        back.table.metrics["start.ready"], one.table.metrics["start.ready"], rtol=1e-7, equal_nan=True
    )


def test_thousands_of_blocks_are_a_small_file(tmp_path):
    recording.write(a_recording(3000), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 200_000


def test_only_undisturbed_blocks_of_copies_become_a_series():
    found = a_recording().series()
    assert {name: starts.shape for name, starts in found.items()} == {
        "namespace": (269, 3), "process": (270, 2)
    }  # fmt: skip


def test_a_foreign_or_cut_file_is_refused_by_name(tmp_path):
    file = tmp_path / "a.parquet"
    recording.write(a_recording(), file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(RunFormatError, match=r"a\.parquet is not a recording"):
        recording.read(file)
    with pytest.raises(UsageError, match="no recording"):
        recording.folder(tmp_path / "empty")


def test_a_run_of_arms_is_kept_and_replayed_by_two_commands(tmp_path):
    run = a_run(tmp_path, 60)
    folder, document = tmp_path / "starts", tmp_path / "method.md"
    folder.mkdir()
    done = CliRunner().invoke(
        cli.main, ["recording", str(run.path), str(folder / "q.parquet"), "--label", "quiet"]
    )
    assert "60 blocks, 60 undisturbed" in done.output
    assert set(recording.read(folder / "q.parquet").series()) == {"docker", "process"}
    document.write_text(f"before\n{figures.BEGIN}\nold\n{figures.END}\nafter\n")
    words = ["figures", str(folder), "--windows", "20", "--write", str(document)]
    done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 0, done.output
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    for part in (
        "| q | quiet |",
        "| q, docker | 1.5 % |",
        "| q, process | 1.0 % |",
        "this gate",
        "benchstat",
    ):
        assert part in text
    CliRunner().invoke(cli.main, words)
    assert document.read_text() == text


def test_a_document_without_markers_is_left_alone(tmp_path):
    with pytest.raises(UsageError, match="no markers"):
        figures.between("text", "figures", tmp_path)


def test_what_measurements_end_with_covers_nothing_but_chance():
    starts = a_recording(600, 0.05).series()["namespace"]
    found = replay.ended(starts, Policy(), 200, 4)
    assert (found.half_width <= 0.015).all() and found.blocks.max() < 300
    assert abs(found.estimate.mean()) < 0.002
    assert 0.003 < found.estimate.std() < 0.0075


def test_a_number_of_blocks_is_measured_whatever_the_width():
    wanted = comparing._with_policy(load("startup"), 0.03, 500.0, 2000)
    for policy in wanted.gate.values():
        assert (policy.half_width, policy.minimum, policy.batch) == (0.0, 250, 250)
        assert (policy.maximum, policy.seconds) == (2000, 500.0)
    few = comparing._with_policy(load("startup"), None, None, 40)
    assert {(p.minimum, p.maximum) for p in few.gate.values()} == {(40, 40)}
