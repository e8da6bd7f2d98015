"""Mounts this program makes: the root view of a run, and how each mount and directory is undone.

Only what lies in a directory marked as ours is ever unmounted or deleted.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import HostError
from bench.host import kernel
from bench.ledger import Ledger, state_dir

if TYPE_CHECKING:
    from bench.image import Image

MARK = ".isobench"
DEADLINE = 60.0
BUSY, LAST, STEP = 2.0, 3.0, 0.02
"""Seconds for which a busy mount is waited for, for which one that stays even then is, and between tries."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/self/mountinfo."""

    number: str
    """MAJ:MIN of the file system; major 0 where no block device is behind it."""
    root: str
    point: str
    fstype: str
    source: str
    options: str
    """The file system's own options, where overlay names its directories."""


def parse_mountinfo(text: str) -> list[Mount]:
    """The mounts of a mountinfo file in its order; lines that are none are left out."""
    mounts = []
    for line in text.split("\n"):  # not splitlines: names may hold other line ends
        left, dash, right = line.partition(" - ")
        first, second = left.split(" "), right.split(" ", 2)
        if dash and len(first) >= 6 and len(second) >= 2:
            options = second[2] if len(second) > 2 else ""
            root, point, source = (_unescape(s) for s in (first[3], first[4], second[1]))
            mounts.append(Mount(first[2], root, point, second[0], source, _unescape(options)))
    return mounts


def mounts(root: Path = Path("/")) -> list[Mount]:
    """Every mount this process sees; HostError where /proc is not mounted."""
    try:
        return parse_mountinfo((root / "proc/self/mountinfo").read_text(errors="surrogateescape"))
    except OSError as error:
        raise HostError(
            f"the mount table cannot be read: {error.strerror}", fix="mount -t proc proc /proc"
        ) from error


def mounts_below(path: str, table: Sequence[Mount]) -> list[str]:
    """Mount points at or below `path`, the last mounted first."""
    return [m.point for m in reversed(table) if m.point == path or m.point.startswith(path.rstrip("/") + "/")]


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text)


# --- whose is it --------------------------------------------------------------------------------


def claim(directory: Path) -> Path:
    """Make `directory` (resolved) ours to undo; HostError where it holds what is not ours."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        directory = directory.resolve()
        if not ours(directory):
            if any(directory.iterdir()):
                raise HostError(
                    f"{directory} is not empty and was not made by this program",
                    fix="name a directory that is empty or does not exist",
                )
            (directory / MARK).touch()
    except OSError as error:
        raise HostError(
            f"{directory} cannot be used: {error.strerror}", fix="name a directory that can be written"
        ) from error
    return directory


def ours(path: Path) -> bool:
    """Whether a resolved path lies in the state directory or in a directory marked by `claim`."""
    chain = (path, *path.parents)
    return state_dir().resolve() in chain or any(os.path.lexists(p / MARK) for p in chain)


# --- the two verbs ------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(point: Path, options: Sequence[str], ledger: Ledger, source: str = "none") -> Iterator[Path]:
    """`source` mounted at `point` with these options of mount(8), for the length of the block."""
    name = str(point.resolve())
    entry = ledger.will_create("mount", name)
    try:
        tool(["mount", *options, "--", source, name], f"{source} cannot be mounted at {name}")
        yield point
    finally:
        undo(name)
        ledger.gone(entry)


def undo(name: str) -> None:
    """Unmount everything at and below the mount point `name`; nothing to do is fine.

    The table is read anew after every step: with one mount of a propagation group others of the same name go,
    and what lies below one comes to light. What is busy is tried again for `BUSY` seconds, and is then taken
    out of sight, to be gone when its last user ends. HostError where the path is not ours, or where something
    is still there `LAST` seconds later, with the kernel's answer.
    """
    path = Path(os.path.realpath(name))
    if mounts_below(str(path), mounts()) and not ours(path):
        raise HostError(f"{path} is a mount this program did not make", fix=f"umount {path}, if it is yours")
    patient = time.monotonic() + BUSY
    while below := mounts_below(str(path), mounts()):
        refused = _refused(below[0], lazily=time.monotonic() > patient)
        if refused and time.monotonic() > patient + LAST:
            raise HostError(
                f"{below[0]} cannot be unmounted even lazily: {refused.strerror}",
                fix=f"umount --lazy {below[0]}",
            ) from refused
        time.sleep(STEP if refused else 0)


def _refused(point: str, *, lazily: bool) -> OSError | None:
    """Unmount what was mounted last at that path; the kernel's answer where it does not."""
    answer = None
    for flags in (0, kernel.DETACH) if lazily else (0,):
        try:
            kernel.unmount(point, kernel.NO_LINK | flags)
        except OSError as error:
            answer = error
        else:
            return None
    return answer


