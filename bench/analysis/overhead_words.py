"""What is said of the steps of a ladder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.analysis.ladder import Ladder, Level
from bench.analysis.steps import Step, Word
from bench.analysis.wording import sentence

EMULATED = "on an emulated CPU: its speed is the emulator's, and says nothing of what a machine costs"


def change(ratio: float) -> str:
    """A multiple of the time as what is more or less: "+4.1 %", "−2 %", "×3.2" from twice on."""
    if ratio >= 2:
        return f"×{ratio:.3g}"
    percent = 100 * (ratio - 1)
    text = f"{percent:+.1f}" if abs(percent) < 9.95 else f"{percent:+.0f}"
    return "0 %" if float(text) == 0 else f"{text} %".replace("-", "−")


def span(step: Step) -> str:
    """The 95 % interval of a step in words; "" where there is none."""
    low, high = step.ratio.low, step.ratio.high
    return "" if low is None or high is None else f"95 % {change(low)} … {change(high)}"


def bound(share: float) -> str:
    """A bound in words, rounded up so that it still holds: "3 %", "4.2 %", "×3.5" from twice on."""
    if share >= 1:
        return f"×{math.ceil((1 + share) * 10) / 10:g}"
    percent = math.ceil(share * 1000 - 1e-6) / 10
    return f"{percent:g} %" if percent < 10 else f"{math.ceil(percent)} %"


def said(step: Step, under: str) -> str:
    """What a step costs, as a clause; `under` is what it stands on, as `over` says it."""
    what = f"{change(step.ratio.estimate)} {under}"
    inner = f" ({span(step)})" if span(step) else ""
    if step.word == "none":
        seen = f"{change(step.ratio.estimate)}, {span(step)}"
        return f"no measurable cost {under} (below {bound(step.bound)}; seen {seen})"
    if step.word == "inconclusive":
        if step.detectable is None:
            return f"undecided: {what}; {step.ratio.n} blocks are too few for an interval"
        return f"undecided: {what}{inner}; a cost of {bound(step.detectable)} would have been seen"
    return f"{what}{inner}"


def of_level(ladder: Ladder, level: Level) -> str:
    """One rung in a sentence: its step, its distance from the bottom, and what to know of its trials."""
    parts = []
    if level.step and level.total:
        parts.append(said(level.step, over(ladder, level.step)))
        if level.total.against != level.step.against:
            parts.append(said(level.total, over(ladder, level.total)))
        if ladder.control.unstable and level.stable is not None:
            parts.append(f"{change(level.stable)} without the blocks that drifted")
    parts.append(level.durability.reason if level.durability else "")
    parts.append(EMULATED if level.emulated else "")
    parts.append(f"{level.broken} trials broke" if level.broken else "")
    return sentence(parts)


def over(ladder: Ladder, step: Step) -> str:
    """What a step stands on, as the end of a clause: "over the raw process", "on top of cgroup"."""
    rung = next(level.rung for level in ladder.levels if level.rung.runtime == step.against)
    return f"on top of {bare(rung.title)}" if rung.below else f"over the {rung.title}"


def bare(title: str) -> str:
    """The title of a rung within a sentence."""
    return title.removeprefix("+ ")


def conclusion(found: Sequence[Ladder]) -> str:
    """What costs most, what costs most within the first group of rungs, and how many steps are decided."""
    steps = [(of, level) for of in found for level in of.levels if level.step and not level.emulated]
    if not steps and any(level.step for of in found for level in of.levels):
        return (
            "Every rung was measured on an emulated CPU, whose speed says nothing of what a boundary costs."
        )
    if not steps:
        return "No rung was measured beside the raw process."
    groups: dict[str, list[tuple[Ladder, Level]]] = {}
    for pair in steps:
        groups.setdefault(pair[1].rung.group, []).append(pair)
    top = _dearest(steps)
    parts = []
    if top is not None:
        parts.append(f"What costs most is {_named(*top)}")
    for group, of in list(groups.items())[:1]:
        most = _dearest(of)
        if most is None:
            parts.append(f"Of {group}, none has a cost that was seen")
        elif most[1] is not (top and top[1]):
            parts.append(f"Of {group}, {_named(*most)} costs most")
    return ". ".join([*parts, _counted(steps), _drifted(found)]).rstrip(". ") + "."


def emulation(found: Sequence[Ladder]) -> str:
    """What to know of rungs on an emulated CPU; "" where there are none."""
    names = list(dict.fromkeys(level.rung.title for of in found for level in of.levels if level.emulated))
    if not names:
        return ""
    return (
        f"{', '.join(names)}: on an emulated CPU (no usable KVM on this host). They are shown apart, and are "
        "no part of any statement on what machines cost."
    )


def _dearest(steps: Sequence[tuple[Ladder, Level]]) -> tuple[Ladder, Level] | None:
    costly = [(of, level) for of, level in steps if level.step and level.step.word == "costs"]
    return max(costly, key=lambda pair: pair[1].step.ratio.estimate if pair[1].step else 0.0, default=None)


def _named(ladder: Ladder, level: Level) -> str:
    step = level.step
    assert step
    title = bare(level.rung.title)
    return (f"{title} ({ladder.experiment.title.lower()}: {change(step.ratio.estimate)} "
            f"{over(ladder, step)}, {span(step)})")  # fmt: skip


def _counted(steps: Sequence[tuple[Ladder, Level]]) -> str:
    words: Mapping[Word, str] = {
        "costs": "cost", "saves": "save", "none": "have no measurable cost", "inconclusive": "are undecided",
    }  # fmt: skip
    found = [level.step.word for _, level in steps if level.step]
    counts = [f"{found.count(w)} {text}" for w, text in words.items() if found.count(w)]
    return f"Of {len(found)} steps {', '.join(counts)}"


def _drifted(found: Sequence[Ladder]) -> str:
    unstable, every = (
        sum(len(of.control.unstable) for of in found),
        sum(len(of.control.drift) for of in found),
    )
    return f"The raw process drifted by more than 5 % within {unstable} of {every} blocks" if unstable else ""
