"""Starting a domain, finding what the host knows of it, and ending it so that nothing is left."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import HostError, SandboxError
from bench.host import cgroups
from bench.host.cgroups.hierarchy import memberships
from bench.host.vm import domain, libvirtd
from bench.ledger import process_start
from bench.model import Missing

if TYPE_CHECKING:
    from bench.ledger import Ledger

GONE = 60.0
"""Seconds libvirt has to forget a domain whose QEMU is dead."""
THREADS = ("emulator", "vcpu", "iothread")
"""First words of the groups libvirt puts QEMU's threads into, below the machine's own."""


@dataclass(slots=True)
class Running:
    """A domain with its QEMU. `group` is its cgroup on this host, None where it has none of its own."""

    name: str
    connection: Any
    domain: Any
    pid: int
    start: int
    socket: Path | None
    """Where the agent's port comes out on this host; None where the domain has no such port."""
    group: cgroups.Group | None
    created: float = 0.0
    """Monotonic time at which libvirt was asked for it, where that was here."""
    defined_seconds: float | None = None

    def alive(self) -> bool:
        """Whether its QEMU still runs."""
        return alive(self.pid, self.start)

    def kill(self) -> None:
        """SIGKILL to QEMU, straight through the kernel: it works with a dead libvirtd too."""
        _kill(self.pid, self.start)

    def monitor(self, command: str) -> Any:
        """What QEMU itself answers to a command of its monitor (QMP)."""
        library = importlib.import_module("libvirt_qemu")
        with libvirtd.speaking(f"asking the QEMU of {self.name}"):
            answer = library.qemuMonitorCommand(self.domain, json.dumps({"execute": command}), 0)
        return json.loads(answer)["return"]

    def accelerator(self) -> str:
        """ "kvm" or "tcg", as QEMU itself says."""
        return "kvm" if self.monitor("query-kvm")["enabled"] else "tcg"


@contextlib.contextmanager
def started(machine: domain.Machine, connection: Any, ledger: Ledger) -> Iterator[Running]:
    """That machine, running, for the length of the block. SandboxError where libvirt refuses it."""
    entry = ledger.will_create("domain", machine.name)
    running: Running | None = None
    try:
        running = _create(machine, connection, ledger)
        yield running
    finally:
        if running is not None:
            running.kill()
        try:
            remove(machine.name, connection)
        except SandboxError:  # libvirtd was restarted meanwhile: ask the new one
            undo_domain(machine.name)
        if running is not None and running.group is not None:
            running.group.remove()
        if machine.partition:
            cgroups.sweep(machine.partition)
        ledger.gone(entry)


def _create(machine: domain.Machine, connection: Any, ledger: Ledger) -> Running:
    text = domain.xml(machine)
    created = time.monotonic()
    with libvirtd.speaking(f"creating {machine.name}") as library:
        # Tied to this connection: should this process be killed, libvirt ends the machine by itself.
        made = connection.createXML(text, library.VIR_DOMAIN_START_AUTODESTROY)
        taken = time.monotonic() - created
    found = attach(connection, made, ledger)
    found.created, found.defined_seconds = created, taken
    return found


def attach(connection: Any, made: Any, ledger: Ledger) -> Running:
    """What the host knows of a domain that runs, whoever started it."""
    with libvirtd.speaking("asking for a domain's description"):
        name, described = made.name(), made.XMLDesc()
    pid = qemu_pid(name)
    group = own_group(pid)
    if group is not None:
        adopt(group, pid, ledger)
    return Running(name, connection, made, pid, process_start(pid) or 0, _socket(described), group)


def _socket(described: str) -> Path | None:
    from xml.etree import ElementTree

    for channel in ElementTree.fromstring(described).iterfind("devices/channel"):  # noqa: S314 - libvirt's
        target, source = channel.find("target"), channel.find("source")
        if target is not None and source is not None and target.get("name") == domain.AGENT:
            return Path(source.get("path", ""))
    return None


