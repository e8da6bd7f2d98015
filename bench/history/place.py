"""A folder that is local or behind a URL, and four things to do with its files: list, read, put, remove."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError, UsageError

TEMPORARY = ".part-"
"""How the names of files begin that are not complete yet."""


@dataclass(frozen=True, slots=True)
class Place:
    """One folder. `system` is fsspec's file system; `path` what the folder is called in it."""

    url: str
    path: str
    system: Any
    local: bool

    def names(self, below: str = "") -> list[str]:
        """Names of the complete files, sorted; none where the folder is not there yet."""
        folder = f"{self.path}/{below}" if below else self.path
        self.system.invalidate_cache(folder)
        try:
            found = self.system.ls(folder, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (str(one).rstrip("/").rsplit("/", 1)[-1] for one in found)
        return sorted(name for name in names if not name.startswith(TEMPORARY))

    def read(self, name: str) -> bytes:
        """Content of one file; FileNotFoundError where it is gone."""
        content: bytes = self.system.cat_file(f"{self.path}/{name}")
        return content

    def put(self, name: str, content: bytes) -> None:
        """Write the file under a temporary name, then move it: a reader sees all of it or none.

        Local files are on the disk when this returns. BenchError where the folder cannot be written.
        """
        below, _, last = name.rpartition("/")
        folder = f"{self.path}/{below}" if below else self.path
        part = f"{folder}/{TEMPORARY}{secrets.token_hex(8)}"
        try:
            self.system.makedirs(folder, exist_ok=True)
            if self.local:
                _replace(Path(part), Path(folder) / last, content)
            else:
                self.system.pipe_file(part, content)
                self.system.mv(part, f"{folder}/{last}")
        except OSError as error:
            raise BenchError(
                f"the history at {self.url} cannot be written: {error}", fix=f"make {self.url} writable"
            ) from error

    def remove(self, name: str) -> None:
        """Remove the file; nothing happens where another process did so before."""
        with contextlib.suppress(FileNotFoundError):
            self.system.rm_file(f"{self.path}/{name}")

    def address(self, name: str) -> str:
        """What DuckDB calls the file: a path, or a URL of the file system registered with it."""
        return f"{self.path}/{name}" if self.local else self.system.unstrip_protocol(f"{self.path}/{name}")


def at(url: str | Path) -> Place:
    """The place of that path or URL; UsageError where no installed package speaks its protocol."""
    import fsspec

    text = str(url)
    try:
        system, path = fsspec.core.url_to_fs(text)
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"{text} cannot be opened: {error}", fix="give a folder, or pip install the named package"
        ) from error
    protocol = system.protocol if isinstance(system.protocol, str) else system.protocol[0]
    return Place(text, str(path).rstrip("/"), system, protocol in ("file", "local"))


def _replace(part: Path, final: Path, content: bytes) -> None:
    """Write, sync, rename, and sync the folder."""
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(final)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
