"""Whether KVM really runs a guest here: /dev/kvm being there proves nothing, so a tiny guest is booted.

The guest is one boot sector. It goes from real mode through paging into long mode, computes, and leaves
through QEMU's isa-debug-exit device. A KVM that cannot emulate what firmware does, or that spins for ever,
never gets there.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.ledger import state_dir

Kind = Literal["kvm", "tcg"]
DEVICE = Path("/dev/kvm")
DEADLINE = 15.0
"""Seconds the tiny guest has; a working KVM needs less than one."""
CACHE = "accelerator.json"
LEFT = 33
"""Exit status of QEMU after the guest wrote 0x10 to isa-debug-exit: twice that and one."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What runs the CPU of a guest, and how that was found out."""

    kind: Kind
    reason: str


def known(state: Path | None = None) -> Kind | None:
    """What an earlier probe of this host found; None where there was none or the host has changed."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        facts = json.loads(((state or state_dir()) / CACHE).read_text())
        if facts["host"] == _host():
            return "kvm" if facts["kind"] == "kvm" else "tcg"
    return None


def probe(state: Path | None = None) -> Accelerator:
    """KVM where a tiny guest ran to its end under it, else TCG with the reason. Tried once a host."""
    state = state or state_dir()
    host = _host()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        facts = json.loads((state / CACHE).read_text())
        if facts["host"] == host:
            return Accelerator("kvm" if facts["kind"] == "kvm" else "tcg", str(facts["reason"]))
    found = _try()
    # A failure to keep it costs another probe, nothing more.
    with contextlib.suppress(OSError):
        state.mkdir(parents=True, exist_ok=True)
        kept = state / f"{CACHE}.{os.getpid()}"
        kept.write_text(json.dumps({"host": host, "kind": found.kind, "reason": found.reason}))
        kept.replace(state / CACHE)
    return found


def _host() -> dict[str, str | None]:
    """What decides the answer: kernel, boot of it, QEMU, and the device."""
    qemu = shutil.which("qemu-system-x86_64")
    with contextlib.suppress(OSError):
        facts = DEVICE.stat()
        device = (
            f"{facts.st_mode:o} {facts.st_uid} {facts.st_gid}" if os.access(DEVICE, os.W_OK) else "closed"
        )
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        size = Path(qemu).stat() if qemu else None
        return {"kernel": platform.release(), "boot": boot, "device": device,
                "qemu": f"{qemu} {size.st_size} {size.st_mtime_ns}" if size else None}  # fmt: skip
    return {"kernel": platform.release(), "device": None}


def _try() -> Accelerator:
    qemu = shutil.which("qemu-system-x86_64")
    if platform.machine() != "x86_64":
        return Accelerator("tcg", f"machines are x86_64 and this host is {platform.machine()}")
    if qemu is None:
        return Accelerator("tcg", "qemu-system-x86_64 is not installed")
    if not DEVICE.exists():
        return Accelerator("tcg", f"there is no {DEVICE}")
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return Accelerator("tcg", f"this user may not use {DEVICE}")
    with tempfile.TemporaryDirectory(prefix="isobench-") as place:
        return judge(*run(qemu, "kvm", Path(place)))


def run(
    qemu: str, accelerator: Kind, place: Path, deadline: float = DEADLINE
) -> tuple[int | None, float, str]:
    """QEMU's exit status (None: still running at the deadline, then killed), seconds, and its last words."""
    sector = place / "sector"
    sector.write_bytes(boot_sector())
    command = [
        qemu, "-accel", accelerator, "-machine", "pc", "-nodefaults", "-no-user-config", "-display", "none",
        "-no-reboot", "-m", "16", "-drive", f"file={sector},format=raw,if=floppy,readonly=on",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
    ]  # fmt: skip
    began = time.monotonic()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        _, said = process.communicate(timeout=deadline)
        status: int | None = process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        _, said = process.communicate(timeout=10)
        status = None
    return status, time.monotonic() - began, said.decode(errors="replace").strip()


def judge(status: int | None, seconds: float, said: str) -> Accelerator:
    """The accelerator that outcome of the tiny guest under KVM allows."""
    if status == LEFT:
        return Accelerator("kvm", f"a tiny guest ran under KVM in {seconds:.1f} s")
    if status is None:
        return Accelerator("tcg", f"{DEVICE} is there, but a tiny guest did not end within {seconds:.0f} s")
    last = next((line for line in reversed(said.splitlines()) if line), "it said nothing")
    return Accelerator("tcg", f"{DEVICE} is there, but a tiny guest failed under it: {last[:200]}")


def boot_sector() -> bytes:
    """The guest: 512 bytes of machine code, assembled from the source in tests/data/boot_sector.S."""
    return bytes.fromhex(_CODE).ljust(510, b"\0") + b"\x55\xaa"


_CODE = (
    "fa31c08ed88ec08ed0bc007cbf0010b90018fcf3ab66c70600100320000066c70600200330000066c706003083000000"
    "0f0116d07c0f20e0660d200600000f22e066b8001000000f22d866b9800000c00f32660d000100000f300f20c0660d01"
    "0000806683e0fb0f22c0ea6f7c0800b8100000008ed88ed048c7c4007c0000b9a08601005131c0b9e80300004801c8ff"
    "c975f959483d14a30700750effc975e40f28c8b810000000eb05b801000000e7f4f4ebfd0f1f40000000000000000000"
    "00000000009a200000000000009200001700b87c"
)
