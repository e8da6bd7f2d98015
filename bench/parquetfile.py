"""Reading Parquet files, in one thread: pyarrow's scanner, which `read_table` uses, was seen to wait for
its own pool for ever, in a process that did nothing else, on a machine with two CPUs.
"""

from __future__ import annotations

from typing import Any


def read(content: bytes) -> Any:
    """The arrow table in a file's bytes. Cut off or foreign: OSError or pyarrow.ArrowException."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(pa.BufferReader(content)) as file:
        return file.read(use_threads=False)
