"""slirp4netns: a network namespace whose packets a process of the user's turns into sockets of the host."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from typing import TYPE_CHECKING

from bench.errors import HostError
from bench.host.network import NETNS_DIR, free_port
from bench.host.services import end_process, process_name
from bench.ledger import process_start
from bench.model import Missing

if TYPE_CHECKING:
    from bench.ledger import Ledger

PROGRAM = "slirp4netns"
INSIDE = "10.0.2.100"
"""The address that it gives the namespace's tap."""
MTU = 65520
"""That of containers without root: rootless Docker and Podman ask for it."""
TAP = "tap0"
READY_DEADLINE = 10.0


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One that runs: its PID, and the port of 127.0.0.1 that leads inside."""

    pid: int
    port: int


def lacking() -> Missing | None:
    """What this host lacks for it."""
    if shutil.which(PROGRAM) is None:
        return Missing(PROGRAM, f"{PROGRAM} is not in PATH", f"apt-get install {PROGRAM}")
    if not Path("/dev/net/tun").exists():
        return Missing("tun", "this kernel has no /dev/net/tun, of which a user mode network is made",
                       "modprobe tun")  # fmt: skip
    return None


@contextlib.contextmanager
def tunnel(ledger: Ledger, namespace: str, inside: int, directory: Path) -> Iterator[Tunnel]:
    """A user mode network for that namespace, and a port of 127.0.0.1 for its TCP port `inside`.

    Its control socket lies in `directory`.
    """
    ready, told = os.pipe()
    with contextlib.ExitStack() as stack:
        control = directory / "slirp"
        try:
            process = _start(namespace, control, told)
        except BaseException:
            os.close(ready)
            raise
        finally:
            os.close(told)
        stack.callback(os.close, ready)
        start = process_start(process.pid) or 0
        entry = ledger.will_create("process", process_name(process.pid))
        try:
            if not select.select([ready], [], [], READY_DEADLINE)[0] or os.read(ready, 1) != b"1":
                raise HostError(f"{PROGRAM} has made no network in {namespace}", fix=f"{PROGRAM} --help")
            port = free_port()
            _ask(control, port, inside)
            yield Tunnel(process.pid, port)
        finally:
            end_process(process.pid, start)
            process.wait(timeout=10)
            ledger.gone(entry)


def _start(namespace: str, control: Path, told: int) -> subprocess.Popen[bytes]:
    words = [PROGRAM, "--configure", f"--mtu={MTU}", "--disable-host-loopback", f"--ready-fd={told}",
             f"--api-socket={control}", "--netns-type=path", str(NETNS_DIR / namespace), TAP]  # fmt: skip
    try:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(told,), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise HostError(
            f"{PROGRAM} could not be started: {error}", fix=f"apt-get install {PROGRAM}"
        ) from error


def request(port: int, inside: int) -> bytes:
    """The words that publish a TCP port on 127.0.0.1; see slirp4netns(1), "API SOCKET"."""
    arguments = {"proto": "tcp", "host_addr": "127.0.0.1", "host_port": port, "guest_addr": INSIDE,
                 "guest_port": inside}  # fmt: skip
    return json.dumps({"execute": "add_hostfwd", "arguments": arguments}).encode()


def _ask(control: Path, port: int, inside: int) -> None:
    try:
        with socket(AF_UNIX, SOCK_STREAM) as connection:
            connection.settimeout(READY_DEADLINE)
            connection.connect(str(control))
            connection.sendall(request(port, inside))
            connection.shutdown(1)  # it answers once it has read everything
            answer = connection.recv(65536)
    except OSError as error:
        raise HostError(f"{PROGRAM} does not answer: {error}", fix=f"{PROGRAM} --help") from error
    if b'"error"' in answer:
        raise HostError(f"{PROGRAM} publishes no port: {answer.decode(errors='replace')}",
                        fix=f"see who has port {port}: ss -ltnp")  # fmt: skip
