"""Files and trees between host and guest. What comes out of a guest is not trusted."""

from __future__ import annotations

import os
import select
import tarfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from bench.errors import HostError, SandboxError
from bench.guest.mux import Sink
from bench.host.vm.request import Download, Upload

if TYPE_CHECKING:
    from bench.guest.mux import Lane
    from bench.host.vm.channel import Channel

_LONGEST = 3000
"""Longest path taken from a guest: far below PATH_MAX, beyond which links are no longer followed."""


def write(channel: Channel, path: str, data: bytes, mode: int, deadline: float) -> None:
    """Write a file of the guest."""
    asked = {"op": "write", "path": path, "mode": mode, "size": len(data)}
    _upload(channel, asked, lambda pipe: pipe.write(data), deadline)


def put(channel: Channel, source: Path, directory: str, deadline: float) -> None:
    """Copy what is in `source` into the guest's `directory`, with modes and links."""

    def pack(pipe: Any) -> None:
        try:
            with tarfile.open(fileobj=pipe, mode="w|") as tar:
                for entry in sorted(source.iterdir()):
                    tar.add(entry, arcname=entry.name)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise HostError(f"cannot read {source}: {error}", fix="check its path and permissions") from error

    _upload(channel, {"op": "put", "directory": directory}, pack, deadline)


def _upload(
    channel: Channel, asked: dict[str, object], fill: Callable[[_Pipe], object], deadline: float
) -> None:
    ends = monotonic() + deadline
    upload = channel.open(asked, lambda lane: Upload(channel, lane))
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pipe = _Pipe(writing, ends, channel.guest)
    upload.begin(reading)
    try:
        fill(pipe)
    except BrokenPipeError:
        pass  # the agent refused: its RESULT says why
    except BaseException:
        upload.cancel()
        raise
    finally:
        pipe.close()
    upload.wait(max(0.1, ends - monotonic()))


def get(channel: Channel, directory: str, target: Path, deadline: float) -> None:
    """Copy what is in the guest's `directory` into `target`, which is made."""
    ends = monotonic() + deadline
    reading, writing = os.pipe2(os.O_CLOEXEC)

    def make(lane: Lane) -> Download:
        download = Download(channel, lane)
        download.sink = Sink(lane, writing)
        return download

    try:
        download = channel.open({"op": "get", "directory": directory}, make)
    except BaseException:
        os.close(reading)
        os.close(writing)
        raise
    pipe: Any = _Pipe(reading, ends, channel.guest)
    try:
        with tarfile.open(fileobj=pipe, mode="r|") as tar:
            extract(tar, target)
    except tarfile.ReadError as error:  # the agent's own error says more than an archive that ends too soon
        download.wait(max(0.1, ends - monotonic()))
        raise SandboxError(f"{channel.guest} sent a broken archive of {directory}: {error}") from error
    except BaseException:
        download.cancel()
        raise
    finally:
        pipe.close()
    download.wait(max(0.1, ends - monotonic()))


def extract(tar: tarfile.TarFile, target: Path) -> None:
    """Unpack an archive that is not trusted: plain files, directories and links that stay inside `target`.

    Owners are not taken over, set-user-ID bits are dropped. SandboxError where a member would leave, is a
    device, or goes through a link.
    """
    target.mkdir(parents=True, exist_ok=True)
    root = os.path.realpath(target)
    for member in tar:
        path = _checked(member, root)
        member.uid, member.gid, member.uname, member.gname = os.geteuid(), os.getegid(), "", ""
        member.mode = member.mode & 0o777 | (0o700 if member.isdir() else 0o600)
        try:
            if not member.isdir():
                path.unlink(missing_ok=True)  # never write through a link that lies there
            tar.extract(member, root, numeric_owner=True, **_TRUSTED)
        except OSError as error:
            raise HostError(
                f"cannot write {member.name!r} below {target}: {error.strerror}",
                fix="check space and permissions",
            ) from error


_TRUSTED: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
"""Newer Pythons ask for a filter; ours is `_checked`, and stricter."""


def _checked(member: tarfile.TarInfo, root: str) -> Path:
    """The path it would have; SandboxError where it may not have it."""
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    path = Path(root, *parts)
    links = [Path(root, *parts[:n]) for n in range(1, len(parts) + member.isdir())]
    leads = path.parent / member.linkname if member.issym() else Path(root, member.linkname)
    fault = ""
    if member.name.startswith("/") or ".." in parts or "\0" in member.name or len(str(path)) > _LONGEST:
        fault = "its path leaves the directory or is too long"
    elif not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        fault = "it is a device, a pipe or the like"
    elif any(link.is_symlink() for link in links):
        fault = "its path goes through a link"
    elif member.linkname and not _inside(leads, root):
        fault = f"it is a link to {member.linkname!r}, outside"
    if fault:
        raise SandboxError(
            f"the guest sent {member.name!r}, which is refused: {fault}",
            fix="do not trust what this guest produced",
        )
    return path


def _inside(path: Path, root: str) -> bool:
    return len(str(path)) <= _LONGEST and os.path.commonpath((os.path.realpath(path), root)) == root


class _Pipe:
    """One end of a pipe as a file that gives up at a deadline."""

    def __init__(self, fd: int, ends: float, guest: str) -> None:
        os.set_blocking(fd, False)
        self._fd, self._ends, self._guest = fd, ends, guest

    def write(self, data: bytes) -> int:
        """Write all of it; BrokenPipeError where the channel has given up."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                self._wait(select.POLLOUT)
        return len(data)

    def read(self, size: int) -> bytes:
        """Up to that many bytes; none at the end."""
        while True:
            try:
                return os.read(self._fd, size)
            except BlockingIOError:
                self._wait(select.POLLIN)

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._fd, event)
        if not poll.poll(max(0.0, self._ends - monotonic()) * 1000):
            raise SandboxError(
                f"{self._guest} did not take or send the files in time", fix="raise the deadline"
            )

    def close(self) -> None:
        """Close this end."""
        os.close(self._fd)
