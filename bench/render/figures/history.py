"""The history of one arm and metric: points with intervals, the levels, and each change with its range.

A change is a band from the last good to the first bad commit, with a letter on top and its own kind of edge;
so nothing is told by colour alone.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import UsageError
from bench.history import detect
from bench.history.wording import kind_of, words
from bench.render import palette
from bench.render.figures.svg import Figure, finish, legend, sheet
from bench.render.palette import sentinel

if TYPE_CHECKING:
    from bench.history.marks import Mark
    from bench.history.series import Series
    from bench.history.verdict import Change

SUFFIXES = (".png", ".svg")
NEWEST = 200
"""Points that are drawn at most: more are a smear."""
# Colour of the palette, dashes of the edge, hatch of the band.
_STYLES: dict[str, tuple[str, Any, str]] = {
    "slower": ("fail", "-", "////"),
    "faster": ("pass", "--", "\\\\\\\\"),
    "to be confirmed": ("inconclusive", ":", "...."),
    "environment": ("soft", "-.", "xxxx"),
}


def draw(
    series: Series,
    changes: Sequence[Change] = (),
    notes: Sequence[Mark] = (),
    accepted: Sequence[int] = (),
) -> Figure:
    """The picture as inline SVG whose colours are the variables of the page; `accepted` are indices."""
    title = f"{series.key.arm}, {series.key.metric}"
    with sheet(760, 340) as (canvas, grid):
        _fill(canvas, grid[0][0], series, changes, notes, accepted)
        return finish(canvas, "fig-history", title, caption(series, changes))


def save(
    path: Path,
    series: Series,
    changes: Sequence[Change] = (),
    notes: Sequence[Mark] = (),
    accepted: Sequence[int] = (),
    *,
    dark: bool = False,
) -> None:
    """Write the picture, SVG or PNG by its suffix, on paper of the theme; UsageError for another suffix."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"a picture cannot be written as '{path.suffix}'", fix="name it .svg or .png")
    theme = palette.DARK if dark else palette.LIGHT
    with sheet(760, 340) as (canvas, grid):
        _fill(canvas, grid[0][0], series, changes, notes, accepted)
        buffer = io.BytesIO()
        canvas.draw_without_rendering()
        _paint(canvas, theme)
        metadata = {"Date": None, "Creator": None} if path.suffix.lower() == ".svg" else {"Software": None}
        canvas.savefig(
            buffer, format=path.suffix[1:].lower(), dpi=144, facecolor=theme["paper"], metadata=metadata
        )
    path.write_bytes(buffer.getvalue())


def caption(series: Series, changes: Sequence[Change]) -> str:
    """The picture in words: what it shows, and each change with its commits and shift."""
    what = {
        "code": f"Ratio to the reference {series.references[-1]}, measured in pairs.",
        "absolute": f"Median in {series.unit}.",
        "to raw": "Ratio to the raw process.",
    }[series.measure]
    own = [f"{letter}: {words(change)}." for letter, change in _lettered(series, changes)]
    return " ".join([what, f"{len(series.values)} points with their intervals.", *own])


