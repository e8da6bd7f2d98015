"""The run directory: JSON and Parquet, crash-safe, versioned. This module writes and reads records.

    runs/ID/
      run.json            format, program version, plan (suite, seed, cases, trials)
      host.json           facts: identity, state, private
      trials/00012.json   one record a finished trial, fsynced and renamed before the next begins
      samples/00012.parquet
      output/00012.TENANT.stdout|stderr   raw output, capped
      findings.json       what `bench analyse` found
      comparison.json     what `bench compare` found
      report.html report.pdf

A trial counts as finished when its JSON exists; samples are written first. DataFrames are made by
`bench.frames`.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bench import __version__
from bench.errors import BenchError, RunFormatError
from bench.model import Comparison, Finding, HostFacts, Plan, Sample, TrialRecord

# Format history. A fixture of every version lies in tests/golden and must still load.
#   1  first format
FORMAT = 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The content of run.json."""

    format: int
    id: str
    version: str
    created: str
    plan: Plan
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """The content of findings.json."""

    format: int
    findings: tuple[Finding, ...]
    conclusion: str = ""


class RunDirectory:
    """One run on disk. Create with `create`, reopen with `open_run`."""

    def __init__(self, path: Path, info: RunInfo) -> None:
        self.path = path
        self.info = info

    @property
    def logs(self) -> Path:
        """Directory of raw output; absolute, because daemons with another working directory write there."""
        return self.path.absolute() / "output"

    @property
    def trial_files(self) -> list[Path]:
        return sorted((self.path / "trials").glob("*.json"))

    def finished(self) -> set[int]:
        """Indices of the trials that are on disk."""
        return {int(f.stem) for f in self.trial_files}

    def trials(self) -> list[TrialRecord]:
        """All finished trials, by index. Raises RunFormatError on a damaged record."""
        return [_decode(f, TrialRecord) for f in self.trial_files]

    def write_trial(self, record: TrialRecord, samples: Sequence[Sample]) -> None:
        """Put one finished trial on disk; on return it survives a crash of the machine."""
        stem = f"{record.index:05d}"
        if samples:
            _write_samples(self.path / "samples" / f"{stem}.parquet", samples)
        _write(self.path / "trials" / f"{stem}.json", msgspec.json.encode(record))

    def output(self, trial: int, tenant: str, stream: str) -> Path:
        """Where raw output of one tenant goes."""
        return self.logs / f"{trial:05d}.{tenant}.{stream}"

    def update_plan(self, plan: Plan, notes: Iterable[str] = ()) -> None:
        """Replace the plan (more blocks were added) and append notes."""
        info = RunInfo(
            FORMAT, self.info.id, self.info.version, self.info.created, plan, (*self.info.notes, *notes)
        )
        _write(self.path / "run.json", msgspec.json.format(msgspec.json.encode(info)))
        self.info = info

    def host(self) -> HostFacts:
        return _decode(self.path / "host.json", HostFacts)

    def write_findings(self, findings: Iterable[Finding], conclusion: str) -> None:
        document = Findings(FORMAT, tuple(findings), conclusion)
        _write(self.path / "findings.json", msgspec.json.format(msgspec.json.encode(document)))

    def write_comparison(self, comparison: Comparison) -> None:
        """Keep what a comparison found."""
        _write(self.path / "comparison.json", msgspec.json.format(msgspec.json.encode(comparison)))

    def comparison(self) -> Comparison | None:
        """What `bench compare` found, or None where this is no comparison."""
        file = self.path / "comparison.json"
        return _decode(file, Comparison) if file.exists() else None

    def findings(self) -> Findings | None:
        """What `bench analyse` wrote, or None before it ran."""
        file = self.path / "findings.json"
        return _decode(file, Findings) if file.exists() else None


def new_id() -> str:
    """A name for a run that begins now."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def create(base: Path, plan: Plan, host: HostFacts, *, run_id: str | None = None) -> RunDirectory:
    """A new run directory below `base`; BenchError where it cannot be written."""
    run_id = run_id or new_id()
    path = base / run_id
    info = RunInfo(FORMAT, run_id, __version__, time.strftime("%Y-%m-%dT%H:%M:%S%z"), plan)
    make_directories(path)
    _write(path / "host.json", msgspec.json.format(msgspec.json.encode(host)))
    _write(path / "run.json", msgspec.json.format(msgspec.json.encode(info)))
    return RunDirectory(path, info)


def make_directories(path: Path) -> None:
    """The empty directories of a run; BenchError where they cannot be made or are there already."""
    try:
        for name in ("trials", "samples", "output"):
            (path / name).mkdir(parents=True)
    except OSError as error:
        raise _storage_error(path, error) from error


def put(run: Path, path: str, content: bytes) -> None:
    """Put a file that another machine made at `path` below `run`; on return it survives a crash."""
    _write(run / path, content)


def open_run(path: str | Path) -> RunDirectory:
    """An existing run directory; RunFormatError where it is none or of a foreign format."""
    path = Path(path)
    file = path / "run.json"
    if not file.exists():
        raise RunFormatError(f"{path} is not a run directory: it has no run.json", fix="ls runs/")
    head = _decode(file, dict[str, Any])
    version = head.get("format")
    if version != FORMAT:
        raise RunFormatError(
            f"{file} has format {version!r}; this program reads format {FORMAT}",
            fix=f"read it with the version that wrote it: {head.get('version', 'unknown')}",
        )
    return RunDirectory(path, _decode(file, RunInfo))


def latest(base: Path) -> Path | None:
    """The newest run directory below `base`."""
    found = sorted(base.glob("*/run.json"), key=lambda f: f.stat().st_mtime)
    return found[-1].parent if found else None


def _decode(file: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except OSError as error:
        raise RunFormatError(f"cannot read {file}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise RunFormatError(
            f"{file} is damaged: {error}", fix="remove that file and use --resume"
        ) from error


def _write(file: Path, content: bytes) -> None:
    """Write, fsync, rename, fsync the directory: the file is whole or absent."""
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.rename(file)
        _sync_directory(file.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _storage_error(file, error) from error


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_samples(file: Path, samples: Sequence[Sample]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "time": pa.array([s.time for s in samples], pa.float64()),
            "tenant": pa.array([s.tenant for s in samples], pa.string()).dictionary_encode(),
            "collector": pa.array([s.collector for s in samples], pa.string()).dictionary_encode(),
            "metric": pa.array([s.metric for s in samples], pa.string()).dictionary_encode(),
            "value": pa.array([s.value for s in samples], pa.float64()),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    _write(file, sink.getvalue().to_pybytes())


def _storage_error(path: Path, error: OSError) -> BenchError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BenchError(
            f"the disk below {path} is full; finished trials are safe",
            fix="free space, then: bench run --resume RUN",
        )
    return BenchError(f"cannot write {path}: {error.strerror}", fix="choose another place with --runs DIR")
