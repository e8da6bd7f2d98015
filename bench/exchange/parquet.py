"""Parquet: every single start as a row, and the whole comparison as JSON in the file's metadata.

Columns: comparison, time, commit, branch, fingerprint, arm, role, runtime, metric, unit, position (the
place in the series, from 0) and value, which is null where that start failed. Keys of the metadata:
`isobench.comparison`, and `isobench.summary` (the table that the CSV format writes, as JSON rows).
"""

from __future__ import annotations

import io
from typing import Any

import msgspec

from bench.exchange import Starts
from bench.exchange._reading import summaries
from bench.exchange._rows import rows, shared
from bench.exchange._text import clean, dumps, finite
from bench.model import Comparison

TITLE = "Parquet, one row a start"
SUFFIX = ".parquet"

_TEXT = ("comparison", "time", "commit", "branch", "fingerprint", "arm", "role", "runtime", "metric", "unit")


def write_bytes(comparison: Comparison, starts: Starts) -> bytes:
    """The file's content."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = dict.fromkeys(_TEXT, pa.string()) | {"position": pa.int32(), "value": pa.float64()}
    columns: dict[str, list[Any]] = {name: [] for name in types}
    same = shared(comparison)
    for one in summaries(comparison).values():
        series = starts.of(one.arm, one.metric)
        own = {
            "arm": one.arm,
            "role": one.role,
            "runtime": one.runtime,
            "metric": one.metric,
            "unit": one.unit,
        }
        text = same | {name: clean(value) for name, value in own.items()}
        for name in _TEXT:
            columns[name] += [text[name]] * len(series)
        columns["position"] += range(len(series))
        columns["value"] += [finite(value) for value in series]
    metadata = {
        "isobench.comparison": dumps(_builtins(msgspec.to_builtins(comparison))),
        "isobench.summary": dumps(list(rows(comparison))),
    }
    table = pa.table(columns, schema=pa.schema(types)).replace_schema_metadata(metadata)
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _builtins(found: Any) -> Any:
    """The same with clean text, and null for numbers that are not finite."""
    if isinstance(found, dict):
        return {clean(str(key)): _builtins(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_builtins(value) for value in found]
    if isinstance(found, str):
        return clean(found)
    return finite(found) if isinstance(found, float) else found
