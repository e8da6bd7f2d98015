"""Docker's own default system call filter, as the running engine writes it for a container.

An engine compiles its profile for the machine and the container's capabilities into the `config.json` it
hands to the OCI runtime. That file lies below the engine's exec root while a container runs: so one is
started, read, and removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import SandboxError
from bench.host import engines
from bench.model import Missing, Scalar
from bench.sandboxes.container_config import container_name

if TYPE_CHECKING:
    from bench.runtimes import Ground

TASKS = "io.containerd.runtime.v2.task/moby"
PLACES = ("run/docker/containerd/daemon", "run/containerd")
"""State directories of the containerd that dockerd starts itself, and of one that serves others as well."""
FIX = "use the Docker engine of this host with its default profile: docker info shows it as seccomp"


@dataclass(frozen=True, slots=True)
class Filter:
    """A system call filter in the words of an OCI runtime."""

    profile: Mapping[str, Any]

    def facts(self) -> dict[str, Scalar | None]:
        """What it does by default, how many calls it names, and its digest."""
        text = json.dumps(self.profile, sort_keys=True).encode()
        return {
            "seccomp.default": str(self.profile.get("defaultAction")),
            "seccomp.calls": len({n for rule in self.profile.get("syscalls") or () for n in rule["names"]}),
            "seccomp.sha256": hashlib.sha256(text).hexdigest()[:16],
        }


def missing() -> Missing | None:
    """Why there is no engine to ask for its filter, if so."""
    client = engines.connect("docker")
    if isinstance(client, Missing):
        return Missing("seccomp", f"Docker's filter is read from its engine: {client.cause}", client.fix)
    with contextlib.closing(client), engines.speaking("asking docker what it is"):
        options = [str(o) for o in client.info().get("SecurityOptions") or ()]
    if not any("seccomp" in option for option in options):
        return Missing("seccomp", "the engine of this host filters no system calls", FIX)
    return None


def read(ground: Ground, root: Path = Path("/")) -> Filter:
    """The filter of a container that is started for it; SandboxError where none is found."""
    client = engines.connect("docker")
    if isinstance(client, Missing):
        raise SandboxError(client.cause, fix=client.fix)
    if ground.image is None:
        raise SandboxError("a container needs the sandbox image", fix="bench image build")
    with contextlib.closing(client):
        tag = engines.ensure_image(client, ground.image)
        name = container_name(ground.run, 0, "filter")
        entry = ground.ledger.will_create("container", f"docker:{name}")
        try:
            with engines.speaking("starting a container to read its filter"):
                asked = client.api.create_host_config(network_mode="none", security_opt=["no-new-privileges"])
                made = client.api.create_container(
                    tag, ["/bin/sleep", "60"], name=name, host_config=asked, labels={"isobench": ground.run}
                )
                client.api.start(made["Id"])
            return Filter(found(made["Id"], root))
        finally:
            engines.undo_container(f"docker:{name}")
            ground.ledger.gone(entry)


def found(container: str, root: Path = Path("/")) -> Mapping[str, Any]:
    """`linux.seccomp` of that running container's config.json; SandboxError where there is none."""
    for place in PLACES:
        file = root / place / TASKS / container / "config.json"
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            profile = json.loads(file.read_text()).get("linux", {}).get("seccomp")
            if not profile:
                raise SandboxError(f"{file} names no system call filter", fix=FIX)
            return dict(profile)
    raise SandboxError(f"the engine keeps no config.json of {container[:12]} below /run", fix=FIX)
