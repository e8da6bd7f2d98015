"""Markdown for a pull request or GitHub's step summary: the outcome first, then what it rests on.

GitHub Flavored Markdown. Names and reasons come from outside: everything that means something to Markdown or
HTML is escaped, and no text of theirs becomes a link, an image or a mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.exchange import Starts
from bench.exchange._reading import bounds, fails, judgements, noise, summaries, to_reference
from bench.exchange._text import finite, line
from bench.model import ArmSummary, Comparison, Interval, Judged
from bench.render import numbers
from bench.render.outcomes import ENDED, GRAVEST_FIRST

TITLE = "Markdown for a GitHub step summary"
SUFFIX = ".md"

FIX = {
    "slower": "look at what changed since the reference; where the slow-down is meant, pin a new reference",
    "invalid": "two copies of the same thing differed: find what else the machine does, then measure again",
    "inconclusive": "measure longer, or on a quieter machine; the smallest slow-down that would have been "
    "seen is in the column `detectable`",
}
HEADING = (
    "arm", "role", "metric", "starts", "failed", "median", "p95", "to reference", "outcome", "detectable",
)  # fmt: skip
# Only what has a meaning within a line: no text from outside is ever first in one.
_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")


def write(comparison: Comparison, starts: Starts) -> str:
    """The summary, ending in a line feed; `starts` is not needed."""
    sections = (_outcome, _table, _noise, _blocks, _fix, _notes, _origin)
    parts = [section(comparison) for section in sections]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """The text on one line so that Markdown shows it as it is, in a table cell as well."""
    found = line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    found = _SPECIAL.sub(r"\\\1", found)
    # An invisible space after these ends what GitHub would take for a mention or an address.
    found = found.replace("@", "@&#8203;").replace("://", ":&#8203;//")
    return re.sub(r"(?i)\b(www)\.", r"\1&#8203;.", found)


def _outcome(comparison: Comparison) -> str:
    if not comparison.judged:
        return f"## {escape(comparison.suite) or 'comparison'}: nothing was judged"
    judged = sorted(comparison.judged, key=_gravity)
    contradicted = judged[0].outcome == "slower" and not fails(judged[0])
    gravest = "slower, not confirmed" if contradicted else judged[0].outcome
    lines = [f"## {escape(comparison.suite) or 'comparison'}: {gravest}", ""]
    for one in judged:
        lines.append(
            f"- **{one.outcome}**: {escape(one.metric)} of {escape(one.arm)} against {escape(one.against)}"
            f"{_confirmation(one)}{': ' + escape(one.reason) if one.reason else ''}"
        )
    return "\n".join(lines)


def _gravity(one: Judged) -> float:
    """Place in the order of what to read first; a regression that was contradicted is not one."""
    place = GRAVEST_FIRST.index(one.outcome)
    return place if one.outcome != "slower" or fails(one) else GRAVEST_FIRST.index("inconclusive") - 0.5


def _confirmation(one: Judged) -> str:
    if one.outcome != "slower":
        return ""
    return {
        True: " (confirmed with the places swapped)",
        False: " (a second measurement did not agree)",
        None: " (not measured a second time)",
    }[one.confirmed]


def _table(comparison: Comparison) -> str:
    judged, compared = judgements(comparison), to_reference(comparison)
    lines = ["| " + " | ".join(HEADING) + " |", "| --- | --- | --- " + "| ---: " * 5 + "| --- | ---: |"]
    for key, one in summaries(comparison).items():
        ratio = compared.get(key)
        verdicts = judged.get(key, [])
        cells = [
            escape(one.arm),
            one.role,
            escape(one.metric),
            str(one.n),
            str(one.failed),
            _interval(one.median, one),
            _amount(one.p95, one),
            _interval(ratio.ratio, None) if ratio else numbers.NONE,
            ", ".join(dict.fromkeys(v.outcome for v in verdicts)) or numbers.NONE,
            ", ".join(_percent(v.detectable) for v in verdicts) or numbers.NONE,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _amount(value: float | None, arm: ArmSummary | None) -> str:
    """A number of that arm's metric in its unit, or a ratio where `arm` is None."""
    number = finite(value)
    if number is None:
        return numbers.NONE
    if arm is None:
        return f"{number:.4g}"
    return escape(numbers.quantity(number, "s" if arm.unit in ("second", "seconds") else arm.unit))


def _interval(found: Interval | None, arm: ArmSummary | None) -> str:
    value, low, high = bounds(found)
    shown = _amount(value, arm)
    if value is None or low is None or high is None:
        return shown
    return f"{shown} \\[{_amount(low, arm)}, {_amount(high, arm)}\\]"


def _percent(value: float | None, digits: int = 1) -> str:
    number = finite(value)
    return numbers.NONE if number is None else f"{number * 100:.{digits}f}\u00a0%"


def _noise(comparison: Comparison) -> str:
    """The A/A ratio of each metric; what the instrument reads where nothing differs."""
    lines = []
    for metric, ratio in noise(comparison).items():
        half = finite(ratio.half_width)
        floor = "unknown" if half is None else f"±{_percent(half)}"
        lines.append(f"- noise floor of {escape(metric)}: {floor} (A/A {_interval(ratio.ratio, None)}, "
                     f"n={ratio.ratio.n})")  # fmt: skip
    return "\n".join(lines)


def _blocks(comparison: Comparison) -> str:
    excluded = sum(comparison.excluded.values())
    text = f"{comparison.blocks} blocks, {excluded} excluded with all their arms"
    if excluded:
        reasons = (f"{escape(reason)}: {count}" for reason, count in comparison.excluded.items())
        text += f" ({'; '.join(reasons)})"
    levels = {p.confidence for p in comparison.policy.values()}
    if len(levels) == 1:
        text += f"; intervals at {_percent(levels.pop(), 0)}"
    return f"{text}; stopped because {ENDED[comparison.stopped]}."


def _fix(comparison: Comparison) -> str:
    found = {j.outcome for j in comparison.judged} & set(FIX)
    return "\n".join(f"- fix ({outcome}): {FIX[outcome]}" for outcome in GRAVEST_FIRST if outcome in found)


def _notes(comparison: Comparison) -> str:
    return "\n".join(f"- note: {escape(note)}" for note in comparison.notes)


def _origin(comparison: Comparison) -> str:
    return "<sub>" + "; ".join(_facts(comparison)) + "</sub>"


def _facts(comparison: Comparison) -> Iterator[str]:
    if comparison.commit:
        yield f"commit {escape(comparison.commit.id)}" + (" with changes" if comparison.commit.dirty else "")
    for name, text in (
        ("reference", comparison.reference),
        ("image", comparison.image),
        ("machine", comparison.fingerprint),
        ("measured", comparison.created),
        ("comparison", comparison.id),
    ):
        if text:
            yield f"{name} {escape(text)}"
    yield f"isobench {escape(comparison.version)}, seed {comparison.seed}"
