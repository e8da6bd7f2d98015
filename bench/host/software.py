"""Versions of the programs that runtimes are carried out by."""

from __future__ import annotations

from pathlib import Path

from bench.errors import HostError
from bench.host.mounts import tool


def version(command: str) -> dict[str, str]:
    """The last word of the first line of `--version`, by the program's name; {} where it says nothing.

    bwrap, runc, crun and runsc all say it so.
    """
    try:
        said = tool([command, "--version"], f"{command} does not say its version")
    except HostError:
        return {}
    words = said.partition("\n")[0].split()
    return {Path(command).name: words[-1]} if words else {}
