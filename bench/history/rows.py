"""A comparison as rows of the history: one an arm and metric. The schema, its versions, and the Parquet.

Ratios are natural logarithms, times are seconds since 1970, values are in the metric's own unit.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from bench import parquetfile
from bench.history.intake import seconds
from bench.model import Comparison, Interval

# Format history of the files of a history. Every version must stay readable.
#   1  first format
FORMAT = 1

_TEXT = (
    "content", "comparison", "version", "suite", "commit", "branch", "fingerprint", "image", "reference",
    "identity", "state", "stopped", "arm", "role", "runtime", "metric", "unit", "outcome", "reason",
)  # fmt: skip
_REAL = (
    "created", "commit_time", "duration", "median", "low", "high", "p10", "p95", "p99",
    "code", "code_low", "code_high", "raw", "raw_low", "raw_high", "same", "same_low", "same_high",
    "detectable",
)  # fmt: skip
_WHOLE = ("blocks", "n", "failed")
COLUMNS = (*_TEXT, *_REAL, *_WHOLE, "dirty")
"""`code` is the log ratio to the reference arm, `raw` that to the raw process, `same` that of A/A."""
LOADED = tuple(name for name in COLUMNS if name not in ("identity", "state"))
"""What every answer reads; the facts of the machines are long, and read where they are shown."""


def content_hash(comparison: Comparison) -> str:
    """32 hexadecimal digits that are the same for equal comparisons, wherever they were read."""
    return hashlib.sha256(msgspec.json.encode(comparison, order="deterministic")).hexdigest()[:32]


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row an arm and metric, in the comparison's order; the first where one comes twice."""
    shared = _shared(comparison)
    roles = {arm.role: arm.arm for arm in reversed(comparison.arms)}
    judged = {(j.arm, j.metric): j for j in reversed(comparison.judged)}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in comparison.arms:
        verdict = judged.get((one.arm, one.metric))
        own = {
            "arm": one.arm, "role": one.role, "runtime": one.runtime, "metric": one.metric, "unit": one.unit,
            "n": _whole(one.n), "failed": _whole(one.failed), "p10": finite(one.p10),
            "p95": finite(one.p95), "p99": finite(one.p99),
            "outcome": verdict.outcome if verdict else "", "reason": verdict.reason if verdict else "",
            "detectable": finite(verdict.detectable) if verdict else None,
            **_ends(one.median, ("median", "low", "high")),
            **_log(comparison, one.metric, one.arm, roles.get("reference"), "code"),
            **_log(comparison, one.metric, one.arm, roles.get("raw"), "raw"),
            **_log(comparison, one.metric, roles.get("repeat"), roles.get("reference"), "same"),
        }  # fmt: skip
        found.setdefault((one.arm, one.metric), shared | own)
    return list(found.values())


def parquet(found: list[dict[str, Any]]) -> bytes:
    """Rows as one Parquet file of the current format."""
    import pyarrow as pa

    schema = _schema()
    return written(pa.table({n: [row[n] for row in found] for n in schema.names}, schema=schema))


def written(table: Any) -> bytes:
    """An arrow table of the current format as one Parquet file."""
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"isobench.history": str(FORMAT)}), out, compression="zstd")
    return out.getvalue()


def read(content: bytes) -> Any:
    """The arrow table in a Parquet file of the current format; ValueError for foreign or truncated ones."""
    import pyarrow as pa

    try:
        return parquetfile.read(content).select(list(COLUMNS)).cast(_schema())
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise ValueError(f"truncated or foreign: {str(error).splitlines()[0][:120]}") from error


def empty(columns: Sequence[str]) -> Any:
    """An arrow table of those columns without a row."""
    return _schema().empty_table().select(list(columns))


def finite(number: float | None) -> float | None:
    """The number, or None where it is missing or not finite."""
    return float(number) if number is not None and math.isfinite(number) else None


def _schema() -> Any:
    import pyarrow as pa

    types = dict.fromkeys(_TEXT, pa.string()) | dict.fromkeys(_REAL, pa.float64())
    types |= dict.fromkeys(_WHOLE, pa.int64()) | {"dirty": pa.bool_()}
    return pa.schema([(name, types[name]) for name in COLUMNS])


def _shared(comparison: Comparison) -> dict[str, Any]:
    commit = comparison.commit
    return {
        "content": content_hash(comparison), "comparison": comparison.id, "version": comparison.version,
        "suite": comparison.suite, "created": seconds(comparison.created),
        "blocks": _whole(comparison.blocks),
        "commit": commit.id if commit else "", "branch": commit.branch if commit else "",
        "commit_time": seconds(commit.time) if commit else None, "dirty": commit.dirty if commit else False,
        "fingerprint": comparison.fingerprint, "image": comparison.image, "reference": comparison.reference,
        "identity": msgspec.json.encode(comparison.identity, order="sorted").decode(),
        "state": msgspec.json.encode(comparison.state, order="sorted").decode(),
        "stopped": comparison.stopped, "duration": finite(comparison.duration),
    }  # fmt: skip


def _whole(number: int) -> int:
    """The number where 64 bits hold it, else the nearest that they do."""
    return max(min(number, 2**63 - 1), -(2**63))


def _ends(interval: Interval | None, names: tuple[str, str, str]) -> dict[str, float | None]:
    values = (None,) * 3 if interval is None else (interval.estimate, interval.low, interval.high)
    return {name: finite(value) for name, value in zip(names, values, strict=True)}


def _log(
    comparison: Comparison, metric: str, arm: str | None, against: str | None, name: str
) -> dict[str, float | None]:
    """Log of the ratio with its ends; None where it was not measured or is not positive."""
    names = (name, f"{name}_low", f"{name}_high")
    for one in comparison.ratios:
        if arm is not None and (one.metric, one.arm, one.against) == (metric, arm, against):
            ends = _ends(one.ratio, names)
            return {n: math.log(v) if v is not None and v > 0 else None for n, v in ends.items()}
    return dict.fromkeys(names)
