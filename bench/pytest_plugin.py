"""A pytest plug-in: the fixture `sandbox` starts programs, each in a fresh sandbox, once for every runtime.

    def test_start(benchmark, sandbox):
        benchmark(sandbox.run, ["/bin/true"])

`--isobench-runtimes process,docker` says which runtimes; a test is skipped for one that is missing here, with
cause and fix, and fails under `--isobench-strict`. pytest loads this module in every session: it imports
nothing of the program before a test asks for a sandbox.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from bench.image import Image
    from bench.model import Missing
    from bench.pytest_sandbox import Site, Starter
    from bench.runtimes import Runtime


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two options, and no more."""
    group = parser.getgroup("isobench", "start-up in sandboxes")
    group.addoption(
        "--isobench-runtimes",
        default="process",
        metavar="NAME,…",
        help="runtimes that the fixture 'sandbox' goes through, e.g. process,docker:runsc [process]",
    )
    group.addoption(
        "--isobench-strict",
        action="store_true",
        help="a runtime that is missing here is an error and no skip",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Go through the runtimes wherever our own `sandbox` is used; another one of that name is left alone."""
    if "isobench_runtime" not in metafunc.fixturenames:
        return
    for mark in metafunc.definition.iter_markers("parametrize"):
        given = mark.kwargs.get("argnames", mark.args[0] if mark.args else ())
        named = given.split(",") if isinstance(given, str) else given
        if "isobench_runtime" in [name.strip() for name in named]:
            return
    metafunc.parametrize("isobench_runtime", _chosen(metafunc.config), indirect=True)


def _chosen(config: pytest.Config) -> list[str]:
    named = [name.strip() for name in str(config.getoption("--isobench-runtimes")).split(",")]
    return list(dict.fromkeys(name for name in named if name)) or ["process"]


@pytest.fixture
def isobench_runtime(request: pytest.FixtureRequest) -> str:
    """Name of the runtime of this test; a test may parametrise it itself."""
    return str(getattr(request, "param", None) or _chosen(request.config)[0])


@pytest.fixture(scope="session")
def isobench_site() -> Iterator[Site]:
    """What all sandboxes of the session share, made when the first is asked for."""
    from bench.pytest_sandbox import Site

    with ExitStack() as stack:
        yield Site(stack)


@pytest.fixture(scope="session")
def isobench_runtimes() -> dict[str, tuple[Runtime, list[Missing]]]:
    """Runtimes of the session by name, each with what this host lacks for it, asked once."""
    return {}


@pytest.fixture
def sandbox(
    request: pytest.FixtureRequest,
    isobench_runtime: str,
    isobench_runtimes: dict[str, tuple[Runtime, list[Missing]]],
) -> Iterator[Starter]:
    """Starts programs in fresh sandboxes of the runtime of this test."""
    from bench.errors import BenchError
    from bench.pytest_sandbox import Starter

    with ExitStack() as stack:
        try:
            runtime = _loaded(request.config, isobench_runtime, isobench_runtimes)
            site: Site = request.getfixturevalue("isobench_site")
            starter = Starter(isobench_runtime, runtime, site.arena(stack, isobench_runtime, runtime), stack)
        except (BenchError, OSError) as error:
            _fail(f"no sandbox of '{isobench_runtime}' can be opened: {error}")
        extra = _extra_info(request)
        extra["isobench.runtime"] = isobench_runtime
        if starter.emulated:
            extra["isobench.emulated"] = True
        yield starter
        extra |= {f"isobench.median.{name}": statistics.median(v) for name, v in starter.phases.items()}


def _loaded(config: pytest.Config, name: str, known: dict[str, tuple[Runtime, list[Missing]]]) -> Runtime:
    """The runtime of that name; skips or fails the test where this host lacks something for it."""
    from bench import image, runtimes

    if name not in known:
        loaded = runtimes.load(name)
        known[name] = loaded, missing(loaded, image.find())
    runtime, lacking = known[name]
    if lacking:
        first = lacking[0]
        reason = f"no {name} here: {first.cause}" + (f" (fix: {first.fix})" if first.fix else "")
        if config.getoption("--isobench-strict"):
            _fail(reason)
        pytest.skip(reason)
    return runtime


def missing(runtime: Runtime, image: Image | None) -> list[Missing]:
    """What this host lacks for that runtime, the sandbox image among it; empty where it can run."""
    from bench.model import Missing

    found = list(runtime.requires())
    if not found and runtime.needs_image and image is None:
        found = [Missing("image", "there is no sandbox image yet", "sudo bench image build")]
    return found


def _fail(reason: str) -> NoReturn:
    pytest.fail(reason, pytrace=False)


def _extra_info(request: pytest.FixtureRequest) -> dict[str, object]:
    """What pytest-benchmark keeps beside the numbers of this test; a dict of nobody without `benchmark`."""
    if "benchmark" not in request.fixturenames:
        return {}
    extra = getattr(request.getfixturevalue("benchmark"), "extra_info", None)
    return extra if isinstance(extra, dict) else {}