def undo_path(name: str) -> None:
    """Delete the file or tree `name`, never through a mount or a symbolic link; idempotent.

    HostError where it is not ours or something is still mounted below it.
    """
    given = Path(name)
    path = given.parent.resolve() / given.name
    if not os.path.lexists(path):
        return
    if not ours(path) or path == state_dir().resolve():
        raise HostError(f"{path} was not made by this program", fix=f"delete {path} by hand, if it is yours")
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
            return
        busy = mounts_below(str(path), mounts()) or [str(d) for d in _directories(path) if os.path.ismount(d)]
        if busy:
            raise HostError(f"{busy[0]} is still mounted", fix=f"umount {busy[0]}")
        shutil.rmtree(path)
    except OSError as error:
        raise HostError(f"{path} cannot be deleted: {error.strerror}", fix=f"rm -r {path}") from error


def _directories(top: Path) -> Iterator[Path]:
    for directory, _, _ in os.walk(top, followlinks=False):
        yield Path(directory)


def tool(argv: Sequence[str], problem: str, *, fix: str = "") -> str:
    """Standard output of a system tool; HostError with `problem`, its message and `fix` otherwise."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE, process_group=0
        )
    except FileNotFoundError as error:
        raise HostError(
            f"{problem}: {argv[0]} is not installed", fix="apt-get install mount util-linux e2fsprogs"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise HostError(f"{problem}: {argv[0]} did not end within {DEADLINE:g} s", fix=fix) from error
    if done.returncode != 0:
        cause = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise HostError(f"{problem}: {cause}", fix=fix or "run as root")
    return done.stdout


# --- the root view ------------------------------------------------------------------------------


@contextlib.contextmanager
def hidden_below(directory: Path) -> Iterator[None]:
    """Within the block, what this thread and its children mount below `directory` is seen by them alone.

    A mount elsewhere still reaches the host where it lies below one that is shared.
    """
    flag = kernel.NAMESPACES["mnt"]
    with ExitStack() as stack:
        host, here = (_descriptor(name, stack) for name in ("/proc/thread-self/ns/mnt", "."))
        above = next(p for p in (directory, *directory.parents) if os.path.ismount(p))
        try:
            kernel.unshare(flag)
        except OSError as error:
            raise HostError(
                f"no mounts of our own can be had: {error.strerror}", fix="run as root"
            ) from error
        stack.callback(os.fchdir, here)  # setns(2) moves to the root
        stack.callback(kernel.enter, host, flag)
        # It refuses as long as a thread begun meanwhile shares root and working directory with this one.
        stack.callback(kernel.unshare, kernel.CLONE_FS)
        kernel.mount("none", str(above), "", kernel.SLAVE)
        yield


def _descriptor(name: str, stack: ExitStack) -> int:
    """A descriptor of it, closed with the stack."""
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


@contextlib.contextmanager
def root_view(image: Image, workloads: Path, scratch_base: Path, ledger: Ledger) -> Iterator[Path]:
    """A directory to chroot into: the image, /proc, /sys, /dev, /tmp, /workloads and /scratch.

    /scratch shows `scratch_base` together with whatever is mounted below it, now or later. Needs
    root; HostError says which mount was refused. Only this process and its children see the view: libvirt
    would take the control groups mounted in it for the host's.
    """
    scratch_base = claim(scratch_base)
    view = state_dir().resolve() / "roots" / f"{os.getpid()}-{uuid.uuid4().hex[:6]}"
    for wanted in ("proc", "sys", "dev", "tmp", "workloads", "scratch"):
        if not (image.root / wanted).is_dir():
            raise HostError(f"the image has no directory /{wanted}", fix="bench image build")
    slave = ("--rbind", "--make-rslave")  # an unmount here must never travel to the host's own mounts
    with ExitStack() as stack:
        entry = ledger.will_create("path", str(view))
        stack.callback(ledger.gone, entry)
        stack.callback(undo_path, str(view))
        view.mkdir(parents=True)
        # Shared on the host's side, so that a disk mounted below it later appears in the view too.
        stack.enter_context(mounted(scratch_base, ("--rbind", "--make-rshared"), ledger, str(scratch_base)))
        stack.enter_context(hidden_below(view))
        stack.enter_context(mounted(view, ("--bind", "-o", "ro"), ledger, str(image.root)))
        stack.enter_context(mounted(view / "proc", ("-t", "proc"), ledger, "proc"))
        stack.enter_context(mounted(view / "sys", slave, ledger, "/sys"))
        stack.enter_context(mounted(view / "dev", slave, ledger, "/dev"))
        stack.enter_context(mounted(view / "tmp", ("-t", "tmpfs", "-o", "mode=1777"), ledger, "tmpfs"))
        stack.enter_context(mounted(view / "workloads", ("--bind", "-o", "ro"), ledger, str(workloads)))
        stack.enter_context(mounted(view / "scratch", slave, ledger, str(scratch_base)))
        yield view


def inside(root: Path, host: Path) -> str:
    """The path that `host`, somewhere below the scratch base of `root`'s view, has inside that view."""
    for above in (host, *host.parents):
        with contextlib.suppress(OSError):
            if above.samefile(root / "scratch"):
                return str(Path("/scratch") / host.relative_to(above))
    raise HostError(
        f"{host} is not visible in {root}", fix="keep the scratch directories below the run's own"
    )
