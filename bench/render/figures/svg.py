"""Matplotlib figures as small SVG texts that can stand inside HTML.

Colours are palette sentinels, resolved at the end to CSS variables or to concrete colours. Ids
carry the figure's own prefix. Text stays text, and nothing outside of the document is named.
"""

from __future__ import annotations

import html
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.render import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_JUNK = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", re.S)
_SHORTHAND = re.compile(r"font: ((?:italic |bold |\d{3} )*)([\d.]+)px [^;\"]+")


@dataclass(frozen=True, slots=True)
class Figure:
    """One picture: `svg` is markup made here and safe to inline; `caption` is plain text."""

    id: str
    title: str
    caption: str
    svg: str


@contextmanager
def sheet(width: int, height: int, rows: int = 1, columns: int = 1, **kwargs: Any) -> Iterator[Any]:
    """A figure of `width` × `height` CSS pixels and its axes (an array, shape rows × columns)."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    ink, soft, grid = (palette.sentinel(n) for n in ("ink", "soft", "grid"))
    style: dict[Any, Any] = {
        "svg.fonttype": "none", "text.parse_math": False, "axes.unicode_minus": True, "font.size": 12,
        "text.color": ink, "axes.labelcolor": soft, "axes.edgecolor": palette.sentinel("rule"),
        "axes.titlecolor": ink, "axes.titlesize": 12, "axes.titleweight": "bold",
        "axes.titlelocation": "left", "axes.labelsize": 12, "xtick.color": soft, "ytick.color": soft,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": grid,
        "grid.linewidth": 0.8, "axes.axisbelow": True, "xtick.major.size": 3, "ytick.major.size": 0,
        "legend.frameon": False, "legend.fontsize": 12,
        "legend.handletextpad": 0.3, "legend.columnspacing": 1.2,
        "xtick.labelsize": 11.5, "ytick.labelsize": 11.5, "lines.linewidth": 1.6, "lines.markersize": 6,
        "figure.facecolor": "none", "axes.facecolor": "none", "svg.hashsalt": "report",
        "path.simplify": True, "path.simplify_threshold": 0.5, "font.family": ["DejaVu Sans"],
    }  # fmt: skip
    with rc_context(style):
        canvas = Canvas(figsize=(width / 72, height / 72), layout="constrained")
        yield canvas, canvas.subplots(rows, columns, squeeze=False, **kwargs)


def finish(canvas: Canvas, figure_id: str, title: str, caption: str) -> Figure:
    """The figure as inline SVG; call inside of `sheet`."""
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Figure(figure_id, title, caption, inline(buffer.getvalue(), figure_id, title, caption))


def inline(svg: str, prefix: str, title: str, caption: str) -> str:
    """Matplotlib's document as an element: unique ids, a title, no styles that leak into the page."""
    svg = _JUNK.sub("", svg).strip()
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'xlink:href="#', f'href="#{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    svg = _SHORTHAND.sub(_longhand, svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg).replace("<defs>\n</defs>\n", "")
    svg = re.sub(r"(\d+\.\d{2})\d+", r"\1", svg)
    view = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert view is not None
    body = svg[svg.index(">") + 1 :]
    name, text = html.escape(title), html.escape(caption)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {view[1]} {view[2]}" width="{view[1]}" '
        f'height="{view[2]}" role="img" aria-label="{name}" stroke-linejoin="round" class="chart">'
        f"<title>{name}</title><desc>{text}</desc>"
    )
    return palette.resolve(head + body)


def legend(canvas: Canvas, axes: Axes) -> None:
    """One legend above the axes: a row where the names fit into one, else as few columns as rows allow."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        canvas.legend(handles, labels, loc="outside upper left", ncols=_columns(labels), borderpad=0)


def _columns(labels: Sequence[str], room: int = 72) -> int:
    """The most columns whose widest labels fit side by side; a key and a gap are about 7 characters."""
    for columns in range(len(labels), 1, -1):
        long, more = divmod(len(labels), columns)
        ends = [long * i + min(i, more) for i in range(columns + 1)]
        widths = [max(map(len, labels[a:b])) + 7 for a, b in itertools.pairwise(ends)]
        if sum(widths) <= room:
            return columns
    return 1


def sideways(axes: Axes, x: float, y: float = 0.0) -> Any:
    """Data coordinates moved by pixels, so that markers of several runtimes lie side by side."""
    from matplotlib.transforms import ScaledTranslation

    canvas = axes.get_figure(root=True)
    assert canvas is not None
    return axes.transData + ScaledTranslation(x / 72, y / 72, canvas.dpi_scale_trans)


def _longhand(match: re.Match[str]) -> str:
    weight = match.group(1).strip()
    extra = f"; font-weight: {weight}" if weight and weight != "italic" else ""
    return f"font-size: {match.group(2)}px; font-family: {FONT.replace(chr(34), '')}{extra}"
