"""What people said of changes: one small JSON file a mark, beside the comparisons; none is ever changed.

accept    the level from that commit on is the new baseline
silence   no alert until a time, and the time is a must
annotate  a text at a commit
bad       a comparison that is shown and not searched
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from bench.errors import UsageError
from bench.history import place
from bench.history.intake import Skipped, seconds
from bench.history.series import Key

Kind = Literal["accept", "silence", "annotate", "bad"]
FOLDER = "marks"
# Format history of marks:
#   1  first format
FORMAT = 1
_SHORTEST = 4


@dataclass(frozen=True, slots=True)
class Mark:
    """One statement. An empty arm, metric or fingerprint means all; a fingerprint may be its beginning."""

    format: int
    kind: Kind
    created: str
    """ISO 8601 with offset."""
    author: str
    text: str = ""
    arm: str = ""
    metric: str = ""
    fingerprint: str = ""
    commit: str = ""
    """The first commit at the new level, or its beginning; for `bad` the id of the comparison."""
    expires: str = ""
    """Of a silence: ISO 8601, from when on it no longer holds."""


@dataclass(frozen=True, slots=True)
class Marks:
    """All marks by time of creation, and files that are none."""

    marks: tuple[Mark, ...]
    skipped: tuple[Skipped, ...] = ()

    def accepted(self, key: Key, commits: Sequence[str]) -> list[int]:
        """Indices of the commits at which a new baseline of that series was accepted, in order."""
        chosen = [m.commit for m in self.marks if m.kind == "accept" and concerns(m, key)]
        first = (next((i for i, c in enumerate(commits) if named(c, one)), None) for one in chosen)
        return sorted({index for index in first if index is not None})

    def silenced(self, key: Key, commits: Sequence[str], now: float) -> str | None:
        """The latest time until which alerts of that series about these commits are silenced; None if not."""
        ends = [
            m.expires
            for m in self.marks
            if m.kind == "silence" and concerns(m, key) and (seconds(m.expires) or 0.0) > now
            if not m.commit or any(named(c, m.commit) for c in commits)
        ]
        return max(ends, key=lambda text: seconds(text) or 0.0, default=None)

    @property
    def bad(self) -> frozenset[str]:
        """Ids of comparisons that are known to be bad."""
        return frozenset(m.commit for m in self.marks if m.kind == "bad")

    def notes(self, key: Key) -> list[Mark]:
        """Annotations of that series."""
        return [m for m in self.marks if m.kind == "annotate" and concerns(m, key)]


def put(url: str | Path, mark: Mark) -> str:
    """Keep the mark; the name of its file. UsageError where it says nothing that can be acted on."""
    if mark.kind == "silence" and seconds(mark.expires) is None:
        raise UsageError("a silence needs a time at which it ends", fix="give it as 2026-12-31")
    if mark.kind != "silence" and len(mark.commit) < _SHORTEST:
        raise UsageError(
            f"which commit is meant by '{mark.commit}'?",
            fix=f"give at least {_SHORTEST} characters of its id",
        )
    content = msgspec.json.encode(mark)
    name = f"{FOLDER}/{FORMAT}-{hashlib.sha256(content).hexdigest()[:32]}.json"
    place.at(url).put(name, content)
    return name


def load(url: str | Path) -> Marks:
    """All marks of a history; files that are truncated, foreign or of another format are skipped."""
    folder = place.at(url)
    found: list[Mark] = []
    skipped: list[Skipped] = []
    for name in folder.names(FOLDER):
        try:
            mark = msgspec.json.decode(folder.read(f"{FOLDER}/{name}"), type=Mark)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            skipped.append(Skipped(f"{FOLDER}/{name}", f"truncated or foreign: {error}"))
            continue
        if mark.format == FORMAT:
            found.append(mark)
        else:
            skipped.append(
                Skipped(f"{FOLDER}/{name}", f"its format is {mark.format}; this version reads {FORMAT}")
            )
    found.sort(key=lambda m: (seconds(m.created) or 0.0, m.kind, m.commit, m.text))
    return Marks(tuple(found), tuple(skipped))


def concerns(mark: Mark, key: Key) -> bool:
    """Whether the mark is about that series."""
    same = mark.arm in ("", key.arm) and mark.metric in ("", key.metric)
    return same and key.fingerprint.startswith(mark.fingerprint)


def named(commit: str, beginning: str) -> bool:
    """Whether that is the commit, by the whole of its id or the beginning of it."""
    return len(beginning) >= _SHORTEST and commit.startswith(beginning)
