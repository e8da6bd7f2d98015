"""Where files lie, in words: one sentence for each spot, and one for the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.analysis import durability
from bench.analysis.overhead_words import EMULATED, change, said
from bench.analysis.places import Spot, Work
from bench.analysis.steps import Step
from bench.analysis.wording import sentence
from bench.places import BIND, ROOT, TITLES, TMPFS

OVER = {
    BIND: "over the raw process in a host directory", ROOT: "over the raw process on an overlay",
    TMPFS: "over the raw process on a tmpfs",
}  # fmt: skip
"""What the boundary adds to, by the place of the raw process."""
HALF = 0.5
CONTROL = "the control, at the start and at the end of every block"


def title(spot: Spot) -> str:
    """The place of a spot: "own root (overlay)", "qcow2 disk"."""
    return place_title(spot.place, [spot])


def place_title(place: str, spots: Iterable[Spot]) -> str:
    """A place, of a root with what it is: on the host's own kernel, where one of those spots is on it."""
    of = [s for s in spots if s.place == place and s.seen.kind]
    kinds = dict.fromkeys(s.seen.kind for s in [s for s in of if not s.own_kernel] or of)
    return f"{TITLES[place]} ({', '.join(kinds)})" if place == ROOT and kinds else TITLES[place]


def of_spot(spot: Spot) -> str:
    """One spot in a sentence: what its place costs, what the boundary adds, where it really was."""
    parts = [CONTROL if spot.control and spot.values else ""]
    if spot.total:
        parts.append(f"the place: {said(spot.total, OVER[BIND])}")
    if spot.alike and spot.beside != BIND:
        parts.append(f"the boundary: {said(spot.alike, OVER[spot.beside])}")
    parts += [spot.why, _seen(spot)]
    parts.append(spot.durability.reason if spot.durability else "")
    parts.append(EMULATED if spot.emulated else "")
    parts.append(f"{spot.broken} trials broke" if spot.broken else "")
    return sentence(parts)


def _seen(spot: Spot) -> str:
    seen = spot.seen
    where = f"seen inside as {seen.kind} at {seen.mount}" if seen.kind else ""
    disk = f"{seen.format} file, QEMU's cache mode {seen.cache}" if seen.format else ""
    return ", ".join(filter(None, (where, disk)))


def conclusion(found: Sequence[Work]) -> str:
    """What the place costs the raw process alone, what boundaries add, and whose disks are not waited for."""
    spots = [(work, spot) for work in found for spot in work.spots if spot.total and not spot.emulated]
    if not found:
        return ""
    if not spots:
        return "Where files lie was measured in one place alone." + _not_durable(found)
    of_process = [(work, spot, spot.total) for work, spot in spots if spot.alike is None]
    of_others = [(work, spot, spot.alike) for work, spot in spots if spot.alike is not None]
    return f"Where a file lies: {_places(of_process)}; {_boundaries(of_others)}.{_not_durable(found)}"


Named = tuple[Work, Spot, Step | None]


def _places(of: Sequence[Named]) -> str:
    """What moving the files costs and saves without any boundary."""
    if not of:
        return "the raw process was measured in one place alone"
    parts: list[str] = []
    for word, pick in (("costs", max), ("saves", min)):
        sure = [(x.ratio.estimate, i) for i, (_, _, x) in enumerate(of) if x and x.word == word]
        if sure:
            work, spot, step = of[pick(sure)[1]]
            assert step
            whose = "its" if parts else "the raw process's"
            parts.append(f"{_article(spot)} {_moves(step, whose)} ({_what(work)}{_ends(step)})")
    return " and ".join(parts) or f"no place surely costs the raw process anything{_open(of)}"


def _boundaries(of: Sequence[Named]) -> str:
    """What boundaries add on the same kind of file system."""
    sure = [(x.ratio.estimate, i) for i, (_, _, x) in enumerate(of) if x and x.word == "costs"]
    if not of:
        return "no boundary was measured beside it"
    if not sure:
        return f"on the same file system no boundary surely adds time{_open(of)}"
    work, spot, step = of[max(sure)[1]]
    assert step
    most = f"{spot.name} on {_article(spot)} ({_what(work)}: {change(step.ratio.estimate)}{_ends(step)})"
    return f"on the same file system a boundary adds time in {len(sure)} of {len(of)} cases, most {most}"


def _open(of: Sequence[Named]) -> str:
    """How many cases are undecided, as the end of a clause; "" where all are decided."""
    count = sum(step.word == "inconclusive" for _, _, step in of if step)
    return f" ({count} of {len(of)} cases are undecided)" if count else ""


def _not_durable(found: Sequence[Work]) -> str:
    # Where one kind of work was not done on a disk, what is known of it is from another kind.
    spots = [(s, why) for work in found for s in work.spots if s.durable is False and (why := _why(s))]
    seen = {(s.runtime, s.place): f"{s.name} on its {title(s)} ({why})" for s, why in spots}
    if not seen:
        return ""
    return f" Not durable, as a flush is not waited for: {'; '.join(seen.values())}."


def _why(spot: Spot) -> str:
    ratio = spot.durability.ratio if spot.durability else None
    mode = f"QEMU's cache mode {spot.seen.cache}" if spot.seen.cache == durability.IGNORES_FLUSHES else ""
    much = f"{ratio:.3g} × the host's fsyncs" if ratio and ratio > durability.MOST else ""
    return ", ".join(filter(None, (much, mode)))


def _article(spot: Spot) -> str:
    return {ROOT: "an overlay" if spot.seen.kind == "overlay" else "its own root", TMPFS: "a tmpfs"}.get(
        spot.place, f"a {TITLES[spot.place]}"
    )


def _moves(step: Step, whose: str) -> str:
    """What a place does to a time, as a clause."""
    ratio = step.ratio.estimate
    if ratio <= HALF:
        return f"divides {whose} time by {1 / ratio:.3g}"
    return f"{'adds to' if ratio > 1 else 'takes off'} {whose} time {change(ratio)}"


def _ends(step: Step) -> str:
    """The interval of a step, after a comma; "" where there is none."""
    low, high = step.ratio.low, step.ratio.high
    return "" if low is None or high is None else f", 95 % {times(low)} … {times(high)}"


def times(ratio: float) -> str:
    """A multiple of the time in a few characters: "÷ 126" up to a half, else as `change` has it."""
    return f"÷ {1 / ratio:.{0 if 1 / ratio >= 10 else 1}f}" if ratio <= HALF else change(ratio)


def _what(work: Work) -> str:
    return work.title.removesuffix(", by place").lower()
