"""`bench run --on`: a whole run inside a guest, from this host's side.

The plan is made and carried out in the guest. Each finished trial comes out at once, so that a guest that
dies takes nothing finished with it. Judging and reporting happen here, as for any run.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from bench import store, suite
from bench.commands import conduct, testbed
from bench.commands.conversation import Stop, converse, said, stopping
from bench.commands.testbed import Testbed
from bench.engine import Interrupted
from bench.errors import BenchError, SandboxError
from bench.ledger import state_dir
from bench.model import HostFacts, Plan, TrialRecord
from bench.session import exclusive
from bench.store import RunDirectory
from bench.transport import Receiver

if TYPE_CHECKING:
    from bench.image import Image

RUNS = "/var/lib/isobench-runs"
SUITES = "/run/isobench-suites"
COMMAND = ("/usr/bin/python3", "-m", "bench")
INTERRUPTED = 130


def run(
    kind: str, runs: Path, resume: Path | None, *, as_json: bool, report: bool, options: dict[str, Any]
) -> int:
    """Carry out a new or unfinished run inside a guest of that kind; returns the exit status."""
    began = time.monotonic()
    image = testbed.check(kind)
    if resume:
        names = list(store.open_run(resume).info.plan.runtimes)
    else:
        # Named here, so that what this host has does not decide what the guest runs.
        named = options["runtimes"] or ",".join(suite.load(options["suite"]).runtimes)
        names = [name.strip() for name in named.split(",")]
        options = {**options, "runtimes": ",".join(names)}
    path = resume or runs / store.new_id()
    with exclusive(state_dir() / "lock"), stopping() as stop:
        interrupted = False
        try:
            with _bed(kind, path, image, docker=_wants_docker(names)) as bed:
                stop.gently = True
                _Visit(bed, path, stop).carry_out(options, fresh=resume is None)
        except Interrupted:
            interrupted = True
        except SandboxError as error:
            raise _died(error, path) from error
        if interrupted and not (path / "run.json").exists():
            return INTERRUPTED
        return conduct.conclude(
            store.open_run(path), began, as_json=as_json, report=report, interrupted=interrupted
        )


def tell(kind: str, arguments: Sequence[str]) -> int:
    """Have this program say something about a fresh guest (`doctor`, `plan`); its exit status."""
    image = testbed.check(kind)
    name = Path(store.new_id())
    with exclusive(state_dir() / "lock"), stopping() as stop, _bed(kind, name, image, docker=True) as bed:
        stop.gently = True
        return converse(bed, [*COMMAND, *arguments], stop, lambda data: click.echo(data, nl=False))


@contextlib.contextmanager
def _bed(kind: str, run: Path, image: Image, *, docker: bool) -> Iterator[Testbed]:
    """The guest for the run at `run`; the log of its serial console is kept with the run."""
    with tempfile.TemporaryDirectory(prefix="isobench-") as place:
        log = Path(place) / "serial.log"
        Path(place).chmod(0o711)
        try:
            with testbed.booted(kind, run.name, image, log, said, docker=docker) as bed:
                yield bed
        finally:
            if (run / "output").is_dir() and log.exists():
                shutil.copyfile(log, run / "output" / "guest.serial.log")


@dataclass
class _Visit:
    """One run and the guest it is carried out in."""

    bed: Testbed
    path: Path
    stop: Stop

    def carry_out(self, options: dict[str, Any], *, fresh: bool) -> None:
        """The whole run with the blocks that undecided cells need. Raises Interrupted where it was."""
        if fresh:
            self._visit(self._options(options))
        else:
            self._push()
            self._visit(["--resume", self._inside()])
        directory = store.open_run(self.path)
        conduct.decide_more(directory, said, lambda plan: self._go_on(directory, plan))

    def _go_on(self, directory: RunDirectory, plan: Plan) -> None:
        """Have the guest, which keeps its copy of the run, carry out the grown plan."""
        self.bed.channel.write(f"{self._inside()}/run.json", (self.path / "run.json").read_bytes())
        self._visit(["--resume", self._inside()])
        directory.info = store.open_run(self.path).info

    def _visit(self, arguments: Sequence[str]) -> None:
        """One start of the inside half. Raises Interrupted; BenchError where it failed."""
        if self.stop.asked:
            raise Interrupted
        receiver = Receiver()

        def take(data: bytes) -> None:
            for path, content in receiver.feed(data):
                self._take(path, content)

        argv = [*COMMAND, "carry-out", "--runs", RUNS, "--id", self.path.name, *arguments]
        status = converse(self.bed, argv, self.stop, take)
        if status == INTERRUPTED or self.stop.asked:
            raise Interrupted
        if status != 0 or receiver.torn:
            fix = f"bench run --resume {self.path}" if self.path.exists() else None
            text = f"inside {self.bed.kind} it ended with status {status}; its messages are above"
            error = BenchError(text, fix=fix)
            error.exit_code = status or BenchError.exit_code
            raise error

    def _take(self, path: str, content: bytes) -> None:
        """Put a file that came out into the run directory, with what only this side knows added to it."""
        if not self.path.exists():
            store.make_directories(self.path)
        store.put(self.path, path, labelled(path, content, self.bed.facts))

    def _push(self) -> None:
        """Put what the guest needs to go on with a run of an earlier guest into this one."""
        with tempfile.TemporaryDirectory(prefix="isobench-") as name:
            copy = Path(name) / self.path.name
            store.make_directories(copy)
            plain = (self.path / "run.json", self.path / "host.json")
            for file in (*plain, *store.open_run(self.path).trial_files):
                shutil.copyfile(file, copy / file.relative_to(self.path))
            self.bed.channel.put(Path(name), RUNS)

    def _inside(self) -> str:
        return f"{RUNS}/{self.path.name}"

    def _options(self, options: Mapping[str, Any]) -> list[str]:
        """The command line's options once more; a suite's file is handed in."""
        given = dict(options)
        if given["suite"].endswith(".toml"):
            file = Path(given["suite"])
            given["suite"] = f"{SUITES}/{file.name}"
            self.bed.channel.write(given["suite"], file.read_bytes())
        slow = ["--emulated"] if self.bed.facts["inside.accelerator"] == "tcg" else []
        return [*arguments_of(given), *slow]


def _wants_docker(runtimes: Iterable[str]) -> bool:
    return any(name.partition(":")[0] in ("docker", "all") for name in runtimes)


def arguments_of(options: Mapping[str, Any]) -> list[str]:
    """Options of a suite as the command line that gives them."""
    found = [f"--{name}" for name in ("quick", "full") if options.get(name)]
    for name in ("suite", "runtimes", "blocks", "seed", "only"):
        if options.get(name) is not None:
            found += [f"--{name}", str(options[name])]
    for text in options.get("limits") or ():
        found += ["--limit", text]
    return found


def labelled(path: str, content: bytes, facts: Mapping[str, Any]) -> bytes:
    """A file of a run made in a guest, with the facts of the guest that it cannot know itself."""
    try:
        if path == "host.json":
            host = msgspec.json.decode(content, type=HostFacts)
            return _pretty(replace(host, identity={**host.identity, **facts}))
        if path.startswith("trials/"):
            record = msgspec.json.decode(content, type=TrialRecord)
            known = {name: facts[name] for name in ("inside", "inside.accelerator")}
            tenants = tuple(replace(t, facts={**t.facts, **known}) for t in record.tenants)
            return msgspec.json.encode(replace(record, tenants=tenants))
    except msgspec.MsgspecError as error:
        raise SandboxError(f"the guest sent a damaged {path}: {error}") from error
    return content


def _pretty(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value))


def _died(error: SandboxError, path: Path) -> BenchError:
    """What to say when the guest is lost, and with how many trials one can go on."""
    if not (path / "run.json").exists():
        return error
    number = len(store.open_run(path).finished())
    return SandboxError(f"{error.message}\n  {number} finished trials are safe in {path}",
                        fix=f"bench run --resume {path}")  # fmt: skip
