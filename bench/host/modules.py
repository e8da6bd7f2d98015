"""Whether the running kernel has a part of its own, told without asking for it."""

from __future__ import annotations

import os
from pathlib import Path


def has(name: str, root: Path = Path("/")) -> bool | None:
    """Whether module `name` is built in, loaded, or there to be loaded; None where nothing tells.

    A part that is built in or loaded has symbols in /proc/kallsyms, which everybody may read (addresses
    apart). What can be loaded is in modules.dep (depmod(8)) of the kernel that runs.
    """
    prefix = f" {name}_"
    try:
        with (root / "proc/kallsyms").open() as symbols:
            if any(prefix in line for line in symbols):
                return True
    except OSError:
        pass  # a kernel without CONFIG_KALLSYMS
    try:
        listed = (root / "lib/modules" / os.uname().release / "modules.dep").read_text()
    except OSError:
        return None
    names = {Path(line.partition(":")[0]).name.partition(".")[0] for line in listed.splitlines()}
    return name in {n.replace("-", "_") for n in names}
