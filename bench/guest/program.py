"""What a child becomes: a program with its arguments, environment, directory, user and control group."""

from __future__ import annotations

import os

from bench.guest import group

TYPE_CHECKING = False  # see `wire`
if TYPE_CHECKING:
    from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Program:
    """{argv, env?, cwd?, uid?, cgroup?}; ValueError where there is no program."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._argv = [os.fsencode(word) for word in asked["argv"]]
        given = asked.get("env") or {}
        self._env = {os.fsencode(k): os.fsencode(v) for k, v in given.items()}
        self._env.setdefault(b"PATH", PATH.encode())
        self._cwd = os.fsencode(asked.get("cwd") or "/")
        self._uid = asked.get("uid")
        self._cgroup = asked.get("cgroup")
        if not self._argv:
            raise ValueError("argv is empty")

    def become(self, report: int) -> None:
        """In the child: the group first, so that all it uses is counted there; then execve.

        What fails goes to the descriptor `report` as "ERRNO STEP: CAUSE"; it closes when all went well.
        """
        step = "join the cgroup"
        try:
            if self._cgroup:
                group.enter(self._cgroup)
            step = f"change to {os.fsdecode(self._cwd)}"
            os.chdir(self._cwd)
            if self._uid is not None:
                step = f"become user {self._uid}"
                os.setgroups([])
                os.setgid(self._uid)
                os.setuid(self._uid)
            step = f"start {os.fsdecode(self._argv[0])}"
            self._execute()
        except (OSError, ValueError) as error:  # ValueError: a zero byte in a word
            number, cause = getattr(error, "errno", 22), getattr(error, "strerror", None) or error
            os.write(report, f"{number} {step}: {cause}".encode(errors="replace")[:4000])
            os._exit(127)

    def _execute(self) -> None:
        """execvpe(3); the error is the first that tells more than that a directory lacks the program."""
        program = self._argv[0]
        if b"/" in program:
            os.execve(program, self._argv, self._env)  # noqa: S606 - the point of it all
        telling: OSError | None = None
        for directory in self._env[b"PATH"].split(b":"):
            try:
                os.execve(directory + b"/" + program, self._argv, self._env)  # noqa: S606
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                telling = telling or error
        raise telling or FileNotFoundError(2, "No such file or directory in PATH")
