"""The page cache of real files: what is in it, taking it out, and putting back what was there."""

import mmap
import os
from pathlib import Path

import pytest

from bench.errors import HostError
from bench.host import pagecache

PAGE = mmap.PAGESIZE


@pytest.fixture
def evictable(tmp_path):
    """A file on a disk; a tmpfs is the page cache itself."""
    path = Path(os.environ.get("BENCH_TEST_DISK", Path(__file__).parent)) / f".pages-{os.getpid()}"
    path.write_bytes(b"x" * (10 * PAGE + 17))
    yield path
    path.unlink()


def test_a_file_just_read_is_all_in_the_cache(evictable):
    pagecache.fill([evictable])
    (held,) = pagecache.held([evictable])
    assert len(held.pages) == 11 and pagecache.share([held]) == 1.0


def test_what_is_evicted_is_gone_until_it_is_restored(evictable):
    pagecache.fill([evictable])
    before = pagecache.held([evictable])
    pagecache.evict([evictable])  # dirty a moment ago, so it was written first
    if pagecache.share(pagecache.held([evictable])) == 1.0:
        os.sync()
        pagecache.evict([evictable])
        assert pagecache.share(pagecache.held([evictable])) == 1.0, "only dirty pages had stayed"
        pytest.skip("this file system keeps its pages: a tmpfs")
    assert pagecache.share(pagecache.held([evictable])) == 0.0
    pagecache.restore(before)
    assert pagecache.share(pagecache.held([evictable])) == 1.0


def test_a_mapped_page_stays_and_is_seen_to(evictable):
    with evictable.open("rb") as file, mmap.mmap(file.fileno(), 2 * PAGE, prot=mmap.PROT_READ) as mapped:
        assert mapped[0] and mapped[PAGE]
        pagecache.evict([evictable])
        (held,) = pagecache.held([evictable])
        assert held.pages[:2] == b"\1\1"


def test_files_are_found_below_all_trees_without_links(tmp_path):
    for name in ("a/one", "a/deep/two", "b/three"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "a/link").symlink_to(tmp_path / "b/three")
    found = pagecache.files([tmp_path / "a", tmp_path / "b"])
    assert {p.name for p in found} == {"one", "two", "three"}
    with pytest.raises(HostError, match="gone"):
        pagecache.files([tmp_path / "gone"])


def test_empty_and_vanished_files_have_no_pages(tmp_path):
    (tmp_path / "empty").touch()
    assert pagecache.held([tmp_path / "empty", tmp_path / "none"]) == []
    assert pagecache.share([]) is None
    pagecache.evict([tmp_path / "none"])
    pagecache.fill([tmp_path / "none"])
