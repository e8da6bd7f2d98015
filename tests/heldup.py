"""Runtimes, and the same with a start that is held up: what a gate has to stay silent on, and to catch."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import dockerd

PLUGIN = Path(__file__).parent / "plugin"
"""Where the runtime `late-namespace` is."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A runtime and the same held up. `environment` is the one in which `bench` finds both."""

    runtime: str
    late: Callable[[float], str]
    """The runtime whose start is held up by that many seconds. A further call may change the one before."""
    environment: Mapping[str, str]


@contextlib.contextmanager
def docker() -> Iterator[Pair]:
    """Docker, in an engine of our own, and its OCI runtime behind a script that sleeps before `create`."""
    with tempfile.TemporaryDirectory(prefix="late-") as directory:
        script = Path(directory) / "late-runc"
        write_runtime(script, 0.0)

        def late(seconds: float) -> str:
            write_runtime(script, seconds)
            return "docker:late"

        with dockerd.own({"late": script}) as daemon:
            yield Pair("docker", late, daemon.environment)


@contextlib.contextmanager
def namespaces() -> Iterator[Pair]:
    """Namespaces, and the plug-in that sleeps before their start."""
    path = os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH")]))
    yield Pair("namespace", lambda seconds: f"late-namespace:{seconds:.6f}",
               os.environ | {"PYTHONPATH": path})  # fmt: skip


def write_runtime(path: Path, seconds: float) -> None:
    """An OCI runtime at `path` that sleeps before `create` only, and in all else is the engine's own runc.

    It is a shell script: the shell takes a millisecond or two more of each of runc's commands.
    """
    runc, sleep = (shutil.which(name) for name in ("runc", "sleep"))
    assert runc and sleep
    path.write_text(
        "#!/bin/sh\n"
        f'for word; do if [ "$word" = create ]; then {shlex.quote(sleep)} {seconds:.6f}; break; fi; done\n'
        f'exec {shlex.quote(runc)} "$@"\n'
    )
    path.chmod(0o755)


PAIRS = {"docker": docker, "namespace": namespaces}
