"""What a guest's kernel wrote to its serial console, for whoever wonders why the guest does not answer."""

from __future__ import annotations

from pathlib import Path

LAST_LINES = 12
FATAL = ("Kernel panic", "isobench: cannot boot", "soft lockup")
"""Words of a line that says why a guest goes no further. Of the last: a CPU that an emulator runs no more."""
_READ = 32768
"""Bytes of the end of a log that are looked at."""


def lines(serial: Path | None) -> list[str]:
    """The last lines of that log without what cannot be printed; none for silence."""
    if serial is None:
        return []
    try:
        text = serial.read_bytes()[-_READ:].decode(errors="replace")
    except OSError:
        return []
    said = ["".join(c for c in line if c.isprintable()).rstrip() for line in text.splitlines()]
    return [line for line in said if line]


def last_words(serial: Path | None) -> str:
    """What a serial console's log ends with, a line each; of a panic its first one too. Empty for silence."""
    said = lines(serial)
    first = next((line for line in said if any(word in line for word in FATAL)), None)
    kept = said[-LAST_LINES:]
    kept = [first, *kept] if first and first not in kept else kept
    return "".join(f"\n    console: {line}" for line in kept)


def complaint(serial: Path | None) -> str:
    """The last line that says why the guest goes no further; "" where there is none."""
    return next((line for line in reversed(lines(serial)) if any(word in line for word in FATAL)), "")
