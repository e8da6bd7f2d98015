"""Comparisons out of run directories: `comparison.json`, in a folder, below one, or named itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from bench.errors import UsageError
from bench.history.place import Place, at
from bench.model import Comparison

FILE = "comparison.json"
# Formats of a comparison that this version reads:
#   1  first format
FORMATS = (1,)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not used, and why."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Intake:
    """What was read, in the order of the places, and what was not."""

    comparisons: tuple[Comparison, ...]
    skipped: tuple[Skipped, ...]


class UnreadableError(ValueError):
    """These bytes are no comparison that this version reads; the text says why."""


@dataclass(frozen=True, slots=True)
class _Head:
    format: int


def read(places: Sequence[str | Path]) -> Intake:
    """All comparisons at these paths or URLs: run directories, folders of run directories, or files.

    Whatever is truncated, foreign or of another format is skipped with its reason. UsageError where a
    place does not exist.
    """
    taken: list[Comparison] = []
    skipped: list[Skipped] = []
    for place in places:
        for address, content in _contents(str(place)):
            try:
                if content is None:
                    raise UnreadableError(f"there is no {FILE} in it")
                taken.append(decode(content))
            except UnreadableError as error:
                skipped.append(Skipped(address, str(error)))
    return Intake(tuple(taken), tuple(skipped))


def decode(content: bytes) -> Comparison:
    """The comparison in the bytes of a `comparison.json`; UnreadableError says what is wrong with them."""
    try:
        head = msgspec.json.decode(content, type=_Head)
    except msgspec.ValidationError as error:
        raise UnreadableError(f"not a comparison: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableError(f"truncated or not JSON: {error}") from error
    if head.format not in FORMATS:
        known = ", ".join(map(str, FORMATS))
        raise UnreadableError(f"its format is {head.format}; this version reads {known}")
    try:
        found = msgspec.json.decode(content, type=Comparison)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(f"not a comparison of format {head.format}: {error}") from error
    if seconds(found.created) is None:
        raise UnreadableError(f"its time of creation is no time: {found.created[:40]!r}")
    return found


def seconds(text: str) -> float | None:
    """An ISO 8601 time as seconds since 1970; None where it is none. Without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo else moment.replace(tzinfo=_UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _contents(text: str) -> Iterator[tuple[str, bytes | None]]:
    """Address and bytes of every candidate at that place; None for a folder that should have had one."""
    place = at(text)
    if place.system.isfile(place.path):
        yield text, _bytes(place, "")
    elif not place.system.isdir(place.path):
        raise UsageError(f"{text} does not exist", fix="give run directories, or files named comparison.json")
    elif place.system.isfile(f"{place.path}/{FILE}"):
        yield text, _bytes(place, FILE)
    else:
        below = [name for name in place.names() if place.system.isdir(f"{place.path}/{name}")]
        runs = [n for n in below if place.system.isfile(f"{place.path}/{n}/{FILE}")]
        if not runs:
            yield text, None
            return
        for name in below:
            yield f"{text.rstrip('/')}/{name}", _bytes(place, f"{name}/{FILE}") if name in runs else None


def _bytes(place: Place, name: str) -> bytes:
    content: bytes = place.system.cat_file(f"{place.path}/{name}".rstrip("/"))
    return content


_UTC = datetime.fromisoformat("1970-01-01T00:00:00+00:00").tzinfo
