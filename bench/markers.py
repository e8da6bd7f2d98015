"""Things of the host that a tenant is to look for: planted before a trial, compared after it, removed.

All of them are the trial's own and in the ledger before they exist. What a tenant did to them is read back
here, so that no tenant is believed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import HostError
from bench.host import facts, mounts, services, shm
from bench.host import planted as process
from bench.model import KINDS, Scalar, TrialRecord

if TYPE_CHECKING:
    from bench.runtimes import Arena

LETTER = "look.json"
"""Name of the file that tells the probe what to look for."""
HIGHEST_USER = 58_888
"""The user that owns markers is the first number from here down that has no name."""
DEADLINE = 10.0


@dataclass(slots=True)
class Markers:
    """What is planted for one trial: by name what the probe is told, and why something is missing."""

    token: str
    told: dict[str, Scalar | None] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    _arena: Arena | None = None
    _directory: Path = Path()
    _process: subprocess.Popen[str] | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def tell(self) -> Mapping[str, bytes]:
        """The letter to the probe, once it runs; the last marker is planted at that moment."""
        self._mount("late")
        letter = {**self.told, "token": self.token, "missing": self.missing, **reference()}
        return {LETTER: json.dumps(letter).encode()}

    def noted(self, record: TrialRecord) -> TrialRecord:
        """The record with what happened to the markers as `marker.*` facts of its first tenant."""
        if not record.tenants:
            return record
        first, *others = record.tenants
        try:
            seen = self._happened()
        except (HostError, OSError) as error:
            seen = {"marker.lost": str(error)}
        first = replace(first, facts={**first.facts, **seen})
        return replace(record, tenants=(first, *others))

    # --- planting -----------------------------------------------------------------------------

    def plant(self, arena: Arena) -> None:
        """Everything but the late mount; HostError where something that should work does not."""
        self._arena, self._directory = arena, arena.scratch / "markers"
        self._directory.mkdir()
        root = os.geteuid() == 0
        self.told["name"] = f"isob-{self.token[:8]}"
        self.told["uid"] = _nameless() if root else os.getuid()
        self._file("file", None)
        if root:
            self._file("user_file", int(self.told["uid"] or 0))
        else:
            self._lack("user_file", "only root can give a file to another user")
        self.told["posix"] = self._stack.enter_context(
            shm.shared_object(self.token, self.token.encode(), arena.ledger)
        ).name
        self.told["sysv"] = self._stack.enter_context(shm.segment(self.token.encode(), arena.ledger))
        self._mount("mount")
        self._group(arena)
        self._start(arena)

    def _lack(self, name: str, why: str) -> None:
        self.told[name], self.missing[name] = None, why

    def _file(self, name: str, owner: int | None) -> None:
        path = self._directory / name
        path.write_text(self.token)
        path.chmod(0o644)
        if owner is not None:
            os.chown(path, owner, owner)
        self.told[name] = str(path)

    def _mount(self, name: str) -> None:
        assert self._arena
        if os.geteuid() != 0:
            return self._lack(name, "only root can mount")
        point = self._directory / f"{name}.mounted"
        point.mkdir()
        options = ("-t", "tmpfs", "-o", "size=64k")
        self._stack.enter_context(mounts.mounted(point, options, self._arena.ledger, "isobench-marker"))
        self.told[name] = str(point.resolve())
        return None

    def _group(self, arena: Arena) -> None:
        if arena.guard is None:
            self._lack("group", "there is no guard cgroup here")
            return self._lack("cgroup", "this user can make no cgroup here")
        self.told["group"] = arena.guard.path
        group = arena.guard.child("marker")
        self._stack.callback(group.remove)
        group.create(arena.ledger)
        self.told["cgroup"] = f"/{group.path}"
        return None

    def _start(self, arena: Arena) -> None:
        """The process that answers and counts; it ends with this program, whatever ends that."""
        asked = {
            "name": self.told["name"], "uid": self.told["uid"] if os.geteuid() == 0 else None,
            "token": self.token, "abstract": f"isobench-{self.token}",
            "socket": str(self._directory / "socket"),
        }  # fmt: skip
        argv = [os.path.realpath(sys.executable), "-I", "-S", os.path.realpath(process.__file__)]
        started = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={}, process_group=0
        )
        self._process = started
        name = services.process_name(started.pid)
        entry = arena.ledger.will_create("process", name)
        self._stack.callback(arena.ledger.gone, entry)
        self._stack.callback(_end, started)
        said = self._exchange(json.dumps(asked) + "\n")
        self.told |= {"pid": started.pid, "port": said["port"]}
        self.told |= {key: asked[key] for key in ("abstract", "socket")}

    def _exchange(self, text: str) -> dict[str, int]:
        """One line to the planted process and its answer; "" ends its input."""
        assert self._process and self._process.stdin and self._process.stdout
        try:
            if text:
                self._process.stdin.write(text)
                self._process.stdin.flush()
            else:
                self._process.stdin.close()
            said: dict[str, int] = json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            raise HostError(
                f"the planted process does not answer: {error}", fix="see what it printed above"
            ) from error
        return said

    def close(self) -> None:
        """Remove everything. Idempotent."""
        self._stack.close()

    # --- reading back -------------------------------------------------------------------------

    def _happened(self) -> dict[str, Scalar | None]:
        """Signals and connections that were counted, and which of the markers were changed."""
        counts = self._exchange("")
        return {
            **{f"marker.{name}": number for name, number in counts.items()},
            "marker.file": self._changed("file"),
            "marker.user_file": self._changed("user_file"),
            "marker.posix": self._altered((shm.DIRECTORY / str(self.told["posix"])).read_bytes()),
            "marker.sysv": self._altered(shm.content(int(self.told["sysv"] or 0), len(self.token) + 1)),
        }

    def _changed(self, name: str) -> bool | None:
        path = self.told[name]
        return None if path is None else self._altered(Path(str(path)).read_bytes())

    def _altered(self, content: bytes | None) -> bool | None:
        return None if content is None else content.rstrip(b"\0") != self.token.encode()


@contextlib.contextmanager
def planted(arena: Arena) -> Iterator[Markers]:
    """Markers for the length of the block."""
    markers = Markers(secrets.token_hex(8))
    with contextlib.closing(markers):
        markers.plant(arena)
        yield markers


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(DEADLINE)
    for stream in (process.stdin, process.stdout):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()


def _nameless() -> int:
    """A user number without a name, so that nothing of the host's own belongs to it."""
    number = HIGHEST_USER
    while True:
        try:
            pwd.getpwuid(number)
        except KeyError:
            return number
        number -= 1


