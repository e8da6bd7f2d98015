"""The collector `domain`: what a machine's QEMU uses on the host, by what its threads do.

vCPU threads run the guest, I/O threads its disks where it has such, and the emulator is all the rest: the
main loop, devices, and under emulation the translation's helpers. Where the kernel counts a group's CPU
time by CPU (cpuacct, v1), that too, since CPU numbers seen inside a guest are not the host's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.collectors import Counter
from bench.model import Missing

if TYPE_CHECKING:
    from bench.host.vm.machines import Running
    from bench.runtimes import Sandbox

Raw = tuple[tuple[tuple[str, bytes], ...], bytes | None, bytes | None]
SIZE = 4096
CPUS = os.cpu_count() or 1
PARTS = {"vcpu": "machine.cpu.vcpu", "io": "machine.cpu.io", "emulator": "machine.cpu.emulator"}

METRICS: dict[str, Counter] = {
    "machine.cpu.vcpu": Counter("s", "counter", "CPU time of the threads that run the guest"),
    "machine.cpu.emulator": Counter("s", "counter", "CPU time of QEMU's other threads"),
    "machine.cpu.io": Counter("s", "counter", "CPU time of QEMU's I/O threads"),
    "machine.memory.rss": Counter("B", "gauge", "resident memory of QEMU"),
    **{f"cpu.seconds_on.{n}": Counter("s", "counter", f"CPU time on host CPU {n}") for n in range(CPUS)},
}


def part(comm: str) -> str:
    """Which part of QEMU a thread of that name is: "CPU 0/TCG" is a vCPU, "IO iothread1" does I/O.

    "IO mon_iothread" serves the monitor, so it belongs to the emulator.
    """
    if comm.startswith("CPU "):
        return "vcpu"
    return "io" if comm.startswith("IO ") and "mon" not in comm else "emulator"


def thread_seconds(stat: bytes, ticks: int) -> tuple[str, float]:
    """(part of QEMU, CPU seconds) of /proc/PID/task/TID/stat with `ticks` a second; see proc(5)."""
    text = stat.decode(errors="replace")
    comm, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    return part(comm), (int(fields[11]) + int(fields[12])) / ticks


class Reader:
    """Kept descriptors of the threads' stat files; threads that come later are found at each reading."""

    def __init__(self, machine: Running) -> None:
        self._tasks = Path(f"/proc/{machine.pid}/task")
        self._threads: dict[str, int] = {}
        self._memory = _open(Path(f"/proc/{machine.pid}/statm"))
        self._cpus = _open(_percpu(machine))

    def read(self) -> Raw:
        """The stat of each thread, statm, and the group's CPU time by CPU."""
        try:
            present = [task.name for task in self._tasks.iterdir()]
        except OSError:
            present = []
        for tid in present:
            if tid not in self._threads and (fd := _open(self._tasks / tid / "stat")) is not None:
                self._threads[tid] = fd
        stats = [(tid, _pread(fd)) for tid, fd in self._threads.items()]
        for tid, stat in stats:
            if stat is None:  # the thread has ended; its last reading still counts
                os.close(self._threads.pop(tid))
        return tuple((t, s) for t, s in stats if s), _pread(self._memory), _pread(self._cpus)

    def parse(self, raw: Raw) -> Mapping[str, float | None]:
        """Seconds by part of QEMU and by host CPU, and bytes; None for what could not be read."""
        threads, memory, cpus = raw
        found: dict[str, float | None] = dict.fromkeys(METRICS)
        if threads:
            found |= dict.fromkeys(PARTS.values(), 0.0)
        ticks = os.sysconf("SC_CLK_TCK")
        for _, stat in threads:
            kind, seconds = thread_seconds(stat, ticks)
            found[PARTS[kind]] = (found[PARTS[kind]] or 0.0) + seconds
        if memory:
            found["machine.memory.rss"] = float(int(memory.split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        for number, nanoseconds in enumerate((cpus or b"").split()[:CPUS]):
            found[f"cpu.seconds_on.{number}"] = int(nanoseconds) / 1e9
        return found

    def close(self) -> None:
        """Close what is open. Idempotent."""
        for fd in (*self._threads.values(), self._memory, self._cpus):
            if fd is not None:
                os.close(fd)
        self._threads.clear()
        self._memory = self._cpus = None


class Collector:
    """CPU time of a machine's QEMU by part and by host CPU, and its memory."""

    name: ClassVar[str] = "domain"
    title: ClassVar[str] = "QEMU of a machine"
    scope: ClassVar[Literal["tenant", "host"]] = "tenant"
    interval: ClassVar[float] = 0.5
    metrics: ClassVar[Mapping[str, Counter]] = METRICS

    def requires(self) -> Sequence[Missing]:
        """Nothing: /proc is there wherever a machine runs."""
        return ()

    def open(self, sandbox: Sandbox | None) -> Reader | None:
        """A reader for a sandbox that is a machine, None for any other."""
        machine = getattr(sandbox, "machine", None)
        return None if machine is None else Reader(machine)


def _percpu(machine: Running) -> Path | None:
    owner = machine.group.cgroups.owner("cpuacct") if machine.group else None
    if owner is None or owner.version != 1 or machine.group is None:
        return None
    return owner.mount / machine.group.path / "cpuacct.usage_percpu"


def _open(path: Path | None) -> int | None:
    if path is None:
        return None
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None  # the thread, or the machine, has ended


def _pread(fd: int | None) -> bytes | None:
    if fd is None:
        return None
    try:
        return os.pread(fd, SIZE, 0)
    except OSError:
        return None  # ESRCH: what the descriptor stands for has ended
