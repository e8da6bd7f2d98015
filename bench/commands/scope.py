"""A cgroup of one's own for an ordinary user: the command starts again inside a delegated systemd scope."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from bench.host import cgroups

MARK = "ISOBENCH_IN_SCOPE"
"""Set in the environment of the second start, so that there is no third."""
SYSTEMD_RUN = ("systemd-run", "--user", "--scope", "--quiet", "--property=Delegate=yes")
PATIENCE = 10.0
"""Seconds a user's service manager has to answer."""


def enter(arguments: Sequence[str]) -> None:
    """Replace this process by the same command in a scope, where that would give it cgroups; else return.

    Where the user's service manager refuses, its own words are printed and the run goes on without
    cgroups, each cell saying so.
    """
    if os.geteuid() == 0 or cgroups.detect().refuses() is None:
        return
    command = wrapped(arguments, os.environ)
    if command is None:
        return
    refusal = _refusal()
    if refusal:
        click.echo(f"bench: no delegated scope from systemd: {refusal}", err=True)
        return
    os.execvpe(command[0], command, {**os.environ, MARK: "1"})  # noqa: S606 - argv, no shell


def wrapped(
    arguments: Sequence[str], environment: Mapping[str, str], root: Path = Path("/")
) -> list[str] | None:
    """The command that opens the scope; None where no service manager of this user is at hand.

    `arguments` are those of `bench` without the program's name.
    """
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    bus = root / runtime.lstrip("/") / "bus"
    if environment.get(MARK) or not runtime or not bus.exists():
        return None
    if not (root / "run/systemd/system").is_dir() or not shutil.which("systemd-run"):
        return None
    return [*SYSTEMD_RUN, sys.executable, "-m", "bench", *arguments]


def _refusal() -> str:
    """Why the service manager opens no scope, in its words; "" where it does."""
    try:
        tried = subprocess.run(
            [*SYSTEMD_RUN, "true"], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = tried.stderr.strip().splitlines() or ["it gave no reason"]
    return "" if tried.returncode == 0 else said[-1]