# --- what the host is like ------------------------------------------------------------------------


def reference() -> dict[str, Any]:
    """What of this host a tenant is compared with, read as the probe reads it inside.

    The namespaces are those this program runs in; a raw process is started into the same ones.
    """
    found = facts.read()
    here = os.uname()
    return {
        "boot": found.private["boot_id"],
        "hostname": here.nodename,
        "release": [here.release, here.version],
        "uptime": time.clock_gettime(time.CLOCK_BOOTTIME),
        "namespaces": {kind: _inode(Path("/proc/thread-self/ns") / kind) for kind in KINDS},
        "capabilities": {"effective": _status("CapEff"), "bounding": _status("CapBnd")},
        "cpus": found.identity["cpu.count"],
        "memory": found.identity["memory.total"],
        "model": found.identity["cpu.model"],
        "disks": _disks(),
        "pci": _listed(Path("/sys/bus/pci/devices")),
        "dmi": " ".join(filter(None, map(_dmi, ("sys_vendor", "product_name")))),
        "interfaces": _interfaces(),
        "docker": services.answers(services.DOCKER_SOCKET),
    }


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def _status(name: str) -> str:
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


def _disks() -> Sequence[str]:
    rows = [line.split() for line in Path("/proc/partitions").read_text().splitlines()[2:]]
    return sorted(f"{r[3]} {r[2]}" for r in rows if not r[3].startswith(("loop", "ram", "zram", "nbd")))


def _listed(directory: Path) -> Sequence[str]:
    return sorted(p.name for p in directory.iterdir()) if directory.is_dir() else []


def _dmi(name: str) -> str:
    try:
        return (Path("/sys/class/dmi/id") / name).read_text().strip()
    except OSError:
        return ""  # this machine has no such table, or keeps it for root


def _interfaces() -> dict[str, str]:
    """Hardware addresses by interface, without those that have none, such as lo."""
    found = {}
    for _, name in socket.if_nameindex():
        with contextlib.suppress(OSError):  # it went away meanwhile
            address = (Path("/sys/class/net") / name / "address").read_text().strip().replace(":", "")
            if address.strip("0"):
                found[name] = address
    return found
