"""The report as one HTML page that fetches nothing."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from bench.frames import Run
from bench.render import assets, document, palette

CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


class Content(Protocol):
    """What a template prints."""

    template: ClassVar[str]
    """Name of its file."""


def render(run: Run, content: Content | None = None) -> str:
    """A self-contained page: style, script and pictures are inside. BenchError where assets are missing.

    `content` is the run's document where it was built already, for another format.
    """
    return page(content or document.build(run), screen=True)


def page(content: Content, *, screen: bool) -> str:
    """The template of a document, filled with it; `screen` False leaves out the script and what it drives."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(assets.directory()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    trusted: dict[str, Any] = {
        "style": Markup(_themes(screen=screen) + assets.text("report.css")),  # noqa: S704 our own file
        "script": Markup(assets.text("report.js")) if screen else "",  # noqa: S704 our own file
        "trusted": Markup,  # for SVG made by bench.render.figures, which escapes what it is given
    }
    return environment.get_template(content.template).render(d=content, csp=CSP, screen=screen, **trusted)


def _themes(*, screen: bool) -> str:
    light, dark = palette.variables(palette.LIGHT), palette.variables(palette.DARK)
    if not screen:
        return f":root{{{light}}}"
    return (
        f":root{{{light}}}@media screen and (prefers-color-scheme:dark)"
        f"{{:root:not([data-theme=light]){{{dark}}}}}@media screen{{:root[data-theme=dark]{{{dark}}}}}"
    )
