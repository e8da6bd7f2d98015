"""Starts with the image's files in the page cache, and without."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from bench.errors import SandboxError
from bench.host import pagecache
from bench.host.pagecache import Held
from bench.model import CACHE, Case
from bench.runtimes import Arena, Runtime


@contextlib.contextmanager
def prepared(case: Case, runtime: Runtime, arena: Arena, program: str) -> Iterator[Mapping[str, float]]:
    """The page cache as the case asks for it, and how far that came; as it was found after the block.

    Observed are `cache.payload`, the share of the program's pages that is in the cache, and of a cold case
    `cache.left`, the share of the image's cached pages that could not be evicted. What a start reads of the
    host itself, such as an engine's programs, and what file systems know of names are never evicted.
    """
    if CACHE not in case.params or arena.image is None:
        yield {}
        return
    trees = runtime.trees(arena.image)
    if not trees:
        raise SandboxError("the engine's storage driver does not tell where the image's files are",
                           fix="use the overlay2 driver: docker info")  # fmt: skip
    payload = [tree / program.lstrip("/") for tree in trees]
    before: list[Held] = []
    found: dict[str, float] = {}
    if case.params[CACHE] == "cold":
        before = [one for one in pagecache.held(pagecache.files(trees)) if one.cached]
        pagecache.evict(one.path for one in before)
        found["cache.left"] = _left(before)
    else:
        pagecache.fill(payload)
    share = pagecache.share(pagecache.held(payload))
    try:
        yield found if share is None else {"cache.payload": share, **found}
    finally:
        pagecache.restore(before)  # for whoever starts next


def _left(before: list[Held]) -> float:
    """Share of the pages that were in the cache and still are."""
    pages = sum(one.cached for one in before)
    after = sum(one.cached for one in pagecache.held(one.path for one in before))
    return after / pages if pages else 0.0
