"""Parquet files are read whole, in one thread, whatever pyarrow's pool of threads is doing."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench import parquetfile

TABLE = pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]}).replace_schema_metadata({"key": "value"})
COUNT = """
import os, sys
from pathlib import Path
import pyarrow.parquet
from bench import parquetfile
before = len(os.listdir("/proc/self/task"))
parquetfile.read(Path(sys.argv[1]).read_bytes()).to_pandas(use_threads=False)
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_a_file_comes_back_as_it_was_written_with_its_metadata(tmp_path):
    pq.write_table(TABLE, tmp_path / "t.parquet", compression="zstd")
    found = parquetfile.read((tmp_path / "t.parquet").read_bytes())
    assert found.equals(TABLE) and found.schema.metadata[b"key"] == b"value"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table at all" * 10])
def test_a_foreign_or_truncated_file_is_an_error_of_arrow(content):
    with pytest.raises((pa.ArrowException, OSError)):
        parquetfile.read(content)


def test_no_thread_is_started(tmp_path):
    pq.write_table(TABLE, tmp_path / "t.parquet")
    said = subprocess.run([sys.executable, "-c", COUNT, str(tmp_path / "t.parquet")],
                          capture_output=True, text=True, timeout=60, check=True)  # fmt: skip
    assert int(said.stdout) == 0
