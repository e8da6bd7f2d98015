"""An image of two layers as the archive that an engine loads, piece by piece.

Format: `manifest.json` and a configuration as of the Docker image specification v1.2, whose `diff_ids` are
the digests of the layers' tars. An engine keeps a layer once, by its digest, so it shares the lower one with
the image that it imported from the same tar.
"""

from __future__ import annotations

import hashlib
import json
import platform
import tarfile
from collections.abc import Iterator
from pathlib import Path

from bench.image import Image

PIECE = 1 << 20
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MADE = "2025-01-01T00:00:00Z"
"""The date that images of ours bear: equal layers give equal images."""


def pieces(image: Image) -> Iterator[bytes]:
    """The archive of an image that has a base."""
    assert image.base
    layers = (image.base, image)
    configuration = json.dumps({
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()), "os": "linux",
        "created": _MADE, "config": {"Labels": {"isobench.digest": image.digest}},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        "history": [{"created": _MADE} for _ in layers],
    }).encode()  # fmt: skip
    name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [image.tag],
                 "Layers": [f"{number}.tar" for number in range(len(layers))]}]  # fmt: skip
    yield from _text("manifest.json", json.dumps(manifest).encode())
    yield from _text(name, configuration)
    for number, layer in enumerate(layers):
        yield from _file(f"{number}.tar", layer.tar)
    yield bytes(2 * tarfile.BLOCKSIZE)  # the end of an archive


def _text(name: str, content: bytes) -> Iterator[bytes]:
    yield _head(name, len(content))
    yield content
    yield _filling(len(content))


def _file(name: str, path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    yield _head(name, size)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece
    yield _filling(size)


def _head(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.USTAR_FORMAT)


def _filling(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