def qemu_pid(name: str, root: Path = Path("/")) -> int:
    """PID of the QEMU that runs the domain, by libvirt's own pid file, else by its command line."""
    places = [root / "run/libvirt/qemu"]
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        places.append(Path(session) / "libvirt/qemu/run")
    for place in places:
        with contextlib.suppress(OSError, ValueError):
            return int((place / f"{name}.pid").read_text())
    wanted = f"guest={name},".encode()
    for entry in (root / "proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "cmdline").read_bytes():
                return int(entry.name)
    raise SandboxError(f"no QEMU runs the domain {name}", fix="see /var/log/libvirt/qemu")


def own_group(pid: int) -> cgroups.Group | None:
    """The machine's cgroup: above the ones libvirt makes for its threads; None where QEMU has none."""
    group: cgroups.Group | None = cgroups.of_pid(pid, cgroups.detect())
    while group is not None and group.path.rpartition("/")[2].startswith(THREADS):
        group = group.parent()
    return group if group is not None and group.path else None


def adopt(group: cgroups.Group, pid: int, ledger: Ledger) -> None:
    """Put QEMU into the same path of the v1 hierarchies that libvirt does not use (cpuacct, pids).

    Where it uses a hierarchy, its threads stay in the groups it made for them.
    """
    found = memberships(group.cgroups.root, pid, group.cgroups.hierarchies)
    apart = [h for h in found if h.version == 1 and not found[h].startswith(group.path)]
    if not apart:
        return
    group.create(ledger)
    for h in apart:
        try:
            (h.mount / group.path / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise HostError(f"QEMU cannot be put into {h.mount / group.path}: {error.strerror}",
                            fix="run as root") from error  # fmt: skip


def undo_domain(name: str) -> None:
    """End and forget the domain of that name; nothing to do where there is none."""
    libvirtd.ours(name)
    connection = libvirtd.connect()
    if isinstance(connection, Missing):
        with contextlib.suppress(SandboxError):
            pid = qemu_pid(name)
            _kill(pid, process_start(pid) or 0)
        return
    try:
        remove(name, connection)
    finally:
        connection.close()


def remove(name: str, connection: Any) -> None:
    """Kill the domain's QEMU and wait until libvirt has forgotten it. Idempotent."""
    found = libvirtd.find(connection, name)
    if found is None:
        return
    with contextlib.suppress(SandboxError):
        pid = qemu_pid(name)
        _kill(pid, process_start(pid) or 0)
    with libvirtd.speaking(f"removing {name}") as library:
        # Gone already; or a libvirtd that was restarted still waits for the QEMU that is dead now.
        fine = ("NO_DOMAIN", "OPERATION_INVALID", "OPERATION_TIMEOUT")
        codes = {getattr(library, f"VIR_ERR_{word}") for word in fine}
        for step in ("destroy", "undefine"):
            try:
                if step == "destroy" or found.isPersistent():
                    getattr(found, step)()
            except library.libvirtError as error:
                if error.get_error_code() not in codes:
                    raise
    _until(lambda: libvirtd.find(connection, name) is None, f"libvirt keeps the domain {name}")


def _until(done: Callable[[], bool], problem: str) -> None:
    until = time.monotonic() + GONE
    while not done():
        if time.monotonic() > until:
            raise HostError(f"{problem} for {GONE:g} s", fix="see the log of libvirtd; bench clean")
        time.sleep(0.02)


def alive(pid: int, start: int) -> bool:
    """Whether the process that began at `start` still runs; a zombie does not."""
    if process_start(pid) != start:
        return False
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _kill(pid: int, start: int) -> None:
    """SIGKILL to that very process, and up to 10 s until it has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if process_start(pid) == start:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            if not select.select([handle], [], [], 10)[0]:
                raise HostError(f"QEMU {pid} survived SIGKILL", fix=f"cat /proc/{pid}/stack")
    finally:
        os.close(handle)
