"""Colours of reports: one list for the stylesheet, the figures and the PDF.

The hues are those of Okabe and Ito (2008), "Color Universal Design", darkened for text in the
light theme and lightened in the dark one so that text keeps a contrast of 4.5:1 or more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

LIGHT = {
    "paper": "#ffffff", "panel": "#f6f7f9", "ink": "#1b1f24", "soft": "#57606a", "rule": "#d8dee4",
    "grid": "#e6e9ed", "link": "#0b5cad",
    "pass": "#00694e", "fail": "#b03a00", "unenforced": "#8a5a00", "inconclusive": "#8d3b78",
    "untestable": "#57606a", "unoffered": "#57606a", "fact": "#0b5c8a",
    "r0": "#6e7781", "r1": "#0072b2", "r2": "#d55e00", "r3": "#009e73", "r4": "#cc79a7", "r5": "#b88700",
    "r6": "#3a9bd6", "r7": "#7a5bb5", "r8": "#8a6648",
}  # fmt: skip
DARK = {
    "paper": "#14171b", "panel": "#1d2127", "ink": "#e7eaee", "soft": "#a3adb8", "rule": "#363d46",
    "grid": "#2a3038", "link": "#7cbcf5",
    "pass": "#4fcfa5", "fail": "#ff9264", "unenforced": "#f0bb52", "inconclusive": "#eba4d2",
    "untestable": "#a3adb8", "unoffered": "#a3adb8", "fact": "#7cc4ee",
    "r0": "#9aa4af", "r1": "#5ab4ee", "r2": "#f58a4b", "r3": "#37c79b", "r4": "#e3a0c4", "r5": "#e6b84a",
    "r6": "#86c8f2", "r7": "#b39ae6", "r8": "#c9a78c",
}  # fmt: skip
MARKERS = ("X", "o", "s", "^", "D", "v", "P", "<", "*")
DASHES = (
    (2.0, 1.6), (), (6.0, 1.6), (4.0, 1.4, 1.0, 1.4), (1.0, 1.0), (8.0, 2.0, 2.0, 2.0), (3.0, 3.0),
    (9.0, 3.0), (1.0, 3.0),
)  # fmt: skip
_NAMES = tuple(LIGHT)
_VARIABLE = re.compile(r"var\(--([a-z0-9]+)\)")
_SENTINEL = re.compile(r"#01fe([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Look:
    """How one runtime is drawn: a colour, a marker and a dash pattern, all three its own."""

    colour: str
    marker: str
    dash: tuple[float, ...]


def looks(runtimes: Sequence[str], controls: frozenset[str]) -> dict[str, Look]:
    """A look for every runtime in plan order; controls share the grey one."""
    found: dict[str, Look] = {}
    limited = 0
    for name in runtimes:
        if name in controls:
            found[name] = Look("r0", MARKERS[0], DASHES[0])
        else:
            step = limited % (len(MARKERS) - 1) + 1
            found[name] = Look(f"r{step}", MARKERS[step], DASHES[step])
            limited += 1
    return found


def sentinel(name: str) -> str:
    """A colour no figure uses otherwise, standing for the palette colour `name` until `resolve`."""
    return f"#01fe{_NAMES.index(name):02x}"


def resolve(svg: str) -> str:
    """The SVG with its sentinels replaced by the CSS variables of the themes."""
    return _SENTINEL.sub(lambda match: f"var(--{_NAMES[int(match.group(1), 16)]})", svg)


def concrete(page: str) -> str:
    """The page with its colour variables replaced by the light theme's colours, for paper."""
    return _VARIABLE.sub(lambda match: LIGHT.get(match.group(1), match.group(0)), page)


def variables(theme: dict[str, str]) -> str:
    """The declarations of one theme as CSS custom properties."""
    return "".join(f"--{name}:{value};" for name, value in theme.items())
