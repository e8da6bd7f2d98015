"""What a parked process runs while it waits: a Python with nothing in it, started as a script.

`python -I -S stub.py COMMAND REPORT` takes its place (cgroups, root), writes "+" to the descriptor
REPORT, waits for the command on COMMAND, and becomes it with one execve. It imports built-in modules
only: what it holds in memory has to be torn down in the timed part of a start.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself would import much more
import posix
import sys


def message(*fields: bytes) -> bytes:
    """The wire form of some fields: the length of the rest in 8 bytes, then the NUL-joined fields."""
    body = b"\0".join(fields)
    return len(body).to_bytes(8, "big") + body


def receive(fd: int) -> list[bytes]:
    """The fields of one message; ends this process at once where the writer is gone."""
    return _exactly(fd, int.from_bytes(_exactly(fd, 8), "big")).split(b"\0")


def command(fields: list[bytes]) -> tuple[bytes, list[bytes], dict[bytes, bytes]]:
    """Working directory, argv and environment of a message: cwd, argc, argv…, KEY=VALUE… ."""
    count = int(fields[1])
    return fields[0], fields[2 : 2 + count], dict(pair.split(b"=", 1) for pair in fields[2 + count :])


def _exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = posix.read(fd, size - len(data))
        if not chunk:
            posix._exit(0)
        data += chunk
    return data


def _put(path: bytes, data: bytes) -> None:
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    posix.write(fd, data)
    posix.close(fd)


def _execute(argv: list[bytes], env: dict[bytes, bytes]) -> None:
    """execvpe(3); the error is the first that tells more than that a directory lacks the program."""
    program = argv[0]
    if b"/" in program:
        posix.execve(program, argv, env)
    telling: OSError | None = None
    for directory in env.get(b"PATH", b"/usr/bin:/bin").split(b":"):
        try:
            posix.execve(directory + b"/" + program, argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            telling = telling or error
    raise telling or FileNotFoundError(2, "No such file or directory in PATH")


def main(wait: int, report: int) -> None:
    """Take the place, report, become the command. Returns only after reporting an error."""
    step = b"the place"
    try:
        for number in _signal.valid_signals():  # Python ignores SIGPIPE and the workload must not
            if number not in (_signal.SIGKILL, _signal.SIGSTOP):
                _signal.signal(number, _signal.SIG_DFL)
        for fd in (wait, report):
            posix.set_inheritable(fd, False)
        score, root, *attach = receive(wait)
        if score:
            step = b"oom_score_adj"
            _put(b"/proc/self/oom_score_adj", score)
        for file in attach:
            step = b"join " + file
            _put(file, b"0")
        if root:
            step = b"chroot to " + root
            posix.chroot(root)
        posix.chdir(b"/")
        posix.write(report, b"+")
        step = b"the command"
        cwd, argv, env = command(receive(wait))
        step = b"change to " + cwd
        posix.chdir(cwd)
        step = b"execve"
        _execute(argv, env)
    except Exception as error:
        cause = getattr(error, "strerror", None) or repr(error)
        posix.write(report, step[:3000] + b": " + cause.encode()[:1000])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
    posix._exit(127)
