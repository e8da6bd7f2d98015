"""Programs of our own in C: compiled when the image is built, static, the same binary in every runtime.

Workloads that are C sources lie in the image as `/usr/lib/isobench/AREA-NAME`. The launcher `place`, through
which the host starts them, is compiled with them, and so is `moment`, a hook that stamps. The agent of guests
is not in the image: see `bench.bootlayer.agent`.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench import workload as workloads
from bench.errors import BenchError

FLAGS = ("-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=none")
_DEADLINE = 120
_HOST = Path(__file__).parent / "host"
_PROGRAMS = {"place": _HOST / "place.c", "moment": _HOST / "moment.c"}
FIX = "apt-get install gcc libc6-dev"


def sources() -> dict[str, Path]:
    """The sources by the name of their binary."""
    found = {workloads.binary(name): workloads.path(name) for name in workloads.names()}
    return _PROGRAMS | {name: path for name, path in found.items() if path.suffix == ".c"}


def recipe() -> str:
    """A hash of all sources, their headers, and flags: what decides the binaries, but for the compiler."""
    paths = [path for _, path in sorted(sources().items())] + sorted(workloads.root().glob("*/_*.h"))
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return hashlib.sha256("\0".join([*FLAGS, *texts]).encode()).hexdigest()


def build(directory: Path) -> None:
    """Compile every program into `directory`; BenchError where there is no compiler or it refuses."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, path in sources().items():
        compile_program(directory / name, [path])


def compile_program(target: Path, paths: Sequence[Path], flags: Sequence[str] = FLAGS) -> None:
    """Compile these sources into one program; BenchError where there is no compiler or it refuses."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchError("there is no C compiler for the programs of this one that are not Python", fix=FIX)
    argv = [compiler, *flags, "-o", str(target), *(str(path) for path in paths)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_DEADLINE, check=False)
    if done.returncode:
        raise BenchError(f"{target.name} does not compile: {done.stderr.strip()[-1000:]}", fix=FIX)


def launcher(root: Path) -> Path:
    """The launcher in an image's tree; BenchError where the image is from before there was one."""
    return program(root, "place")


def program(root: Path, name: str) -> Path:
    """One of these programs in an image's tree; BenchError where the image has none of that name."""
    path = root / workloads.COMPILED.lstrip("/") / name
    if not path.is_file():
        raise BenchError(f"the image has no {workloads.COMPILED}/{name}", fix="bench image build")
    return path
