"""P23, what of P25 instances can show, and two predicates on ways of counting memory, held against a run.

Memory is not speed: what an emulated machine takes is taken, so machines are judged here whatever runs their
CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.analysis.claims import Cited, Evaluated, Said, Word, bound
from bench.analysis.crowds import AVAILABLE, DISK, PSS, RSS, Crowd, crowds, slopes
from bench.analysis.stats import interval
from bench.frames import Run
from bench.model import Interval
from bench.published import rows

MB = 1e6
SECTION = "idle"
CONTAINER, GVISOR, MACHINES = "runc", "docker:runsc", ("libvirt:micro", "libvirt:full", "libvirt", "vagrant")
LEAST_MACHINE, MOST_CONTAINER, GVISOR_ADDS = 60 * MB, 10 * MB, (10 * MB, 40 * MB)
Blocks = Mapping[int, float]


_CONTAINERS = rows("GVD-04..05 VIK-07 YOU-23 LVM-09")
_RUNC = Cited(_CONTAINERS, (("GVD-04", ""),))
_GVISOR = Cited(_CONTAINERS)
_ADDS = Cited(_CONTAINERS, (("VIK-07", ""), ("YOU-23", "")))
_KATA = rows("RUN-25..28")
_MACHINE = Cited(rows("VIK-08 RUN-25..40 LVM-07..08"), (("VIK-08", ""), *((row, "") for row in _KATA)))
_FIRST = Cited(rows("RUN-25..40"))
_WRITTEN = Cited(rows("SHA-26"), (("SHA-26", ""),))
_COUNTING = Cited(
    by="how the kernel counts: RSS has shared pages in each process, and PSS nothing of the kernel",
    severity="must",
)


def evaluate(run: Run) -> list[Evaluated]:
    """Every claim, in the order of the predicates."""
    found = crowds(run)
    emulated = frozenset(run.plan.emulated)
    runtimes = [r for r in run.plan.runtimes if any(c.runtime == r for c in found)]
    return [*_marginal(found, runtimes, emulated), *_counting(found, runtimes), *_disk(found, runtimes)]


def _marginal(
    found: Sequence[Crowd], runtimes: Sequence[str], emulated: frozenset[str]
) -> Iterator[Evaluated]:
    memory = {r: slopes(found, r, SECTION, AVAILABLE) for r in runtimes}
    runc, gvisor = memory.get(CONTAINER, {}), memory.get(GVISOR, {})
    machine = next((r for r in MACHINES if memory.get(r)), MACHINES[0])
    note = ", on an emulated CPU: its memory is real" if machine in emulated else ""
    yield _held(
        "P23",
        f"one more {CONTAINER} container takes less than 10 MB",
        _RUNC,
        runc,
        f"{CONTAINER} was not measured",
        most=MOST_CONTAINER,
        short=f"one more {CONTAINER}",
    )
    yield _held(
        "P23",
        f"one more container of {GVISOR} takes more than one of {CONTAINER}",
        _GVISOR,
        _less(gvisor, runc),
        f"{CONTAINER} and {GVISOR} were not both measured",
        least=0.0,
        strict=True,
    )
    yield _between(_less(gvisor, memory.get("docker", {})))
    yield _held(
        "P23",
        f"one more machine ({machine}{note}) takes at least 60 MB",
        _MACHINE,
        memory.get(machine, {}),
        "no machine was measured",
        least=LEAST_MACHINE,
        short=f"one more {machine}",
    )
    yield _held(
        "P23",
        f"one more machine ({machine}{note}) takes more than one more container of {GVISOR}",
        _MACHINE,
        _less(memory.get(machine, {}), gvisor),
        f"a machine and {GVISOR} were not both measured",
        least=0.0,
        strict=True,
    )
    for runtime in runtimes:
        first = {
            c.block: v
            for c in found
            if (c.runtime, c.section) == (runtime, SECTION) and (v := c.first(PSS)) is not None
        }
        yield _held(
            "P23",
            f"in {runtime} a further instance takes less PSS than the first",
            _FIRST,
            _less(first, slopes(found, runtime, SECTION, PSS)),
            "PSS was not read",
            least=0.0,
            strict=True,
        )


def _between(added: Blocks) -> Evaluated:
    """Two bounds at once: clear of both, or beyond one of them."""
    low, high = GVISOR_ADDS
    said = Said("P23", "gVisor adds 10 to 40 MB to one more container of docker", _ADDS, "gVisor adds")
    measured = interval(list(added.values()))
    above, below = bound(measured, least=low), bound(measured, most=high)
    word: Word = "inconclusive"
    if "not applicable" in (above, below):
        return Evaluated(said, "not applicable", None, f"docker and {GVISOR} were not both measured")
    if above == below == "reproduced":
        word = "reproduced"
    elif "inverted" in (above, below):
        word = "inverted"
    return Evaluated(said, word, measured, _shown(measured), "bytes", GVISOR_ADDS)


def _counting(found: Sequence[Crowd], runtimes: Sequence[str]) -> Iterator[Evaluated]:
    for more, words in ((RSS, "RSS"), (AVAILABLE, "MemAvailable")):
        for runtime in runtimes:
            difference = _less(slopes(found, runtime, SECTION, more), slopes(found, runtime, SECTION, PSS))
            yield _held(
                "counting",
                f"in {runtime} one more instance takes at least as much {words} as PSS",
                _COUNTING,
                difference,
                "one of them was not read",
                least=0.0,
            )


def _disk(found: Sequence[Crowd], runtimes: Sequence[str]) -> Iterator[Evaluated]:
    written = {r: blocks for r in runtimes if (blocks := slopes(found, r, SECTION, DISK))}
    for runtime in [r for r in written if r.partition(":")[0] == "docker"] or ["docker"]:
        yield _held(
            "P25",
            f"one more container of {runtime} takes less than 1 MB of disk",
            _WRITTEN,
            written.get(runtime, {}),
            "no container with a writable layer was measured",
            most=1 * MB,
            short=f"disk of one more {runtime}",
        )


def _less(one: Blocks, other: Blocks) -> Blocks:
    """The difference within blocks."""
    return {b: one[b] - other[b] for b in sorted(one.keys() & other.keys())}


def _held(
    id_: str,
    text: str,
    cited: Cited,
    blocks: Blocks,
    missing: str,
    *,
    least: float | None = None,
    most: float | None = None,
    strict: bool = False,
    short: str = "",
) -> Evaluated:
    measured = interval(list(blocks.values()))
    word = bound(measured, least, most)
    if strict and word == "reproduced" and measured is not None and measured.low == least:
        word = "inconclusive"  # more is claimed, not as much
    return Evaluated(
        Said(id_, text, cited, short),
        word,
        measured,
        missing if measured is None else _shown(measured),
        "bytes",
        (least, most),
    )


def _shown(found: Interval | None) -> str:
    if found is None:
        return ""
    if found.low is None or found.high is None:
        return f"{_megabytes(found.estimate)}; too few blocks for an interval"
    low, high = (_megabytes(end) for end in (found.low, found.high))
    return f"{_megabytes(found.estimate)}, 95 % {low.removesuffix(' MB')} … {high}, {found.n} blocks"


def _megabytes(size: float) -> str:
    return f"{size / MB:.3g} MB".replace("-", "−")
