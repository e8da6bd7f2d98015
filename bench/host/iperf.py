"""The iperf3 server that network workloads talk to, from the sandbox image where there is one."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from bench.errors import HostError
from bench.host.services import end_process, process_name
from bench.ledger import process_start

if TYPE_CHECKING:
    from bench.ledger import Ledger

READY_DEADLINE = 30.0
PORT = 5201
_LISTEN = "0A"  # TCP_LISTEN in the kernel's enum, as /proc/net/tcp prints it


def argv(tree: Path | None) -> list[str]:
    """The command that starts iperf3: the image's own binary through its own loader, else the host's.

    Going through the loader needs neither chroot nor /dev below the tree. HostError where neither exists.
    """
    if tree is not None:
        loaders = sorted(tree.glob("usr/lib/*/ld-linux*.so.*"))
        binary = tree / "usr/bin/iperf3"
        if loaders and binary.is_file():
            return [
                str(loaders[0]),
                "--library-path",
                str(loaders[0].parent),
                "--argv0",
                "iperf3",
                str(binary),
            ]
    found = shutil.which("iperf3")
    if not found:
        raise HostError("there is no iperf3 to be the network peer", fix="bench image build")
    return [found]


@contextlib.contextmanager
def serving(
    ledger: Ledger, tree: Path | None, address: str, port: int = PORT, netns: str | None = None
) -> Iterator[str]:
    """An iperf3 server at `address`:`port` for the length of the block, in `netns` where one is named.

    Yields "ADDRESS:PORT" once it listens. HostError where it does not.
    """
    command = [*argv(tree), "--server", "--bind", address, "--port", str(port)]
    if netns:
        command = ["nsenter", f"--net=/run/netns/{netns}", *command]
    with tempfile.TemporaryFile() as errors:
        process = _spawn(command, errors)
        start = process_start(process.pid) or 0
        entry = ledger.will_create("process", process_name(process.pid))
        try:
            _await_listening(process, port, errors)
            yield f"{address}:{port}"
        finally:
            end_process(process.pid, start)
            process.wait(timeout=10)
            ledger.gone(entry)


def _spawn(command: Sequence[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
        )
    except OSError as error:
        raise HostError(
            f"the iperf3 server could not be started: {error}", fix="apt-get install iperf3"
        ) from error


def _await_listening(process: subprocess.Popen[bytes], port: int, errors: IO[bytes]) -> None:
    until = time.monotonic() + READY_DEADLINE
    while not listening(process.pid, port):
        if process.poll() is not None or time.monotonic() > until:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip() or "it said nothing"
            raise HostError(f"the iperf3 server does not listen on port {port}: {said}",
                            fix=f"see who has that port: ss -ltnp sport = {port}")  # fmt: skip
        time.sleep(0.01)


def listening(pid: int, port: int, root: Path = Path("/")) -> bool:
    """Whether process `pid` itself has a TCP socket that listens on `port`.

    /proc/PID/net/tcp shows every socket of the network namespace, another program's as well; only an
    inode among the process's own descriptors is its own.
    """
    own = _sockets(root / f"proc/{pid}/fd")
    for table in ("tcp", "tcp6"):
        try:
            lines = (root / f"proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue  # the process has ended, or this kernel has no IPv6
        for fields in (line.split() for line in lines):
            port_matches = int(fields[1].rpartition(":")[2], 16) == port
            if fields[3] == _LISTEN and port_matches and fields[9] in own:
                return True
    return False


def _sockets(descriptors: Path) -> set[str]:
    """Inodes of the sockets a process has open; empty once it has ended."""
    found = set()
    try:
        for link in descriptors.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed between listing and reading
                target = str(link.readlink())
                if target.startswith("socket:["):
                    found.add(target[8:-1])
    except OSError:
        return set()
    return found
