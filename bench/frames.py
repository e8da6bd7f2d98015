"""A run directory as DataFrames, with units: what analysis, reports and researchers read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from bench import parquetfile
from bench.model import Finding, HostFacts, Plan, TrialRecord
from bench.store import Findings, RunDirectory, open_run


@dataclass(frozen=True)
class Run:
    """One run. Frames carry the units of their columns in `attrs["units"]`.

    `trials`       index block case experiment runtime status reason image wall_time duration
                   workload_seconds control
    `tenants`      trial tenant started ended exit_reason exit_code exit_signal user system maxrss cgroup
                   accelerator (of its machine: "kvm", "tcg"; None where it ran in none)
    `effective`    trial tenant limit value source reason  (value: float, str or None)
    `observations` trial tenant time metric value unit labels (a JSON object as text)
    `samples`      trial tenant collector metric time value; what was read inside a machine has collectors
                   that begin with "guest." and times of arrival at the host
    `findings`     one row a finding
    """

    path: Path
    plan: Plan
    host: HostFacts
    created: str
    version: str
    notes: tuple[str, ...]
    records: tuple[TrialRecord, ...]
    finding_list: tuple[Finding, ...]
    conclusion: str

    @property
    def id(self) -> str:
        return self.path.name

    @cached_property
    def trials(self) -> pd.DataFrame:
        controls = {c.id for c in self.plan.cases if not any(t.limits for t in c.tenants)}
        rows = [
            {
                "index": r.index, "block": r.block, "case": r.case, "experiment": r.experiment,
                "runtime": r.runtime, "status": r.status, "reason": r.reason, "image": r.image,
                "wall_time": r.wall_time, "duration": r.duration,
                "workload_seconds": r.workload_seconds, "control": r.case in controls,
            }
            for r in self.records
        ]  # fmt: skip
        columns = [
            "index", "block", "case", "experiment", "runtime", "status", "reason", "image", "wall_time",
            "duration", "workload_seconds", "control",
        ]  # fmt: skip
        return _frame(rows, columns, {"duration": "s", "workload_seconds": "s"})

    @cached_property
    def tenants(self) -> pd.DataFrame:
        rows = [
            {
                "trial": r.index, "tenant": t.name, "started": t.started, "ended": t.ended,
                "exit_reason": t.exit.reason, "exit_code": t.exit.code, "exit_signal": t.exit.signal,
                "user": t.rusage.user if t.rusage else None,
                "system": t.rusage.system if t.rusage else None,
                "maxrss": t.rusage.maxrss if t.rusage else None, "cgroup": t.cgroup,
                "accelerator": t.facts.get("machine.accelerator"),
            }
            for r in self.records
            for t in r.tenants
        ]  # fmt: skip
        columns = [
            "trial", "tenant", "started", "ended", "exit_reason", "exit_code", "exit_signal", "user",
            "system", "maxrss", "cgroup", "accelerator",
        ]  # fmt: skip
        units = {"started": "s", "ended": "s", "user": "s", "system": "s", "maxrss": "bytes"}
        return _frame(rows, columns, units)

    @cached_property
    def effective(self) -> pd.DataFrame:
        rows = [
            (r.index, t.name, limit, reading.value, reading.source, reading.reason)
            for r in self.records
            for t in r.tenants
            for limit, reading in t.effective.items()
        ]
        return pd.DataFrame(
            rows, columns=["trial", "tenant", "limit", "value", "source", "reason"], dtype=object
        )

    @cached_property
    def observations(self) -> pd.DataFrame:
        rows = [
            (
                r.index,
                t.name,
                o.time,
                o.metric,
                o.value,
                o.unit,
                json.dumps(dict(o.labels)) if o.labels else "",
            )
            for r in self.records
            for t in r.tenants
            for o in t.observations
        ]
        frame = pd.DataFrame(rows, columns=["trial", "tenant", "time", "metric", "value", "unit", "labels"])
        frame["value"] = pd.to_numeric(frame["value"])
        frame.attrs["units"] = {"time": "s", "value": "see column unit"}
        return frame

    @cached_property
    def samples(self) -> pd.DataFrame:
        """Read with one pass over the Parquet files; missing values are NaN."""
        import pyarrow as pa

        tables = []
        for file in sorted((self.path / "samples").glob("*.parquet")):
            table = parquetfile.read(file.read_bytes())
            index = pa.array([int(file.stem)] * len(table), pa.int32())
            tables.append(table.append_column("trial", index).unify_dictionaries())
        columns = ["trial", "tenant", "collector", "metric", "time", "value"]
        if not tables:
            return pd.DataFrame({c: [] for c in columns})
        frame: pd.DataFrame = (
            pa.concat_tables(tables).unify_dictionaries().to_pandas(use_threads=False)[columns]
        )
        frame.attrs["units"] = {"time": "s", "value": "by metric: see attrs['metric_units']"}
        frame.attrs["metric_units"] = self.metric_units
        return frame

    @cached_property
    def metric_units(self) -> Mapping[str, str]:
        from bench.collectors import metric_units

        return metric_units()

    @cached_property
    def findings(self) -> pd.DataFrame:
        rows = [msgspec.to_builtins(f) for f in self.finding_list]
        frame = pd.json_normalize(rows, max_level=1) if rows else pd.DataFrame()
        frame.attrs["units"] = {"measured.estimate": "see column unit", "unlimited": "see column unit"}
        return frame


def load(path: str | Path) -> Run:
    """The run at `path`; RunFormatError where it is damaged or foreign."""
    directory: RunDirectory = open_run(path)
    found: Findings | None = directory.findings()
    return Run(
        path=Path(path).resolve(),
        plan=directory.info.plan,
        host=directory.host(),
        created=directory.info.created,
        version=directory.info.version,
        notes=directory.info.notes,
        records=tuple(directory.trials()),
        finding_list=found.findings if found else (),
        conclusion=found.conclusion if found else "",
    )


def _frame(rows: list[dict[str, Any]], columns: list[str], units: dict[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=columns)
    frame.attrs["units"] = units
    return frame
