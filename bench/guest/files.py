"""The operations `write`, `read`, `put`, `get`: files as bytes, trees as tar streams."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def write(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Descriptor 0 until its end, `size` bytes, as the file `path`, whole or not at all, with `mode`."""
    path = Path(asked["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    size = 0
    try:
        with part.open("wb") as file:
            while data := os.read(0, _CHUNK):
                size += len(data)
                file.write(data)
            if size != asked["size"]:
                raise EOFError(f"{size} bytes came for {path}, not {asked['size']}")
            os.fchmod(file.fileno(), asked.get("mode", 0o644))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return {"size": size}


def read(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The file `path` to descriptor 1."""
    size = 0
    with Path(asked["path"]).open("rb") as file:
        while data := file.read(_CHUNK):
            size += len(data)
            while data:
                data = data[os.write(1, data) :]
    return {"size": size}


def put(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A tar stream from descriptor 0 into `directory`, which is made; what the host sends is trusted."""
    directory = Path(asked["directory"])
    directory.mkdir(parents=True, exist_ok=True)
    with os.fdopen(0, "rb", closefd=False) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        if hasattr(tarfile, "fully_trusted_filter"):
            tar.extraction_filter = tarfile.fully_trusted_filter
        tar.extractall(directory, numeric_owner=True)  # noqa: S202 - the stream is the host's own
    while os.read(0, _CHUNK):  # the padding after the archive's end
        pass
    return {}


def get(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What `directory` holds as a tar stream to descriptor 1."""
    directory = Path(asked["directory"])
    if not directory.is_dir():
        raise NotADirectoryError(20, "no such directory in the guest", str(directory))
    with os.fdopen(1, "wb", closefd=False) as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
        for entry in sorted(directory.iterdir()):
            tar.add(entry, arcname=entry.name)
    return {}
