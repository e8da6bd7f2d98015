"""The text formats of cgroup files, both ways; pure.

Source: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping

# memory.limit_in_bytes of v1 holds (LONG_MAX / page size) pages when unlimited; any value near that is none.
V1_UNLIMITED = 2**62


def number(text: str) -> int | None:
    """The integer of a one-value file; None for "max" and for -1, the two spellings of no limit."""
    word = text.split()[-1] if text.split() else ""
    return None if word in ("max", "-1") else int(word)


def flat(text: str) -> dict[str, int]:
    """A flat keyed file such as memory.stat as numbers by key; lines of another shape are left out."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        key, _, value = line.rpartition(" ")
        if key and value.isdigit():
            found[key] = int(value)
    return found


def nested(text: str) -> dict[str, dict[str, str]]:
    """A nested keyed file such as io.max: {"8:0": {"rbps": "1048576", "wbps": "max"}}."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        first, *pairs = words
        found[first] = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return found


def per_device(text: str) -> dict[str, int]:
    """A v1 per-device file such as blkio.throttle.read_bps_device: {"8:0": 1048576}."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[1].isdigit():
            found[words[0]] = int(words[1])
    return found


def operations(text: str) -> dict[str, int]:
    """Sums over devices of a v1 "MAJ:MIN Operation N" file: {"Read": 4096, "Write": 0}; "Total" is left out.

    A group that never did IO has only the total, which is 0, so both sums are 0 then.
    """
    sums = {"Read": 0, "Write": 0}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in sums:
            sums[words[1]] += int(words[2])
    return sums


def pressure(text: str) -> dict[str, float]:
    """Seconds of stall from a pressure file: {"some": 1.25, "full": 0.5}; the file counts microseconds."""
    return {kind: int(fields["total"]) / 1e6 for kind, fields in nested(text).items() if "total" in fields}


def io_max(device: str, values: Mapping[str, int]) -> str:
    """The line to write to io.max: "8:0 rbps=1048576 wiops=100"."""
    return f"{device} " + " ".join(f"{key}={value}" for key, value in values.items())
