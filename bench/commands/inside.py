"""The guest's half of `bench run --on`: it carries out the plan and sends out what is finished."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from bench.commands import conduct
from bench.commands.progress import Display
from bench.transport import Sender


def carry_out(runs: Path, resume: Path | None, run_id: str | None, options: dict[str, Any]) -> int:
    """Carry out a new or unfinished run and write its files to standard output as they become whole.

    Nothing is judged here. Returns 130 where it was interrupted, else 0.
    """
    with os.fdopen(os.dup(1), "wb") as stream:
        sys.stdout.flush()
        os.dup2(2, 1)  # nothing else may get into the stream
        with conduct.opened(runs, resume, options, run_id) as (directory, host):
            sender = Sender(directory, stream)
            if resume is None:
                sender.begin()
            try:
                with Display(directory) as display:
                    interrupted = conduct.carry_out(directory, host, display, sender.trial)
            finally:
                sender.plan()
    return 130 if interrupted else 0
