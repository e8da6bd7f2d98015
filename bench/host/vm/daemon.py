"""libvirt's daemons where no init system starts them, and the /dev/kvm that stalls them.

What was started or changed is written to the state directory, so that exactly that is stopped or put back.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from bench.errors import HostError
from bench.host.services import STOP_DEADLINE, end_process
from bench.host.vm import libvirtd, machines, nat
from bench.ledger import process_start, state_dir
from bench.model import Missing

RECORD = "libvirtd.pid.json"
KVM_RECORD = "kvm-device.json"
KVM = Path("/dev/kvm")
LOG_SOCKET = Path("/run/libvirt/virtlogd-sock")
START_DEADLINE = 120.0
"""Seconds until libvirtd answers; the first time it asks every QEMU on the host what that can do."""
SYSTEMD = Path("/run/systemd/system")
USERS = ("libvirt-qemu", "qemu")
"""Users that distributions run a system QEMU as, Debian's first."""


def ensure_libvirtd(state: Path | None = None) -> Missing | None:
    """None once qemu:///system answers; what is missing where it does not and cannot be started from here."""
    connection = libvirtd.connect(libvirtd.SYSTEM)
    if not isinstance(connection, Missing):
        connection.close()
        return None
    if connection.what == "libvirt-python":
        return connection
    if shutil.which("libvirtd") is None:
        return Missing("libvirt", "libvirtd is not installed",
                       "apt-get install libvirt-daemon-system qemu-system-x86")  # fmt: skip
    if SYSTEMD.is_dir():
        return Missing("libvirt", "libvirtd is not running", "systemctl start libvirtd")
    if os.geteuid() != 0:
        return Missing("libvirt", "libvirtd is not running, and only root can start it",
                       "sudo bench doctor --start")  # fmt: skip
    return _start(state or state_dir())


def _start(state: Path) -> Missing | None:
    log = state / "libvirtd.log"
    started, before = _recorded(state)
    started = [one for one in started if machines.alive(one["pid"], one["start"])]
    before = before if started else sorted(nat.chains())
    try:
        state.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            if not _listens(LOG_SOCKET):
                _launch("virtlogd", out, started, before, state)
                _until(lambda: _listens(LOG_SOCKET), 10.0)
            process = _launch("libvirtd", out, started, before, state)
    except OSError as error:
        raise HostError(f"libvirtd could not be started: {error}", fix=f"read {log}") from error
    until = time.monotonic() + START_DEADLINE
    while time.monotonic() < until and process.poll() is None:
        connection = libvirtd.connect(libvirtd.SYSTEM)
        if not isinstance(connection, Missing):
            connection.close()
            return None
        time.sleep(0.1)
    stop_libvirtd(state)
    lines = log.read_text(errors="replace").splitlines() or ["it wrote nothing"]
    return Missing("libvirt", f"libvirtd did not come up: {lines[-1][:300]}", f"read {log}")


def _launch(
    program: str, out: Any, started: list[dict[str, Any]], chains: list[str], state: Path
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [program], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
    )
    started.append({"name": program, "pid": process.pid, "start": process_start(process.pid) or 0})
    (state / RECORD).write_text(json.dumps({"daemons": started, "chains": chains}))
    return process


def stop_libvirtd(state: Path | None = None) -> bool:
    """Stop the daemons that `ensure_libvirtd` started; False where it started none that still runs.

    The firewall chains that libvirtd made go too: no libvirtd is left that would want them.
    """
    state = state or state_dir()
    daemons, chains = _recorded(state)
    ran = {d["name"]: end_process(d["pid"], d["start"], grace=STOP_DEADLINE) for d in reversed(daemons)}
    if ran.get("libvirtd"):
        for chain in sorted(nat.chains() - set(chains)):
            nat.remove_chain(*chain.split())
    (state / RECORD).unlink(missing_ok=True)
    return any(ran.values())


def _recorded(state: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The daemons that were started from here, and libvirt's firewall chains that were there before."""
    record = state / RECORD
    try:
        facts = json.loads(record.read_text())
        daemons = [
            {"name": str(d["name"]), "pid": int(d["pid"]), "start": int(d["start"])} for d in facts["daemons"]
        ]
        return daemons, [str(chain) for chain in facts["chains"]]
    except FileNotFoundError:
        return [], []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostError(
            f"{record} cannot be read: {error}", fix=f"rm {record}, and stop libvirtd yourself"
        ) from error


def _listens(path: Path) -> bool:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


def _until(done: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not done() and time.monotonic() < until:
        time.sleep(0.05)


# --- the stall of an unreadable /dev/kvm ---------------------------------------------------------


def kvm_stall(device: Path = KVM, users: tuple[str, ...] = USERS) -> Missing | None:
    """Why every machine takes more than a minute to be created, where QEMU's user cannot open /dev/kvm.

    libvirt then throws away what it knows of QEMU at each look-up, and asks again.
    """
    user = next((found for name in users if (found := _user(name))), None)
    if user is None or not device.exists():
        return None
    facts = device.stat()
    if may_open(
        facts.st_mode, facts.st_uid, facts.st_gid, user.pw_uid, os.getgrouplist(user.pw_name, user.pw_gid)
    ):
        return None
    return Missing(
        "kvm",
        f"QEMU's user {user.pw_name} may not open {device}: creating a machine takes 80 s",
        f"chgrp kvm {device} && chmod 0660 {device}",
    )


def may_open(mode: int, owner: int, group: int, user: int, groups: list[int]) -> bool:
    """Whether a user in those groups may read and write such a file; see path_resolution(7)."""
    bits = (mode >> 6) if owner == user else (mode >> 3) if group in groups else mode
    return bits & 6 == 6


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def open_kvm(state: Path | None = None, device: Path = KVM) -> bool:
    """Let the group kvm open /dev/kvm where it stalls libvirt and no udev would do it; True where changed."""
    if kvm_stall(device) is None or os.geteuid() != 0 or Path("/run/udev/control").exists():
        return False
    record = (state or state_dir()) / KVM_RECORD
    facts = device.stat()
    try:
        group = grp.getgrnam("kvm").gr_gid
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"mode": facts.st_mode & 0o7777, "gid": facts.st_gid}))
        os.chown(device, -1, group)
        device.chmod(0o660)
    except (OSError, KeyError) as error:
        raise HostError(f"{device} cannot be opened to the group kvm: {error}", fix="groupadd kvm") from error
    return True


def close_kvm(state: Path | None = None, device: Path = KVM) -> bool:
    """Put /dev/kvm back as `open_kvm` found it; False where it changed nothing."""
    record = (state or state_dir()) / KVM_RECORD
    try:
        facts = json.loads(record.read_text())
        os.chown(device, -1, int(facts["gid"]))
        device.chmod(int(facts["mode"]))
    except FileNotFoundError:
        record.unlink(missing_ok=True)
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostError(f"{device} cannot be put back: {error}", fix=f"rm {record}") from error
    record.unlink(missing_ok=True)
    return True
