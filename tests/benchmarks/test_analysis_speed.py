"""A large run must be analysed in seconds: 5,000 trials, 1,000,000 samples, 100,000 observations."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.analysis.findings import analyse
from bench.analysis.quality import quality
from bench.frames import Run
from bench.model import TrialRecord
from tests.builders import HOST, believable, make_plan

TRIALS = 5_000
SAMPLES = 1_000_000
OBSERVATIONS = 100_000


@pytest.fixture(scope="module")
def large() -> Run:
    """A run in memory: believable trials of the whole suite, filled up to the sizes above."""
    plan = make_plan(blocks=1)
    plan = make_plan(blocks=-(-TRIALS // len(plan.cases)))
    cases, rng = {c.id: c for c in plan.cases}, random.Random(1)
    records: list[TrialRecord] = []
    columns: dict[str, list[Any]] = {
        c: [] for c in ("trial", "tenant", "collector", "metric", "time", "value")
    }
    for planned in plan.trials[:TRIALS]:
        record, samples = believable(cases[planned.case], planned, rng)
        records.append(_with_observations(record, OBSERVATIONS // TRIALS))
        for s in samples:
            for name, value in zip(
                columns, (record.index, s.tenant, s.collector, s.metric, s.time, s.value), strict=True
            ):
                columns[name].append(value)
    run = Run(Path("/nowhere"), plan, HOST, "", "", (), tuple(records), (), "")
    run.__dict__["samples"] = _filled(pd.DataFrame(columns))
    return run


def _with_observations(record: TrialRecord, wanted: int) -> TrialRecord:
    first = record.tenants[0]
    filler = replace(first.observations[0], metric="filler")
    more = (filler,) * max(0, wanted - len(first.observations))
    return replace(
        record, tenants=(replace(first, observations=more + first.observations), *record.tenants[1:])
    )


def _filled(frame: pd.DataFrame) -> pd.DataFrame:
    missing = SAMPLES - len(frame)
    if missing > 0:
        rng = np.random.default_rng(1)
        filler = frame.sample(missing, replace=True, random_state=1).assign(
            metric=rng.choice([f"filler.{i}" for i in range(20)], missing)
        )
        frame = pd.concat([frame, filler], ignore_index=True)
    names = ["tenant", "collector", "metric"]
    return frame.astype(dict.fromkeys(names, "category"))


def test_analysing_a_large_run(benchmark: Any, large: Run) -> None:
    assert len(large.records) == TRIALS
    assert len(large.samples) >= SAMPLES
    assert sum(len(t.observations) for r in large.records for t in r.tenants) >= OBSERVATIONS

    def work() -> int:
        found = analyse(large)
        quality(large)
        return len(found)

    assert benchmark.pedantic(work, rounds=3, iterations=1, warmup_rounds=1) > 100
    benchmark.extra_info["trials"] = TRIALS
    benchmark.extra_info["samples"] = len(large.samples)
    benchmark.extra_info["target_seconds"] = 6
