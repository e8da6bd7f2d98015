"""Where the templates, the stylesheet and the script of a report lie."""

from __future__ import annotations

from pathlib import Path

from bench.errors import BenchError


def directory(package: Path | None = None) -> Path:
    """The directory `reports/` of a checkout, or `bench/data/reports` of an installed wheel.

    `package` is the directory of the package `bench`, found from this file where None.
    Raises BenchError where neither exists.
    """
    package = package or Path(__file__).resolve().parent.parent
    installed, checkout = package / "data" / "reports", package.parent / "reports"
    for candidate in (installed, checkout):
        if (candidate / "report.html.j2").is_file():
            return candidate
    raise BenchError(
        f"the report templates are neither in {installed} nor in {checkout}",
        fix="pip install --force-reinstall isobench",
    )


def text(name: str) -> str:
    """The content of one asset; BenchError where it cannot be read."""
    file = directory() / name
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise BenchError(
            f"cannot read {file}: {error.strerror}", fix="pip install --force-reinstall isobench"
        ) from error
