from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bench
from bench import plan as planning
from bench import store, suite
from bench.errors import BenchError, RunFormatError
from bench.model import Exit, HostFacts, Observation, Reading, Sample, TenantRecord, TrialRecord

HOST = HostFacts({"cpu.count": 2}, {"load.1min": 0.1}, {"hostname": "secret"})


def a_plan():
    return planning.make(
        suite.load("cgroups"), ("process",), seed=1, baseline=lambda r: True, lacking=lambda r, c: None
    )


def a_trial(index: int = 0, value: float | None = 1.5) -> TrialRecord:
    tenant = TenantRecord(
        name="a",
        effective={"cpu": Reading(0.5, "cpu.max"), "cpuset": Reading("0-1", "cpuset.cpus")},
        exit=Exit("exited", 0),
        started=0.1,
        ended=2.0,
        observations=(Observation(1.0, "x", value, "1", {"cpu": "0"}),),
    )
    return TrialRecord(
        index,
        0,
        "c",
        "cpu-ceiling",
        "process",
        "ok",
        "",
        "sha256:0",
        "2026-01-01T00:00:00+0000",
        2.1,
        1.9,
        (tenant,),
    )


@pytest.fixture
def run(tmp_path):
    return store.create(tmp_path / "runs", a_plan(), HOST)


def test_a_run_reads_back_as_it_was_written(run):
    samples = [Sample(0.5, "a", "cgroup", "cpu.usage", 0.25), Sample(0.6, "", "psi", "psi.cpu.some", None)]
    run.write_trial(a_trial(), samples)
    again = store.open_run(run.path)
    assert again.info == run.info
    assert again.trials() == [a_trial()]
    assert again.finished() == {0}
    frames = bench.load(run.path)
    assert frames.samples["value"].tolist()[0] == 0.25
    assert frames.samples["value"].isna().tolist() == [False, True]
    assert frames.trials.loc[0, "experiment"] == "cpu-ceiling"
    assert frames.effective.loc[0, "value"] == 0.5
    assert frames.observations.attrs["units"]["time"] == "s"


def test_a_daemon_with_another_working_directory_finds_where_raw_output_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = store.create(Path("runs"), a_plan(), HOST)
    monkeypatch.chdir("/")
    assert store.open_run(tmp_path / run.path).logs == tmp_path / run.path / "output"
    monkeypatch.chdir(tmp_path)
    assert run.logs.is_absolute() and run.logs.is_dir()


@given(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_missing_number_stays_missing_and_is_never_zero(tmp_path_factory, value):
    run = store.create(tmp_path_factory.mktemp("r"), a_plan(), HOST)
    run.write_trial(a_trial(value=value), [])
    assert run.trials()[0].tenants[0].observations[0].value == value


def test_a_trial_without_its_record_counts_as_unfinished(run):
    run.write_trial(a_trial(0), [])
    (run.path / "trials" / ".00001.json.tmp").write_text('{"half')
    assert store.open_run(run.path).finished() == {0}


def test_a_damaged_record_is_named(run):
    run.write_trial(a_trial(0), [])
    (run.path / "trials" / "00000.json").write_text('{"index": 0')
    with pytest.raises(RunFormatError, match=r"00000\.json is damaged"):
        run.trials()


def test_a_foreign_directory_is_refused(tmp_path):
    with pytest.raises(RunFormatError, match="is not a run directory"):
        store.open_run(tmp_path)


def test_a_newer_format_is_refused_with_the_version_that_wrote_it(run):
    file = run.path / "run.json"
    document = json.loads(file.read_text()) | {"format": 99, "version": "7.0"}
    file.write_text(json.dumps(document))
    with pytest.raises(RunFormatError, match=r"(?s)format 99.*7\.0"):
        store.open_run(run.path)


@pytest.mark.parametrize("version", range(1, store.FORMAT + 1))
def test_every_past_format_still_loads(version):
    fixture = Path(__file__).parents[1] / "golden" / f"run-format-{version}"
    loaded = bench.load(fixture)
    assert len(loaded.trials) >= 2
    assert len(loaded.samples) > 0
    assert len(loaded.observations) > 0
    assert loaded.finding_list


def test_a_full_disk_is_said_as_such_and_what_is_finished_stays(run, monkeypatch):
    run.write_trial(a_trial(0), [])
    real = os.write

    def full(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(BenchError, match="is full; finished trials are safe"):
        run.write_trial(a_trial(1), [])
    monkeypatch.setattr(os, "write", real)
    assert run.finished() == {0}
    assert [f.name for f in (run.path / "trials").iterdir()] == ["00000.json"]


def test_the_newest_run_is_found(tmp_path, run):
    assert store.latest(run.path.parent) == run.path
    assert store.latest(tmp_path / "none") is None
