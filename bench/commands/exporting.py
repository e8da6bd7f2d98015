"""A comparison in the format of another tool."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from bench import exchange, frames, store
from bench.analysis import paired
from bench.errors import UsageError
from bench.exchange import Starts


def export(run: Path, form: str, output: Path | None) -> None:
    """Write the comparison at `run` in that format, to `output` or to standard output."""
    comparison = store.open_run(run).comparison()
    if comparison is None:
        raise UsageError(f"{run} is no comparison", fix="bench compare REFERENCE CANDIDATE")
    data = exchange.exported(form, comparison, starts(run))
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        output.write_bytes(data)


def starts(run: Path) -> Starts:
    """Every valid start of a comparison: seconds, None where it failed; blocks left out are not there."""
    table, _ = paired.table(frames.load(run))
    kept = [not why for why in table.excluded]
    return Starts(
        {
            arm: {
                metric: [_known(v) for v, good in zip(values[:, i].tolist(), kept, strict=True) if good]
                for metric, values in table.metrics.items()
            }
            for i, arm in enumerate(table.arms)
        }
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
