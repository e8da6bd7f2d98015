"""A container made by an OCI runtime alone: created with its program parked, started, waited for, deleted.

An OCI runtime leaves the first process of a container behind and ends. While it does, this process adopts
what it leaves (PR_SET_CHILD_SUBREAPER): so the kernel itself says how the program ended and what it used.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import HostError, LimitNotSetError, SandboxError
from bench.host import cgroups, oci
from bench.host.child import START_DEADLINE, NativeProcess
from bench.host.launch import cpu_seconds
from bench.host.mounts import tool
from bench.host.place import load_libc
from bench.ledger import Ledger
from bench.model import Scalar

Configure = Callable[[Sequence[str], Mapping[str, str], str], dict[str, Any]]
"""Makes a config.json of a command line, an environment and a working directory."""

PR_SET_CHILD_SUBREAPER = 36
_SURE = ("cgroup", "limit", "oom")
"""Words an OCI runtime uses when it was a limit that kept it from making a container."""


@dataclass(slots=True)
class Bundle:
    """A container to be, with the interface of `launch.Parked`; there is none before `start`."""

    command: str
    id: str
    directory: Path
    """The bundle: config.json, and the runtime's log and PID file."""
    configure: Configure
    inspect: Callable[[], Mapping[str, Scalar | None]] | None = None
    """Facts about the container, asked for while its program is parked; None where the start is measured."""
    pid: int = 0
    floor: int | None = None
    """Largest resident size of the process that became the program, in bytes."""
    cpu: float = 0.0
    """Seconds of CPU that process used before; taken off the program's `Rusage`."""
    facts: dict[str, Scalar | None] = field(default_factory=dict)
    stamps: Path | None = None
    """The file that hooks stamp moments into; None where there are no hooks."""
    moments: dict[str, float] = field(default_factory=dict)
    """When `create` had ended; and of each hook, once the container is deleted. Monotonic seconds."""

    def start(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str = "/",
        *,
        oom_kills: Callable[[], int | None] | None = None,
        wrapped: bool = False,
        alone: bool = True,
    ) -> NativeProcess:
        """Create the container, start its program; SandboxError or LimitNotSetError where refused."""
        if self.pid:
            raise SandboxError("this container was already started")
        began = time.monotonic()
        out, err = self._create(self.configure(argv, env, cwd))
        created = self.moments["oci.created"] = time.monotonic()
        process = NativeProcess(self.pid, out, err, os.pidfd_open(self.pid), oom_kills, wrapped, alone)
        try:
            if self.inspect is not None:
                self.floor, self.cpu = _peak(self.pid), cpu_seconds(self.pid)
                process.parked_cpu = self.cpu
                self.facts.update(self.inspect())
            asked = time.monotonic()
            self._run(["start"])
        except BaseException:
            process.end()
            raise
        self.facts["create_seconds"] = created - began
        self.facts["start_seconds"] = time.monotonic() - asked
        return process

    def close(self) -> None:
        """Nothing: whoever entered `bundle` deletes the container, started or not."""

    def _create(self, config: Mapping[str, Any]) -> tuple[int, int]:
        """Our ends of the output and error pipes, non-blocking; afterwards `pid` is the parked program's."""
        (self.directory / "config.json").write_text(json.dumps(config))
        (out, output), (err, errors) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        try:
            with _adopting():
                file = self.directory / "pid"
                self._run(
                    ["create", "--bundle", str(self.directory), "--pid-file", str(file)], output, errors
                )
            self.pid = int(file.read_text())
        except BaseException as error:
            os.close(out)
            os.close(err)
            if isinstance(error, SandboxError) and _limited(config) and _blames_a_limit(error.message):
                raise LimitNotSetError(error.message, fix="ask for values this kernel can hold") from error
            raise
        finally:
            os.close(output)
            os.close(errors)
        os.set_blocking(out, False)
        os.set_blocking(err, False)
        return out, err

    def _run(
        self, words: Sequence[str], out: int = subprocess.DEVNULL, err: int = subprocess.DEVNULL
    ) -> None:
        """One call of the OCI runtime about this container; its words are in the error where it fails."""
        log = self.directory / "log.json"
        argv = [self.command, "--log", str(log), "--log-format", "json", *words, self.id]
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=START_DEADLINE,
                process_group=0,
            )
        except FileNotFoundError as error:
            raise SandboxError(
                f"{self.command} is not installed", fix=f"apt-get install {self.command}"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise SandboxError(
                f"{self.command} {words[0]} did not end within {START_DEADLINE:g} s"
            ) from error
        if done.returncode != 0:
            said = last_error(log.read_text() if log.exists() else "") or f"exit status {done.returncode}"
            raise SandboxError(
                f"{self.command} {words[0]} failed: {said}",
                fix="check that the image holds this program and that it may be executed",
            )


@contextlib.contextmanager
def opened(made: Bundle, cgroup: str, ledger: Ledger) -> Iterator[Bundle]:
    """That container for the length of the block, in the ledger before it exists, deleted after.

    `cgroup` is the path of its group, from which its id is.
    """
    name = f"{made.command}:{cgroup}"
    entry = ledger.will_create("oci-container", name)
    try:
        yield made
    finally:
        undo(name)
        ledger.gone(entry)
        if made.stamps is not None and made.stamps.exists():
            made.moments |= stamped(made.stamps.read_text())


def stamped(text: str) -> dict[str, float]:
    """Seconds by `hook.NAME`, of lines "NAME NANOSECONDS"; of a name that came twice the first."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        name, _, nanoseconds = line.partition(" ")
        if nanoseconds.isdigit():
            found.setdefault(f"hook.{name}", int(nanoseconds) / 1e9)
    return found


def undo(name: str) -> None:
    """Kill and delete the container "COMMAND:CGROUP PATH"; nothing to do where it is gone."""
    command, _, path = name.partition(":")
    if not path.startswith("isobench.slice/"):
        raise HostError(
            f"'{name}' is not a container of this program", fix="delete it by hand, if it is yours"
        )
    own = oci.container_id(path)
    tool([command, "delete", "--force", own], f"the container {own} cannot be deleted",
         fix=f"{command} delete --force {own}")  # fmt: skip
    cgroups.sweep(path.rpartition("/")[0])


def _limited(config: Mapping[str, Any]) -> bool:
    """Whether it asks for more than to keep devices away."""
    return set(config["linux"]["resources"]) != {"devices"}


def _blames_a_limit(said: str) -> bool:
    return any(word in said.lower() for word in _SURE)


def last_error(log: str) -> str:
    """What the last complaint in a runtime's log says, one JSON object a line; "" where there is none."""
    said = ""
    for line in log.splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
                said = str(entry.get("msg", "")) or said
    return said


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """While it lasts, a process whose parent ends becomes a child of this one."""
    libc = load_libc()
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise SandboxError(
            "this kernel lets no process adopt the ones below it", fix="use Linux 3.4 or later"
        )
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _peak(pid: int) -> int | None:
    """Largest resident size of that process so far, in bytes (VmHWM of /proc/PID/status)."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None
