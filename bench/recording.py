"""A recording: the starts of arms that are copies of one thing, kept as one small Parquet file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench import parquetfile
from bench.analysis import paired
from bench.comparison import replay
from bench.comparison.blocks import Numbers, Table, kept
from bench.errors import RunFormatError, UsageError
from bench.frames import Run
from bench.model import Scalar

KEY = b"isobench.recording"
"""Of the file's metadata: `About` as JSON."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class About:
    """What was recorded, on what, and when."""

    format: int
    label: str
    """What the machine was like: "quiet", "noisy"."""
    metric: str
    runtimes: Mapping[str, str]
    """By arm. Arms of one runtime are copies of one thing."""
    run: str
    created: str
    """ISO 8601 with offset."""
    version: str
    """Of this package."""
    seed: int
    identity: Mapping[str, Scalar | None]
    state: Mapping[str, Scalar | None]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Every block in the order it was run; `table` has one metric, in seconds."""

    about: About
    table: Table

    @property
    def blocks(self) -> tuple[int, int]:
        """Blocks that the guards let stand, and all blocks."""
        return int(kept(self.table).sum()), len(self.table.excluded)

    def series(self) -> dict[str, Numbers]:
        """By runtime the starts of its copies, blocks × copies: kept blocks in which all of them started."""
        copies: dict[str, list[str]] = {}
        for arm, runtime in self.about.runtimes.items():
            copies.setdefault(runtime, []).append(arm)
        return {
            runtime: replay.series(self.table, self.about.metric, tuple(arms))
            for runtime, arms in copies.items()
            if len(arms) > 1
        }


def of(run: Run, label: str, metric: str = "start.ready") -> Recording:
    """The recording of a run of arms, e.g. of `bench compare namespace namespace`."""
    if not run.plan.arms:
        raise UsageError(f"{run.path} is no comparison", fix="bench compare namespace namespace")
    table, _ = paired.table(run)
    if metric not in table.metrics:
        raise UsageError(f"'{metric}' was not measured", fix=f"use one of {', '.join(table.metrics)}")
    about = About(
        FORMAT, label, metric, {a.name: a.runtime for a in run.plan.arms}, run.id, run.created, run.version,
        run.plan.seed, run.host.identity, run.host.state,
    )  # fmt: skip
    return Recording(about, Table(table.arms, {metric: table.metrics[metric]}, table.excluded))


def write(recording: Recording, file: Path) -> None:
    """One row a start: block, arm, seconds (float32; null where it failed), left_out (a reason, or "")."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = recording.table
    values = table.metrics[recording.about.metric]
    blocks, arms = values.shape
    seconds = values.astype(np.float32).ravel()
    columns: dict[str, Any] = {
        "block": pa.array(np.repeat(np.arange(blocks, dtype=np.int32), arms)),
        "arm": pa.array(list(table.arms) * blocks).dictionary_encode(),
        "seconds": pa.array(seconds, mask=~np.isfinite(seconds)),
        "left_out": pa.array([why for why in table.excluded for _ in range(arms)], pa.string()),
    }
    metadata = {KEY: msgspec.json.encode(recording.about)}
    # Times hardly ever repeat: a dictionary of them would be larger than they are.
    pq.write_table(
        pa.table(columns).replace_schema_metadata(metadata), file, compression="zstd",
        use_dictionary=["arm", "left_out"],
    )  # fmt: skip


def read(file: Path) -> Recording:
    """The recording in that file; RunFormatError where it is truncated or something else."""
    import pyarrow as pa

    try:
        found = parquetfile.read(file.read_bytes())
        about = msgspec.json.decode((found.schema.metadata or {})[KEY], type=About)
        block, arm, seconds, left_out = (
            found.column(name).to_pylist() for name in ("block", "arm", "seconds", "left_out")
        )
    except (OSError, KeyError, pa.ArrowException, msgspec.MsgspecError) as error:
        raise RunFormatError(f"{file} is not a recording: {error}") from error
    if about.format != FORMAT:
        raise RunFormatError(f"{file} has format {about.format}, this version reads {FORMAT}")
    arms = tuple(about.runtimes)
    if arm != list(arms) * (len(arm) // len(arms)) or block != [i // len(arms) for i in range(len(block))]:
        raise RunFormatError(f"{file} is damaged: its blocks are not whole")
    values = np.array([np.nan if one is None else one for one in seconds], dtype=np.float64)
    table = Table(arms, {about.metric: values.reshape(-1, len(arms))}, tuple(left_out[:: len(arms)]))
    return Recording(about, table)


def folder(path: Path) -> dict[str, Recording]:
    """Every recording of a folder by the name of its file without suffix, in order."""
    files = sorted(path.glob("*.parquet"))
    if not files:
        raise UsageError(f"there is no recording in {path}", fix="bench recording RUN FILE --label quiet")
    return {file.stem: read(file) for file in files}
