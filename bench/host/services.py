"""Daemons that this program starts by hand where no init system does, and processes it must end.

A daemon that was already there is used and never touched. What was started is written to a state
file with its PID and start time, so that a later run stops exactly that process and no other.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import HostError
from bench.host import gvisor
from bench.ledger import process_start, state_dir
from bench.model import Missing

if TYPE_CHECKING:
    from bench.ledger import Ledger

DOCKER_SOCKET = Path("/var/run/docker.sock")
START_DEADLINE = 40.0
STOP_DEADLINE = 20.0
_START_FIX = "start it with: systemctl start docker"


def ensure_dockerd(
    ledger: Ledger | None = None, socket_path: Path = DOCKER_SOCKET, state: Path | None = None
) -> Missing | None:
    """None once a Docker daemon answers at `socket_path`; what is missing where none can be started.

    With a `ledger` the daemon belongs to the run and `bench clean` stops it; without, it stays up for
    the next run until `stop_dockerd`. Where systemd is the init, starting daemons is its business.
    """
    state = state or state_dir()
    if answers(socket_path):
        _retell(state)
        return None
    if not shutil.which("dockerd"):
        return Missing("docker", "dockerd is not installed", "apt-get install docker.io")
    if Path("/run/systemd/system").is_dir():
        return Missing("docker", "the Docker daemon is not running", _START_FIX)
    if os.geteuid() != 0:
        return Missing("docker", "no Docker daemon is running, and only root can start one", "sudo dockerd")
    return _start_dockerd(ledger, socket_path, state)


def _retell(state: Path) -> None:
    """Have a daemon of ours read its file again where another OCI runtime is here by now.

    A daemon takes a changed list of runtimes on SIGHUP, without a restart.
    """
    record, file = state / "dockerd.pid.json", state / "dockerd.json"
    try:
        facts = json.loads(record.read_text())
        wanted = json.dumps(daemon_config(), indent=1)
        if not _running(int(facts["pid"]), int(facts["start"])) or file.read_text() == wanted:
            return
        file.write_text(wanted)
        os.kill(int(facts["pid"]), signal.SIGHUP)
    except (OSError, ValueError, KeyError, TypeError):
        return  # not ours, or not for this user to change: it is used as it is


def stop_dockerd(state: Path | None = None) -> bool:
    """Stop the daemon that `ensure_dockerd` started; False where it started none that still runs."""
    state = state or state_dir()
    record = state / "dockerd.pid.json"
    try:
        facts = json.loads(record.read_text())
        pid, start = int(facts["pid"]), int(facts["start"])
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostError(
            f"{record} cannot be read: {error}", fix=f"rm {record}, and stop dockerd yourself"
        ) from error
    ran = end_process(pid, start, grace=STOP_DEADLINE)
    record.unlink(missing_ok=True)
    return ran


def answers(socket_path: Path, timeout: float = 2.0) -> bool:
    """Whether a Docker-compatible daemon replies to a ping at that Unix socket."""
    request = b"GET /_ping HTTP/1.0\r\nHost: localhost\r\n\r\n"
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(socket_path))
            connection.sendall(request)
            return b" 200 " in connection.recv(64)
        except OSError:
            return False  # nobody listens: that is the answer


def undo(name: str) -> None:
    """Stop the service a ledger entry "dockerd:PID:START" names, only if it is still that process."""
    _, pid, start = name.rsplit(":", 2)
    end_process(int(pid), int(start), grace=STOP_DEADLINE)


def undo_process(name: str) -> None:
    """Kill the process group of a ledger entry "PID:START", only if it is still that process."""
    pid, start = name.split(":")
    end_process(int(pid), int(start))


def process_name(pid: int) -> str:
    """The ledger's name of a process: its PID and start time; a process already gone has start 0."""
    return f"{pid}:{process_start(pid) or 0}"


def end_process(pid: int, start: int, grace: float = 0.0) -> bool:
    """End the process that began at `start`, its group included; False where that one no longer runs.

    `grace` seconds pass between SIGTERM and SIGKILL. HostError where it survives both.
    """
    if not _running(pid, start):
        return False
    if grace:
        _signal_group(pid, signal.SIGTERM)
        _await_end(pid, start, grace)
    if _running(pid, start):
        _signal_group(pid, signal.SIGKILL)
        if not _await_end(pid, start, 10.0):
            raise HostError(
                f"process {pid} survived SIGKILL", fix=f"see what it waits for: cat /proc/{pid}/stack"
            )
    return True


def _running(pid: int, start: int) -> bool:
    if process_start(pid) != start:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False  # it ended between the two reads
    if state == "Z":
        with contextlib.suppress(ChildProcessError):  # a zombie of somebody else is theirs to reap
            os.waitpid(pid, os.WNOHANG)
        return False
    return True


def _await_end(pid: int, start: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while _running(pid, start):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def daemon_config(existing: Path = Path("/etc/docker/daemon.json")) -> dict[str, Any]:
    """What our dockerd is told: the host's own file, the OCI runtimes found, and no firewall rules.

    Trials use no network or an internal one, so no default bridge, no forwarding and no iptables
    rules are needed; without them nothing stays behind in the host's network when it stops.
    """
    config: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError):
        config = json.loads(existing.read_text())
    crun = shutil.which("crun")
    ours = gvisor.entries() | ({"crun": {"path": crun, "runtimeArgs": []}} if crun else {})
    runtimes = ours | config.get("runtimes", {})
    own = {"iptables": False, "ip6tables": False, "ip-forward": False, "ip-masq": False, "bridge": "none"}
    return {**config, **own, "runtimes": runtimes}


def _start_dockerd(ledger: Ledger | None, socket_path: Path, state: Path) -> Missing | None:
    log = state / "dockerd.log"
    try:
        state.mkdir(parents=True, exist_ok=True)
        (state / "dockerd.json").write_text(json.dumps(daemon_config(), indent=1))
        with log.open("ab") as out:
            process = subprocess.Popen(
                ["dockerd", f"--config-file={state / 'dockerd.json'}", f"--host=unix://{socket_path}"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        start = process_start(process.pid) or 0
        (state / "dockerd.pid.json").write_text(json.dumps({"pid": process.pid, "start": start}))
        if ledger:
            ledger.will_create("service", f"dockerd:{process.pid}:{start}")
    except (OSError, ValueError) as error:
        raise HostError(
            f"dockerd could not be started: {error}", fix="check the messages above it"
        ) from error
    until = time.monotonic() + START_DEADLINE
    while time.monotonic() < until:
        if answers(socket_path):
            return None
        if process.poll() is not None:
            break
        time.sleep(0.1)
    stop_dockerd(state)
    return Missing("docker", f"dockerd did not come up: {_last_words(log)}", f"read {log}")


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    failed = [line for line in lines[-40:] if "level=error" in line or "failed to" in line]
    return (failed or lines or ["it wrote nothing"])[-1][:300]