def _lettered(series: Series, changes: Sequence[Change]) -> list[tuple[str, Change]]:
    own = [c for c in changes if c.key == series.key and c.measure == series.measure]
    own.sort(key=lambda change: change.index)
    return [(chr(ord("A") + i % 26) + "′" * (i // 26), change) for i, change in enumerate(own)]


def _fill(
    canvas: Any,
    axes: Any,
    series: Series,
    changes: Sequence[Change],
    notes: Sequence[Mark],
    accepted: Sequence[int],
) -> None:
    first = max(0, len(series.values) - NEWEST)
    scale = _Scale(series)
    x = np.arange(first, len(series.values))
    middle, low, high = (scale.shown(v[first:]) for v in (series.values, series.low, series.high))
    usable = series.usable[first:]
    whole = usable & np.isfinite(low) & np.isfinite(high)
    axes.vlines(x[whole], low[whole], high[whole], color=sentinel("r0"), linewidth=0.8, alpha=0.55, zorder=2)
    axes.plot(x[usable], middle[usable], linestyle="none", marker="o", markersize=3.6, color=sentinel("r1"),
              label="comparison with interval", zorder=3)  # fmt: skip
    if not usable.all():
        axes.plot(x[~usable], middle[~usable], linestyle="none", marker="x", markersize=6,
                  color=sentinel("ink"), label="known to be bad", zorder=3)  # fmt: skip
    lettered = [pair for pair in _lettered(series, changes) if pair[1].index >= first]
    _levels(axes, scale, series, [c.index for _, c in lettered] + list(accepted), first)
    if series.measure == "code":
        _segments(axes, scale, series, [c.index for _, c in lettered] + list(accepted), first)
    rows = _rows(lettered, 0.16 * len(x))
    _limits(
        axes, middle[usable] if usable.any() else middle, low[whole], high[whole], x, max(rows, default=0)
    )
    _bands(axes, lettered, rows)
    _notes(axes, series, notes, accepted, first)
    _labels(axes, series, scale, first)
    legend(canvas, axes)


class _Scale:
    """Per cent of the reference for ratios; the metric's own unit, in milliseconds for times, for medians."""

    def __init__(self, series: Series) -> None:
        self.absolute = series.measure == "absolute"
        self.factor = 1e3 if self.absolute and series.unit == "s" else 1.0
        unit = "ms" if self.factor != 1.0 else series.unit
        to = {"code": f"time against {series.references[-1]}, %", "to raw": "multiple of the raw process"}
        if series.unit not in ("s", ""):
            to["code"] = f"{series.unit} against {series.references[-1]}, %"
        self.name = f"median, {unit}" if self.absolute else to[series.measure]
        self.percent = series.measure == "code"

    def shown(self, values: Any) -> Any:
        """Logarithms as what the axis has."""
        return np.expm1(values) * 100 if self.percent else np.exp(values) * self.factor


def _levels(axes: Any, scale: _Scale, series: Series, steps: Sequence[int], first: int) -> None:
    """The median between changes, as a line that is named once."""
    bounds = sorted({first, *(s for s in steps if s > first), *(b for b in series.breaks if b > first)})
    for i, (begin, end) in enumerate(zip(bounds, [*bounds[1:], len(series.values)], strict=True)):
        chosen = series.values[begin:end][series.usable[begin:end]]
        if len(chosen):
            level = float(scale.shown(np.median(chosen)))
            axes.plot([begin - 0.4, end - 0.6], [level, level], color=sentinel("ink"), linewidth=1.8,
                      zorder=4, label="median between changes" if i == 0 else None)  # fmt: skip


def _segments(axes: Any, scale: _Scale, series: Series, steps: Sequence[int], first: int) -> None:
    """Further levels that ruptures sees and the detector does not say, dotted; nothing without ruptures."""
    places = np.flatnonzero(series.usable[first:]) + first
    values = series.values[places]
    begins = detect.segments(values) or [0]
    known = np.array([*steps, first])
    if all(np.abs(known - places[b]).min() <= detect.AFTER for b in begins[1:]):
        return
    for i, (begin, end) in enumerate(zip(begins, [*begins[1:], len(values)], strict=True)):
        level = float(scale.shown(np.median(values[begin:end])))
        name = "segments by ruptures, no verdict" if i == 0 else None
        axes.plot([places[begin] - 0.4, places[end - 1] + 0.4], [level, level], color=sentinel("r7"),
                  linewidth=2.2, linestyle=":", zorder=4, label=name)  # fmt: skip


def _limits(axes: Any, middle: Any, low: Any, high: Any, x: Any, rows: int) -> None:
    """Room above for letters; single far intervals may leave the picture, points may not."""
    bottom = min([float(middle.min()), *np.quantile(low, [0.02])] if len(low) else [float(middle.min())])
    top = max([float(middle.max()), *np.quantile(high, [0.98])] if len(high) else [float(middle.max())])
    height = max(top - bottom, abs(top) * 1e-3, 1e-9)
    axes.set_ylim(bottom - 0.06 * height, top + (0.2 + 0.22 * rows) * height)
    axes.set_xlim(x[0] - 1.5, x[-1] + 1.5)


def _bands(axes: Any, lettered: Sequence[tuple[str, Change]], rows: Sequence[int]) -> None:
    seen: set[str] = set()
    for (letter, change), row in zip(lettered, rows, strict=True):
        kind = kind_of(change)
        colour, dashes, hatch = _STYLES[kind]
        shade = sentinel(colour)
        begin, end = change.index - 1, change.index
        axes.axvspan(begin, end, facecolor=shade, alpha=0.18, zorder=1)
        axes.axvspan(
            begin, end, facecolor="none", edgecolor=shade, hatch=hatch, linewidth=0, alpha=0.7, zorder=1
        )
        for side in (begin, end):
            axes.axvline(side, color=shade, linestyle=dashes, linewidth=1.2, zorder=1)
        axes.plot([], [], color=shade, linestyle=dashes, linewidth=1.6, label=None if kind in seen else kind)
        seen.add(kind)
        _head(axes, f"{letter} {_sign(change)}", change.index, row, shade)


def _rows(lettered: Sequence[tuple[str, Change]], room: float) -> list[int]:
    """The row of each label: one beside another goes a step lower, so that close changes stay readable."""
    rows: list[int] = []
    last = -math.inf
    for _, change in lettered:
        rows.append((rows[-1] + 1) % 3 if change.index - last < room else 0)
        last = change.index
    return rows


def _sign(change: Change) -> str:
    arrow = "▲" if change.shift.estimate > 0 else "▼"
    text = f"{arrow} {change.shift.estimate * 100:+.1f} %".replace("-", "−")
    return text + ("\nsilenced" if change.silenced else "\nundone" if change.undone else "")


def _head(axes: Any, text: str, index: int, row: int, shade: str) -> None:
    """A label on top beside the band, on the side where there is room."""
    left, right = axes.get_xlim()
    late = index > left + 0.8 * (right - left)
    box = {"facecolor": sentinel("paper"), "edgecolor": "none", "alpha": 0.75, "pad": 0.5}
    axes.annotate(text, (index - 1 if late else index, 1), xycoords=("data", "axes fraction"), va="top",
                  fontsize=11.5, xytext=(-5 if late else 5, -3 - 33 * row), textcoords="offset points",
                  ha="right" if late else "left", color=shade, fontweight="bold", zorder=5,
                  bbox=box)  # fmt: skip


def _notes(axes: Any, series: Series, notes: Sequence[Mark], accepted: Sequence[int], first: int) -> None:
    """Annotations and accepted levels at the bottom, each with its sign."""
    for index in (i for i in accepted if i >= first):
        axes.axvline(index - 0.5, color=sentinel("link"), linewidth=1, dashes=(1, 2), zorder=1)
        _foot(axes, index - 0.5, "✓ accepted", "link")
    for note in notes:
        found = [i for i, c in enumerate(series.commits) if str(c).startswith(note.commit) and i >= first]
        if found and note.commit:
            _foot(axes, found[0], f"✎ {note.text}", "soft")


def _foot(axes: Any, x: float, text: str, colour: str) -> None:
    left, right = axes.get_xlim()
    late = x > left + 0.8 * (right - left)
    axes.annotate(text, (x, 0), xycoords=("data", "axes fraction"), xytext=(-4 if late else 4, 4),
                  textcoords="offset points", ha="right" if late else "left", va="bottom", fontsize=10.5,
                  color=sentinel(colour), zorder=5)  # fmt: skip


def _labels(axes: Any, series: Series, scale: _Scale, first: int) -> None:
    n = len(series.values)
    count = min(7, n - first)
    places = sorted({int(i) for i in np.linspace(first, n - 1, count)})
    axes.set_xticks(places, [str(series.commits[i] or series.comparisons[i])[:8] for i in places])
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("commit, oldest first")
    axes.set_ylabel(scale.name)
    if scale.percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:+g}".replace("-", "−") if value else "0")
    axes.set_title(f"{series.key.arm}: {series.key.metric}, machine {series.key.fingerprint[:12]}")


def _paint(canvas: Any, theme: dict[str, str]) -> None:
    """Put the colours of a theme in the place of the sentinels of every part of the figure."""
    from matplotlib.colors import to_hex

    colours = {sentinel(name): value for name, value in theme.items()}
    texts = (part for part in canvas.findobj() if hasattr(part, "get_bbox_patch"))
    boxes = (box for text in texts if (box := text.get_bbox_patch()) is not None)
    for part in (*canvas.findobj(), *boxes):
        for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor", "hatchcolor"):
            get, put = getattr(part, f"get_{name}", None), getattr(part, f"set_{name}", None)
            if get is None or put is None:
                continue
            value = get()
            rows = np.atleast_2d(np.asarray(value, dtype=float)) if not isinstance(value, str) else None
            if rows is not None and (rows.shape[-1] not in (3, 4) or not len(rows)):
                continue
            found = colours.get(to_hex(value if rows is None else rows[0][:3])) if value is not None else None
            if found and not (rows is not None and rows.shape[-1] == 4 and rows[0][3] == 0):
                put(found)
