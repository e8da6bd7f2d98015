"""The contract of an exchange format, and the registry: a module `NAME.py` here is the format `NAME`.

A module has `TITLE`, `SUFFIX` (of its files, with the dot) and one or more of

    write(comparison, starts) -> str
    write_bytes(comparison, starts) -> bytes    where the format is no text
    read(text) -> Imported                      RunFormatError where the text is truncated or foreign

All are pure. Whatever comes from outside is escaped, a number that is not finite never leaves, and a
number that is missing stays missing. Modules that begin with "_" are shared and no formats.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from bench.errors import RunFormatError, UsageError
from bench.limits import nearest
from bench.model import Commit, Comparison, Scalar

MOST_BYTES = 256 * 2**20
"""Size of the largest file that is read as history."""


@dataclass(frozen=True, slots=True)
class Starts:
    """The raw series of a comparison: every valid block's number, by arm and metric, in block order.

    Numbers are in the unit of the metric, seconds for start-up times; None where that start failed.
    """

    values: Mapping[str, Mapping[str, Sequence[float | None]]] = field(default_factory=dict)

    def of(self, arm: str, metric: str) -> Sequence[float | None]:
        """The series of one arm and metric; empty where there is none."""
        return self.values.get(arm, {}).get(metric, ())


@dataclass(frozen=True, slots=True)
class ImportedArm:
    """One benchmark of a file that was read, with its raw values where the file has them."""

    arm: str
    metric: str
    unit: str
    values: tuple[float, ...]
    """Successful starts in the order of the file; empty where only statistics were kept."""
    n: int
    failed: int
    median: float | None
    mean: float | None
    deviation: float | None
    """Sample standard deviation."""
    metadata: Mapping[str, Scalar | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Imported:
    """One file of another tool, read. `skipped` says of each entry that could not be used why not."""

    format: str
    created: str
    """ISO 8601 as the file has it; "" where it does not say."""
    version: str
    commit: Commit | None
    machine: Mapping[str, Scalar | None]
    arms: tuple[ImportedArm, ...]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Intake:
    """Many files, read: what could be used, and for every other file the reason why not, by path."""

    taken: Mapping[str, Imported]
    skipped: Mapping[str, str]


def names() -> list[str]:
    """Names of all formats, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def load(name: str) -> ModuleType:
    """The module of that format; UsageError with the nearest name otherwise. Dashes count as underscores."""
    module = name.replace("-", "_")
    if module not in names():
        raise UsageError(
            f"unknown format '{name}'{nearest(name, names())}", fix=f"the formats are: {', '.join(names())}"
        )
    return importlib.import_module(f"{__name__}.{module}")


def writers() -> list[str]:
    """Names of the formats that can be written."""
    return [n for n in names() if hasattr(load(n), "write") or hasattr(load(n), "write_bytes")]


def readers() -> list[str]:
    """Names of the formats that can be read."""
    return [n for n in names() if hasattr(load(n), "read")]


def exported(name: str, comparison: Comparison, starts: Starts) -> bytes:
    """The comparison as a file of that format; UsageError where the format can only be read."""
    module = load(name)
    if hasattr(module, "write_bytes"):
        content: bytes = module.write_bytes(comparison, starts)
        return content
    if not hasattr(module, "write"):
        raise UsageError(
            f"'{name}' can be read and not written", fix=f"what can be written: {', '.join(writers())}"
        )
    text: str = module.write(comparison, starts)
    return text.encode()


def imported(text: str, name: str | None = None) -> Imported:
    """What `text` holds, in that format or in the first that takes it.

    Raises RunFormatError with what each format said where none takes it.
    """
    said = []
    for candidate in [name] if name else readers():
        module = load(candidate)
        if not hasattr(module, "read"):
            raise UsageError(
                f"'{candidate}' can be written and not read", fix=f"what can be read: {', '.join(readers())}"
            )
        try:
            found: Imported = module.read(text)
        except RunFormatError as error:
            said.append(error.message)
        else:
            return found
    raise RunFormatError("; ".join(dict.fromkeys(said)))


def collect(paths: Iterable[Path], name: str | None = None) -> Intake:
    """Every file of `paths`, read; a truncated, foreign or unreadable one is skipped with its reason."""
    taken: dict[str, Imported] = {}
    skipped: dict[str, str] = {}
    for path in paths:
        try:
            if path.stat().st_size > MOST_BYTES:
                raise RunFormatError(f"larger than {MOST_BYTES >> 20} MiB")
            taken[str(path)] = imported(path.read_text(encoding="utf-8-sig"), name)
        except RunFormatError as error:
            skipped[str(path)] = error.message
        except UnicodeDecodeError:
            skipped[str(path)] = "not UTF-8 text"
        except OSError as error:
            skipped[str(path)] = error.strerror or type(error).__name__
    return Intake(taken, skipped)


__all__ = [
    "Imported",
    "ImportedArm",
    "Intake",
    "Starts",
    "collect",
    "exported",
    "imported",
    "load",
    "names",
    "readers",
    "writers",
]
