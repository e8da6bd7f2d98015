"""Economy: the disk that images which share a base take as layers, and what the same costs as machine
disks."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench import bootlayer
from bench import image as sandbox_image
from bench.errors import HostError
from bench.host import engines
from bench.host.mounts import tool
from bench.host.vm import disks
from bench.layering import Clock, allocated
from bench.ledger import Ledger
from bench.model import Missing, Scalar
from bench.primitives import Place

if TYPE_CHECKING:
    from docker import DockerClient

REPOSITORY = "isobench-layers"


class Probe:
    """`images` images on the sandbox image, each with a layer of `bytes` on top, as the engine accounts for
    them.

    Beside them one full clone of the machine's boot disk and one overlay on it, both made by qemu-img.
    """

    units: Mapping[str, str] = dict.fromkeys(
        (
            "economy.images",
            "economy.listed",
            "economy.held",
            "economy.image",
            "economy.disk",
            "economy.clone",
            "economy.overlay",
        ),
        "bytes",
    ) | {"economy.images": "1"}

    def __init__(self, params: Mapping[str, Scalar]) -> None:
        self._images, self._size = int(params["images"]), int(params["bytes"])
        if self._images < 1 or self._size < 1:
            raise ValueError("images and bytes are at least 1")
        self.title = f"{self._images} images that share a base"

    def requires(self) -> Missing | None:
        """An engine, the sandbox image, its boot layer, and qemu-img."""
        image = sandbox_image.find()
        if image is None:
            return Missing("image", "there is no sandbox image yet", "sudo bench image build")
        if bootlayer.find(image) is None:
            return Missing(
                "boot layer", "the sandbox image has no boot layer yet", "sudo bench image build --vm"
            )
        client = engines.connect("docker")
        if isinstance(client, Missing):
            return client
        client.close()
        return None

    def measure(self, place: Place, clock: Clock) -> Mapping[str, float]:
        """Bytes: what the images' sizes add up to, what the engine holds, and what the disks take."""
        image = sandbox_image.find()
        layer = bootlayer.find(image) if image else None
        client = engines.connect("docker")
        if image is None or layer is None or isinstance(client, Missing):
            raise HostError("what images need was here when the plan was made", fix="bench doctor")
        clone, overlay = place.scratch / "clone.qcow2", place.scratch / "overlay.qcow2"
        with contextlib.closing(client), contextlib.ExitStack() as stack:
            base = engines.ensure_image(client, image)
            ids = [stack.enter_context(self._on(client, base, number)) for number in range(self._images)]
            with engines.speaking("asking the engine what its images take"):
                sizes = {one["Id"]: one for one in client.df()["Images"]}
            held = sizes[client.images.get(base).id]["Size"]
            listed = [sizes[one]["Size"] for one in ids]
        command = ["qemu-img", "convert", "-O", "qcow2", str(layer.disk), str(clone)]
        tool(command, "the boot disk cannot be cloned", fix="apt-get install qemu-utils; is the disk full?")
        disks.overlay(overlay, layer.disk, None)
        return {
            "economy.images": self._images,
            "economy.image": held,
            "economy.listed": sum(listed),
            "economy.held": held + sum(size - held for size in listed),
            "economy.disk": allocated(layer.disk),
            "economy.clone": allocated(clone),
            "economy.overlay": allocated(overlay),
        }

    @contextlib.contextmanager
    def _on(self, client: DockerClient, base: str, number: int) -> Iterator[str]:
        """The id of one more image: the base and a layer with one file."""
        name, ledger = f"{REPOSITORY}:{os.getpid()}-{number}", Ledger()
        container = f"{REPOSITORY}-{os.getpid()}-{number}"
        entries = [
            ledger.will_create("engine-image", f"docker:{name}"),
            ledger.will_create("container", f"docker:{container}"),
        ]
        try:
            with engines.speaking(f"making the image {name}"):
                made = client.api.create_container(base, ["/bin/true"], name=container)["Id"]
                client.api.put_archive(made, "/", _archive(self._size))
                repository, _, tag = name.partition(":")
                yield str(client.api.commit(made, repository=repository, tag=tag)["Id"])
        finally:
            engines.undo_container(f"docker:{container}")
            engines.undo_image(f"docker:{name}")
            for entry in entries:
                ledger.gone(entry)


def _archive(size: int) -> bytes:
    """A tar archive with one file of that size, which no two images share."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(str(Path("opt") / "content"))
        entry.size = size
        archive.addfile(entry, io.BytesIO(os.urandom(size)))
    return buffer.getvalue()
