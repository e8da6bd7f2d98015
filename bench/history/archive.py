"""A history: a folder, local or behind a URL, of immutable Parquet files.

    FOLDER/
      1-CONTENT.parquet        one comparison; the name is its content, so adding twice is adding once
      1-pack-CONTENT.parquet   many of them in one file
      marks/                   see `bench.history.marks`

No file is ever rewritten. A pack is complete before the files it holds are removed, and only those are;
what two packs both hold is read once. So jobs that add and pack at the same time lose nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.history import place, rows
from bench.history.intake import Skipped
from bench.model import Comparison, Scalar

LOOSE = 64
"""Loose files from which `add` packs: opening many small files is what makes a history slow."""
PACKS = 16
"""Packs from which they too are merged into one."""
_PACK = "-pack-"
_NAME = re.compile(r"(\d+)-(pack-)?[0-9a-f]{32}\.parquet")
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Added:
    """What `add` did: names of the files that are new, and how many comparisons were there already."""

    new: tuple[str, ...]
    known: int


@dataclass(frozen=True, slots=True)
class History:
    """Rows as an arrow table with the columns of `rows.LOADED`, in order of time, and what was skipped."""

    url: str
    table: Any
    skipped: tuple[Skipped, ...]


def add(
    url: str | Path, comparisons: Iterable[Comparison], *, loose: int = LOOSE, packs: int = PACKS
) -> Added:
    """Put comparisons into the history; packs it where more than `loose` files lie about.

    BenchError where the folder cannot be written.
    """
    folder = place.at(url)
    there = set(_current(folder.names()))
    known = _packed(folder, there)
    new: list[str] = []
    again = 0
    for comparison in comparisons:
        found = rows.rows(comparison)
        content = rows.content_hash(comparison)
        name = f"{rows.FORMAT}-{content}.parquet"
        if not found or name in there or content in known:
            again += bool(found)
            continue
        folder.put(name, rows.parquet(found))
        there.add(name)
        new.append(name)
    if sum(_PACK not in name for name in there) > loose:
        pack(url, packs=packs)
    return Added(tuple(new), again)


def pack(url: str | Path, *, packs: int = PACKS) -> str | None:
    """Merge all loose files into one, and the packs too where there are at least `packs`; its name.

    None where there is nothing to merge, or another process is merging the same. Files that cannot be
    read are left where they are.
    """
    folder = place.at(url)
    names = _current(folder.names())
    loose = [name for name in names if _PACK not in name]
    chosen, _ = _sound(folder, names if len(names) - len(loose) >= packs else loose)
    if len(chosen) < 2:
        return None
    try:
        table = query(folder, chosen, rows.COLUMNS)
    except ValueError:
        return None
    contents = sorted(set(table.column("content").to_pylist()))
    digest = hashlib.sha256("\n".join(contents).encode()).hexdigest()[:32]
    result = f"{rows.FORMAT}{_PACK}{digest}.parquet"
    folder.put(result, rows.written(table))
    for name in chosen:
        if name != result:
            folder.remove(name)
    return result


def load(url: str | Path, *, branch: str | None = None) -> History:
    """All rows of a history, by commit time, then time of creation; of one branch where one is named.

    A commit without a time stands where its comparison was made. Files that are truncated, foreign or
    of another format are skipped. BenchError where the folder is not there.
    """
    folder = place.at(url)
    bad: list[Skipped] = []
    for _ in range(_ATTEMPTS):
        everything = folder.names()
        if not everything and not folder.system.isdir(folder.path):
            raise BenchError(f"there is no history at {url}", fix=f"bench history add {url} RUN")
        names = _current(everything)
        damaged = {one.place for one in bad}
        try:
            table = query(folder, [n for n in names if n not in damaged], rows.LOADED, branch)
        except ValueError:
            # A file is damaged, or another process packed in between.
            bad = _sound(folder, names)[1]
            continue
        if _settled(names, _current(folder.names())):
            foreign = [_foreign(one) for one in everything if one not in names and one != "marks"]
            return History(str(url), table, tuple(foreign + bad))
    raise BenchError(
        f"the files at {url} changed at each of {_ATTEMPTS} attempts to read them", fix="try again"
    )


def facts(history: History) -> dict[tuple[str, str], dict[str, dict[str, Scalar | None]]]:
    """By fingerprint and image: the facts `identity` of that machine, and its newest `state`."""
    import msgspec

    folder = place.at(history.url)
    damaged = {one.place for one in history.skipped}
    names = [name for name in _current(folder.names()) if name not in damaged]
    table = query(folder, names, ("fingerprint", "image", "created", "identity", "state"), newest=True)
    kinds = dict[str, Scalar | None]
    return {
        (row["fingerprint"], row["image"]): {
            kind: msgspec.json.decode(row[kind], type=kinds) for kind in ("identity", "state")
        }
        for row in table.to_pylist()
    }


def query(
    folder: place.Place,
    names: Sequence[str],
    columns: Sequence[str],
    branch: str | None = None,
    *,
    newest: bool = False,
) -> Any:
    """Columns of those files as an arrow table in order of time; ValueError where a file cannot be read.

    A row that several packs hold comes once; with `newest` one row a fingerprint and image.
    """
    import duckdb

    if not names:
        return rows.empty(columns)
    chosen = ", ".join(f'"{name}"' for name in columns)
    one, latest = (
        ("fingerprint, image", "created DESC, content") if newest else ("content, arm, metric", "created")
    )
    sql = f"""
        SELECT {chosen} FROM read_parquet($files) WHERE $branch::VARCHAR IS NULL OR branch = $branch
        QUALIFY row_number() OVER (PARTITION BY {one} ORDER BY {latest}) = 1
        ORDER BY coalesce(commit_time, created), created, content, arm, metric"""  # noqa: S608
    with duckdb.connect() as connection:
        if not folder.local:
            connection.register_filesystem(folder.system)
        try:
            files = [folder.address(name) for name in names]
            return connection.sql(sql, params={"files": files, "branch": branch}).to_arrow_table()
        except (duckdb.Error, OSError) as error:
            raise ValueError(str(error)) from error


def _settled(before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether nothing was packed between two listings: then the first one missed nothing."""
    return set(before) <= set(after) and not any(_PACK in one for one in set(after) - set(before))


def _packed(folder: place.Place, names: Iterable[str]) -> set[str]:
    """Contents of all packs; none where one of them cannot be read, as to add again does no harm."""
    try:
        table = query(folder, _current(one for one in names if _PACK in one), ("content",))
    except ValueError:
        return set()
    return set(table.column("content").to_pylist())


def _sound(folder: place.Place, names: Iterable[str]) -> tuple[list[str], list[Skipped]]:
    """Which of the files can be read, and why not the others; one that is gone is neither."""
    good: list[str] = []
    bad: list[Skipped] = []
    for name in names:
        try:
            rows.read(folder.read(name))
        except FileNotFoundError:
            continue
        except ValueError as error:
            bad.append(Skipped(name, str(error)))
        else:
            good.append(name)
    return good, bad


def _current(names: Iterable[str]) -> list[str]:
    """Those that by their names are files of the current format."""
    matches = ((name, _NAME.fullmatch(name)) for name in names)
    return [name for name, match in matches if match and int(match[1]) == rows.FORMAT]


def _foreign(name: str) -> Skipped:
    match = _NAME.fullmatch(name)
    if match:
        return Skipped(name, f"its format is {match[1]}; this version reads {rows.FORMAT}")
    return Skipped(name, "not a file of a history")
