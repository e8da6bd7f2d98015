"""A run directory sent as a stream arrives whole, in order, and nothing else does."""

from __future__ import annotations

import io
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import RunFormatError
from bench.store import RunDirectory, RunInfo
from bench.transport import Receiver, Sender


def directory(tmp_path):
    for name in ("trials", "samples", "output"):
        (tmp_path / name).mkdir()
    return RunDirectory(tmp_path, RunInfo(1, "x", "0", "now", plan=None))  # type: ignore[arg-type]


def frame(path: str, content: bytes) -> bytes:
    return json.dumps({"path": path, "size": len(content)}).encode() + b"\n" + content


def received(data: bytes, *cuts: int) -> list[tuple[str, bytes]]:
    receiver = Receiver()
    bounds = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    return [file for a, b in itertools.pairwise(bounds) for file in receiver.feed(data[a:b])]


def test_a_trial_arrives_with_its_record_last(tmp_path):
    run = directory(tmp_path)
    (tmp_path / "output/00003.a.stdout").write_bytes(b"{}\n")
    (tmp_path / "output/00004.a.stdout").write_bytes(b"of another trial")
    (tmp_path / "samples/00003.parquet").write_bytes(bytes(range(256)))
    (tmp_path / "trials/00003.json").write_bytes(b"{}")
    stream = io.BytesIO()
    Sender(run, stream).trial(3)
    assert [path for path, _ in received(stream.getvalue())] == [
        "output/00003.a.stdout", "samples/00003.parquet", "trials/00003.json",
    ]  # fmt: skip
    assert dict(received(stream.getvalue()))["samples/00003.parquet"] == bytes(range(256))


def test_a_trial_without_output_or_samples_is_its_record_alone(tmp_path):
    run = directory(tmp_path)
    (tmp_path / "trials/00000.json").write_bytes(b"{}")
    stream = io.BytesIO()
    Sender(run, stream).trial(0)
    assert received(stream.getvalue()) == [("trials/00000.json", b"{}")]


@given(
    st.lists(
        st.tuples(st.sampled_from(["run.json", "host.json", "trials/00001.json"]), st.binary(max_size=300))
    ),
    st.lists(st.integers(0, 2000), max_size=8),
)
def test_files_arrive_unchanged_however_the_stream_is_cut(files, cuts):
    stream = b"".join(frame(path, content) for path, content in files)
    assert received(stream, *cuts) == files


@pytest.mark.parametrize(
    "path",
    [
        "../run.json", "/etc/passwd", "trials/../../x", "trials/.hidden", "trials/a/b", "findings.json",
        "output/", "trials", "", "trials/a\nb", "report.html", "output/a\0",
    ],
)  # fmt: skip
def test_a_name_that_no_run_directory_has_is_refused(path):
    with pytest.raises(RunFormatError, match="no file of a run directory"):
        received(frame(path, b"x"))


@pytest.mark.parametrize(
    "data",
    [b"hello\n", b"[]\n", b'{"path": "run.json"}\n', b'{"path": "run.json", "size": -1}\n',
     b'{"path": "run.json", "size": 1e999}\n', b'{"path": "run.json", "size": 99999999999}\n', b"x" * 5000],
)  # fmt: skip
def test_what_is_no_header_is_refused(data):
    with pytest.raises(RunFormatError):
        received(data)


@given(st.binary(max_size=400))
def test_garbage_is_refused_or_waited_on_and_never_crashes(data):
    try:
        for path, _ in received(data):
            assert path
    except RunFormatError:
        pass


def test_a_stream_that_broke_off_within_a_file_is_known_to_be_torn():
    receiver = Receiver()
    assert list(receiver.feed(frame("run.json", b"12345")[:-1])) == []
    assert receiver.torn
    assert list(receiver.feed(b"5")) == [("run.json", b"12345")]
    assert not receiver.torn
