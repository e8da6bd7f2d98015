"""Driving Vagrant's command line: its machine-readable output, its errors, and what `ssh` needs.

Everything Vagrant keeps goes where it is told: VAGRANT_HOME and the directory of a machine are ours alone.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import SandboxError
from bench.host.services import process_name
from bench.imagecache import locked
from bench.ledger import state_dir
from bench.model import Missing

if TYPE_CHECKING:
    from bench.ledger import Ledger

COMMA = "%!(VAGRANT_COMMA)"
BOX = "isobench/sandbox"
PLUGIN = "vagrant-libvirt"
UP, SHORT = 420.0, 90.0
"""Seconds `vagrant up` and every other command may take."""
GRACE = 10.0
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Message:
    """One line of `--machine-readable`: seconds since the epoch, the machine (or ""), a type, its data."""

    timestamp: int
    target: str
    kind: str
    data: tuple[str, ...] = ()


def parse(text: str) -> list[Message]:
    r"""The messages in that output, in order; lines that are none (a plugin's own prints) are passed over.

    Format: TIMESTAMP,TARGET,TYPE,DATA…; inside data a comma is "%!(VAGRANT_COMMA)", a line end is "\n" or
    "\r" in two characters (https://developer.hashicorp.com/vagrant/docs/cli/machine-readable).
    """
    found = []
    for line in text.split("\n"):
        fields = line.removesuffix("\r").split(",")
        if len(fields) < 3 or not (fields[0].isascii() and fields[0].isdigit()) or not fields[2]:
            continue
        data = tuple(_unescaped(field) for field in fields[3:])
        found.append(Message(int(fields[0]), fields[1], fields[2], data))
    return found


def _unescaped(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\r", "\r").replace(COMMA, ",")


def failure(messages: Sequence[Message]) -> str | None:
    """Why the command failed, in Vagrant's own words; None where it does not say so."""
    for message in messages:
        if message.kind == "error-exit" and len(message.data) >= 2:
            return f"{message.data[1].strip()} ({message.data[0].rpartition('::')[2]})"
    shown = [m.data[1] for m in messages if m.kind == "ui" and len(m.data) >= 2 and m.data[0] == "error"]
    return _TERMINAL.sub("", shown[-1]).strip() if shown else None


def readable(messages: Sequence[Message]) -> str:
    """What a person would have seen, one line a message."""
    shown = [m.data[1] for m in messages if m.kind == "ui" and len(m.data) >= 2]
    return _TERMINAL.sub("", "\n".join(shown))


def ssh_config(messages: Sequence[Message]) -> str:
    """The ssh_config(5) text of `vagrant ssh-config`; SandboxError where there is none with a host in it."""
    text = next((m.data[0] for m in messages if m.kind == "ssh-config" and m.data), "")
    if "hostname" not in parse_ssh_config(text):
        raise SandboxError(
            "vagrant ssh-config names no host", fix="vagrant status; see the run's vagrant.log"
        )
    return text


def parse_ssh_config(text: str) -> dict[str, str]:
    """Options of the first host in an ssh_config(5), by lower-case keyword; quotes are taken off."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        keyword, _, value = line.strip().replace("=", " ", 1).partition(" ")
        if not keyword or keyword.startswith("#"):
            continue
        if keyword.lower() == "host" and "host" in found:
            break
        value = value.strip()
        quoted = len(value) >= 2 and value[0] == value[-1] == '"'
        found.setdefault(keyword.lower(), value[1:-1] if quoted else value)
    return found


@dataclass(frozen=True, slots=True)
class Vagrant:
    """The command line in a directory with a Vagrantfile; what it said is appended to `log`."""

    home: Path
    directory: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    ledger: Ledger | None = None
    """Hears of every command, which would go on making a machine when this program is killed."""

    def environment(self) -> dict[str, str]:
        """The caller's environment without any VAGRANT_* of theirs, and with ours."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("VAGRANT_", "BENCH_"))}
        return {
            **kept, **self.settings,
            "VAGRANT_HOME": str(self.home),
            "VAGRANT_CWD": str(self.directory),
            "VAGRANT_DOTFILE_PATH": str(self.directory / ".vagrant"),
            "VAGRANT_DEFAULT_PROVIDER": "libvirt",
            # It would ask a server of its maker's whether there is a newer one.
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_BOX_UPDATE_CHECK_DISABLE": "1",
        }  # fmt: skip

    def run(self, *words: str, deadline: float = SHORT) -> list[Message]:
        """What `vagrant WORDS --machine-readable` said; SandboxError in its own words where it fails."""
        doing = f"vagrant {words[0]}"
        try:
            process = subprocess.Popen(
                ["vagrant", *words, "--machine-readable"], cwd=self.directory, env=self.environment(),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise SandboxError(f"{doing}: {error.strerror}", fix="apt-get install vagrant") from error
        entry = self.ledger.will_create("vagrant", process_name(process.pid)) if self.ledger else None
        late = False
        try:
            said, _ = process.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            late = True
            said = _ended(process)
        except BaseException:
            _ended(process)
            raise
        finally:
            if self.ledger and entry:
                self.ledger.gone(entry)
        text = said.decode(errors="replace")
        messages = parse(text)
        self._keep(words, text)
        if late:
            raise SandboxError(
                f"{doing} did not end within {deadline:g} s: {_last(messages)}", fix=self._fix()
            )
        if process.returncode != 0:
            why = (
                failure(messages) or _last(messages) or text.strip()[-500:] or f"status {process.returncode}"
            )
            raise SandboxError(f"{doing}: {why}", fix=self._fix())
        return messages

    def _keep(self, words: Sequence[str], text: str) -> None:
        if self.log is not None:
            with (
                contextlib.suppress(OSError),
                self.log.open("a") as file,
            ):  # a log that cannot grow stops no run
                file.write(f"$ vagrant {' '.join(words)}\n{text}")

    def _fix(self) -> str:
        return f"read {self.log}" if self.log else "run the same command by hand"


def _ended(process: subprocess.Popen[bytes]) -> bytes:
    """What a process said before it was ended, with all that it started."""
    for number in (signal.SIGINT, signal.SIGKILL):  # on SIGINT Vagrant cleans up what it had begun
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            return process.communicate(timeout=GRACE)[0]
        except subprocess.TimeoutExpired:
            continue
    return b""


def _last(messages: Sequence[Message]) -> str:
    lines = readable(messages).strip().splitlines()
    return lines[-1].strip() if lines else ""


# --- what must be installed, and the box ----------------------------------------------------------


def missing() -> Missing | None:
    """Vagrant, its libvirt plug-in or ssh, where one is not installed."""
    for program, package in (("vagrant", "vagrant"), ("ssh", "openssh-client")):
        if shutil.which(program) is None:
            return Missing(program, f"{program} is not in PATH", f"apt-get install {package}")
    return None if _has_plugin() else Missing(PLUGIN, "Vagrant cannot make libvirt machines: "
                                              f"its plug-in {PLUGIN} is not installed or does not load",
                                              f"apt-get install {PLUGIN}; vagrant plugin list")  # fmt: skip


@functools.cache
def _has_plugin() -> bool:
    """Whether Vagrant lists the plug-in. Asking takes seconds, so a yes is kept until Vagrant changes."""
    found = Path(shutil.which("vagrant") or "vagrant").resolve()
    seen = home() / "plugin"
    mark = f"{found} {found.stat().st_mtime_ns}"
    with contextlib.suppress(OSError):
        if seen.read_text() == mark:
            return True
    try:
        home().mkdir(parents=True, exist_ok=True)
        messages = Vagrant(home(), home()).run("plugin", "list")
    except (OSError, SandboxError):
        return False
    if not any(m.kind == "plugin-name" and m.data[:1] == (PLUGIN,) for m in messages):
        return False
    seen.write_text(mark)
    return True


def home(state: Path | None = None) -> Path:
    """VAGRANT_HOME of this program, kept over runs for the box in it."""
    return (state or state_dir()) / "cache" / "vagrant"


def forget_boxes(state: Path | None = None) -> bool:
    """Delete the boxes kept over runs; False where there are none. The next run adds its own again."""
    kept = home(state)
    if not kept.exists():
        return False
    shutil.rmtree(kept)
    return True


def vagrantfile() -> Path:
    """The Vagrantfile: the wheel's data, or `vagrant/` of a checkout."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "data" / "vagrant" / "Vagrantfile"
    return installed if installed.is_file() else package.parent / "vagrant" / "Vagrantfile"


def box_directory(version: str, at: Path) -> Path:
    """Where Vagrant keeps the unpacked box of that version."""
    return at / "boxes" / BOX.replace("/", "-VAGRANTSLASH-") / version / "libvirt"


def ensure_box(catalog: Path, version: str, at: Path | None = None) -> float:
    """Seconds it took to add the box of that catalogue to our VAGRANT_HOME; 0 where it was there.

    Older versions are removed: each is as large as the boot layer's disk.
    """
    at = at or home()
    at.mkdir(parents=True, exist_ok=True)
    command = Vagrant(at, at)
    with locked(at, lambda _: None):
        if (box_directory(version, at) / "metadata.json").is_file():
            return 0.0
        began = time.monotonic()
        for old in _versions(at):
            command.run("box", "remove", "--force", "--provider", "libvirt", "--box-version", old, BOX)
        command.run(
            "box", "add", "--provider", "libvirt", "--box-version", version, str(catalog), deadline=UP
        )
        return time.monotonic() - began


def _versions(at: Path) -> Iterator[str]:
    for path in sorted(box_directory("*", at).parent.parent.glob("*/libvirt")):
        yield path.parent.name
