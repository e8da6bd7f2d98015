"""The report as a PDF, from the same template with the print part of the stylesheet."""

from __future__ import annotations

from typing import Any

from bench.errors import BenchError
from bench.frames import Run
from bench.render import document, html, palette


def render(run: Run, content: html.Content | None = None) -> bytes:
    """The PDF of a run. BenchError where WeasyPrint or one of its system libraries is missing.

    `content` is the run's document where it was built already, for another format.
    """
    try:
        from weasyprint import HTML
    except OSError as error:
        raise BenchError(
            f"WeasyPrint cannot load a system library: {error}",
            fix="apt-get install libpango-1.0-0 libpangoft2-1.0-0",
        ) from error
    # WeasyPrint draws inline SVG apart from the page, where the page's variables are unknown.
    text = palette.concrete(html.page(content or document.build(run), screen=False))
    printed: bytes = HTML(string=text, base_url=None, url_fetcher=_refuse).write_pdf()
    return printed


def _refuse(url: str, *_: Any, **__: Any) -> Any:
    raise BenchError(f"the report tried to fetch {url}; it must be self-contained")
