"""bench: does each runtime deliver the limit that was asked for, on this machine?"""

from __future__ import annotations

TYPE_CHECKING = False  # of `typing`, whose import would double the start of a guest's agent
if TYPE_CHECKING:
    from pathlib import Path

    from bench.frames import Run

__version__ = "0.1.0"


def load(run: str | Path) -> Run:
    """A run directory as DataFrames: `.trials`, `.observations`, `.samples`, `.findings`.

    Units of the columns are in each frame's `attrs["units"]`. Raises RunFormatError.
    """
    from bench.frames import load as load_run

    return load_run(run)
