"""The host's own package sources, so that no mirror is written down anywhere in this program.

Reads apt's one-line and deb822 formats (sources.list(5)) and keeps only the distribution's archive:
a third party's list may name packages that change what is measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import BenchError

_COMPONENTS = ("main", "universe")
_ONE_LINE = re.compile(r"^deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*(.*)$")
_KEPT_OPTIONS = ("Signed-By", "Trusted", "Check-Valid-Until", "Architectures")


@dataclass(frozen=True, slots=True)
class Source:
    """One archive: where, which suites and components, and the options that decide trust."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)

    def stanza(self) -> str:
        """The source as a deb822 stanza."""
        lines = ["Types: deb", f"URIs: {' '.join(self.uris)}", f"Suites: {' '.join(self.suites)}",
                 f"Components: {' '.join(self.components)}"]  # fmt: skip
        return "\n".join([*lines, *(f"{key}: {value}" for key, value in self.options.items()), ""])


def debian_codename(root: Path = Path("/")) -> str:
    """The release's code name ("bookworm") from os-release; BenchError where this is no such system."""
    try:
        text = (root / "etc/os-release").read_text()
    except OSError as error:
        raise BenchError(
            f"this system does not say what it is: {error}", fix="use a Debian or Ubuntu host"
        ) from error
    match = re.search(r"^VERSION_CODENAME=\"?([\w.-]+)\"?\s*$", text, re.MULTILINE)
    if not match:
        raise BenchError("/etc/os-release has no VERSION_CODENAME; the image is built from Debian packages",
                         fix="use a Debian or Ubuntu host")  # fmt: skip
    return match.group(1)


def host_sources(root: Path = Path("/")) -> list[Source]:
    """The host's sources of its own release; BenchError where there are none."""
    codename = debian_codename(root)
    found = [kept for source in _read(root) if (kept := own_release(source, codename))]
    if not found:
        raise BenchError(f"no package source of '{codename}' is configured below /etc/apt",
                         fix="add the distribution's own archive to /etc/apt/sources.list")  # fmt: skip
    return found


def own_release(source: Source, codename: str) -> Source | None:
    """That source reduced to the release's own suites and components; None where nothing is left."""
    wanted = (codename, f"{codename}-updates", f"{codename}-security", f"{codename}/updates")
    suites = tuple(s for s in source.suites if s in wanted)
    components = tuple(c for c in source.components if c in _COMPONENTS)
    signed_by = source.options.get("Signed-By", "")
    # A distribution signs its archive with its archive keyring; other vendors bring their own key.
    foreign = bool(signed_by) and "archive-keyring" not in signed_by
    if not suites or "main" not in components or foreign:
        return None
    return Source(source.uris, suites, components, source.options)


def parse_one_line(text: str) -> list[Source]:
    """Sources of a `sources.list`; comments, `deb-src` and lines that do not parse are passed over."""
    found = []
    for line in text.splitlines():
        match = _ONE_LINE.match(line.partition("#")[0].strip())
        if match:
            options, uri, suite, components = match.groups()
            found.append(Source((uri,), (suite,), tuple(components.split()), _options(options or "")))
    return found


def parse_deb822(text: str) -> list[Source]:
    """Sources of a `.sources` file; disabled ones and those without `deb` are passed over."""
    found = []
    for fields in _stanzas(text):
        disabled = fields.get("enabled", "yes").strip().lower() in (
            "no",
            "false",
            "0",
            "off",
            "without",
            "disable",
        )
        if disabled or "deb" not in fields.get("types", "").split():
            continue
        options = {key: fields[key.lower()] for key in _KEPT_OPTIONS if fields.get(key.lower())}
        found.append(Source(tuple(fields.get("uris", "").split()), tuple(fields.get("suites", "").split()),
                            tuple(fields.get("components", "").split()), options))  # fmt: skip
    return found


def _read(root: Path) -> Iterator[Source]:
    apt = root / "etc/apt"
    paths = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    for path in paths:
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        try:
            text = path.read_text(errors="replace")
        except OSError as error:
            raise BenchError(f"cannot read {path}: {error}", fix=f"chmod a+r {path}") from error
        yield from parse_deb822(text) if path.suffix == ".sources" else parse_one_line(text)


def _options(text: str) -> dict[str, str]:
    """Options of a one-line source in their deb822 spelling."""
    names = {"signed-by": "Signed-By", "trusted": "Trusted", "arch": "Architectures",
             "check-valid-until": "Check-Valid-Until"}  # fmt: skip
    pairs = (word.partition("=") for word in text.split())
    return {names[key.lower()]: value.replace(",", " ") for key, _, value in pairs if key.lower() in names}


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    key = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, key = {}, ""
        elif line[0] in " \t" and key:
            fields[key] += f"\n{line}"
        else:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            fields[key] = value.strip()
