"""The engine against the real `process` runtime, unprivileged parts only: no cgroup, no image."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import collectors, engine, workload
from bench.engine import Engine, Interrupted
from bench.ledger import Ledger
from bench.model import Case, PlannedTrial, Tenant
from bench.printed import parse_output
from bench.runtimes import Arena, load

HEADER = """#!/usr/bin/python3 -IS
# /// bench
# title = "{title}"
# area = "probe"
# [metrics."x"]
# unit = "1"
# ///
"""


@pytest.fixture
def run_workload(tmp_path, monkeypatch):
    """Runs a program text as a workload in the `process` runtime; returns (record, samples)."""

    def run(
        body: str, deadline: float = 20.0, interrupted=lambda: False, collectors=(), sparse: bool = False
    ):
        programs = tmp_path / "workloads"
        (programs / "probe").mkdir(parents=True, exist_ok=True)
        (programs / "probe" / "odd.py").write_text(HEADER.format(title="odd") + body)
        monkeypatch.setattr(workload, "root", lambda: programs)
        case = Case(
            "e/process/control", "e", "process", (Tenant("a", "probe/odd", {}, {}),), deadline=deadline
        )
        arena = Arena("t", 0, None, None, programs, tmp_path / "scratch", Ledger(tmp_path / "ledger"))
        (tmp_path / "scratch").mkdir(exist_ok=True)
        (tmp_path / "output").mkdir(exist_ok=True)
        runner = Engine({"process": load("process")}, collectors, interrupted, sparse=sparse)
        return runner.trial(
            PlannedTrial(0, 0, case.id), case, arena, lambda t, s: tmp_path / "output" / f"{t}.{s}"
        )

    return run


def test_observations_are_stamped_and_kept(run_workload):
    record, _ = run_workload('print(\'{"metric": "x", "value": 4.5, "unit": "1"}\')')
    tenant = record.tenants[0]
    assert record.status == "ok"
    assert (tenant.exit.reason, tenant.exit.code) == ("exited", 0)
    assert [(o.metric, o.value) for o in tenant.observations] == [("x", 4.5)]
    assert tenant.started <= tenant.observations[0].time <= tenant.ended


@pytest.mark.parametrize("sparse", [True, False])
def test_a_sparse_engine_reads_at_the_ends_of_a_trial_only(run_workload, sparse):
    class Often(collectors.load("process").__class__):
        interval = 0.1

    _, samples = run_workload("import time\ntime.sleep(1.5)", collectors=[Often()], sparse=sparse)
    times = sorted({s.time for s in samples if s.tenant == "a"})
    assert times[-1] - times[0] > 0.5
    # As it begins, at the end of its output, and once all are over.
    assert (len(times) <= 3) is sparse


def test_garbage_is_counted_and_kept_raw(run_workload, tmp_path):
    record, _ = run_workload('print("hello"); print("{broken"); print(\'{"metric": "x", "value": 1}\')')
    assert record.tenants[0].garbage == 2
    assert len(record.tenants[0].observations) == 1
    assert (tmp_path / "output" / "a.stdout").read_text().startswith("hello\n{broken\n")


def test_a_workload_that_hangs_meets_its_deadline(run_workload):
    record, _ = run_workload("import time\ntime.sleep(600)", deadline=0.5)
    assert record.status == "ok"
    assert record.tenants[0].exit.reason == "deadline"


def test_a_workload_that_dies_says_by_which_signal(run_workload):
    record, _ = run_workload("import os\nos.kill(os.getpid(), 11)")
    assert (record.tenants[0].exit.reason, record.tenants[0].exit.signal) == ("signalled", 11)


def test_a_workload_that_prints_without_end_is_stopped(run_workload, tmp_path):
    record, _ = run_workload("import sys\nwhile True: sys.stdout.write('x' * 65536)")
    assert record.tenants[0].exit.reason == "output-cap"
    assert (tmp_path / "output" / "a.stdout").stat().st_size <= engine.OUTPUT_CAP


def test_what_it_says_on_standard_error_is_kept(run_workload, tmp_path):
    record, _ = run_workload("import sys\nsys.stderr.write('why')\nsys.exit(3)")
    assert record.tenants[0].exit.code == 3
    assert (tmp_path / "output" / "a.stderr").read_text() == "why"


def test_an_interrupt_ends_the_workload_and_is_raised(run_workload):
    with pytest.raises(Interrupted):
        run_workload("import time\ntime.sleep(600)", interrupted=lambda: True)


def test_a_program_that_cannot_start_breaks_the_trial_with_its_name(run_workload, monkeypatch):
    monkeypatch.setattr(workload, "argv", lambda *_: ["/no/such/program"])
    record, _ = run_workload("")
    assert record.status == "broken"
    assert "/no/such/program" in record.reason


def test_an_error_without_a_word_breaks_the_trial_by_its_name(run_workload, monkeypatch):
    def refuses(self, tenant, arena):
        raise TimeoutError

    monkeypatch.setattr(type(load("process")), "open", refuses)
    record, _ = run_workload("")
    assert (record.status, record.reason) == ("broken", "TimeoutError")


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_output_is_parsed_without_an_error(pieces):
    observations, garbage = parse_output([(float(i), p) for i, p in enumerate(pieces)], 0.0)
    lines = [x for x in b"".join(pieces).split(b"\n") if x.strip()]
    assert len(observations) + garbage == len(lines)


@given(st.integers(1, 30))
def test_how_output_is_cut_into_chunks_does_not_matter(size: int):
    text = b'{"metric": "x", "value": 1}\n{"metric": "y", "value": 2, "unit": "s"}\n'
    chunks = [(0.0, text[i : i + size]) for i in range(0, len(text), size)]
    observations, garbage = parse_output(chunks, 0.0)
    assert [(o.metric, o.value) for o in observations] == [("x", 1), ("y", 2)]
    assert garbage == 0


def test_a_line_belongs_to_the_moment_it_was_complete():
    observations, _ = parse_output([(1.0, b'{"metric": "x", '), (2.0, b'"value": 1}\n')], 0.5)
    assert observations[0].time == 1.5


def test_paths_of_the_suite_programs_exist():
    assert all(Path(workload.path(n)).exists() for n in workload.names())
