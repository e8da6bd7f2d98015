"""This program in a process of its own, so that the one that runs trials stays light."""

from __future__ import annotations

import subprocess
import sys

from bench.errors import BenchError

DEADLINE = 600.0
"""Seconds that an analysis or a report may take."""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """`bench WORDS`, ended. BenchError where it takes longer than DEADLINE.

    It has a session of its own: the terminal's Ctrl-C is for the caller, which finishes in order.
    """
    argv = [sys.executable, "-m", "bench", *words]
    try:
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=DEADLINE, check=False, start_new_session=True
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(
            f"bench {words[0]} did not end within {DEADLINE:.0f} s", fix=f"bench {' '.join(words)}"
        ) from error
