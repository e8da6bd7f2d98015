"""The image: which package sources are used, what names it, and how the cache behaves."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import image, imagecache
from bench.aptsources import Source, host_sources, own_release, parse_deb822, parse_one_line
from bench.errors import BenchError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

DEB822 = f"""\
# the archive
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: {KEYRING}

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
# a comment between two fields
Signed-By: {KEYRING}

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""


def host(tmp_path, files, codename="bookworm"):
    (tmp_path / "etc/apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "etc/os-release").write_text(
        f'ID=debian\nVERSION_CODENAME={codename}\nVERSION="12 ({codename})"\n'
    )
    for name, text in files.items():
        (tmp_path / "etc/apt" / name).write_text(text)
    return tmp_path


def uris(sources):
    return [uri for source in sources for uri in source.uris]


def test_deb822_sources_are_reduced_to_the_releases_own_suites_and_components(tmp_path):
    found = host_sources(host(tmp_path, {"sources.list.d/debian.sources": DEB822}))
    assert uris(found) == ["http://mirror.example/debian", "http://mirror.example/debian-security"]
    assert found[0].suites == ("bookworm", "bookworm-updates")
    assert found[0].components == ("main",)
    assert found[0].options == {"Signed-By": KEYRING}


def test_one_line_sources_keep_the_options_that_decide_trust(tmp_path):
    text = (
        "# deb http://commented.example/debian bookworm main\n"
        f"deb [arch=amd64,arm64 signed-by={KEYRING} lang=en] http://a.example/debian bookworm main # note\n"
        "deb-src http://a.example/debian bookworm main\n"
        "deb http://b.example/debian bookworm/updates main\n"
        "nonsense\n"
    )
    found = host_sources(host(tmp_path, {"sources.list": text}))
    assert uris(found) == ["http://a.example/debian", "http://b.example/debian"]
    assert found[0].options == {"Architectures": "amd64 arm64", "Signed-By": KEYRING}


@pytest.mark.parametrize(
    "text",
    [
        "deb https://vendor.example/apt cloud-sdk-bookworm main",
        "deb https://vendor.example/debian bookworm stable",
        "deb https://vendor.example/debian nodistro main",
        "deb https://vendor.example/debian trixie main",
        "deb [signed-by=/etc/apt/keyrings/vendor.asc] https://vendor.example/debian bookworm main",
    ],
)
def test_lists_of_third_parties_are_left_out(text):
    (source,) = parse_one_line(text)
    assert own_release(source, "bookworm") is None


def test_files_that_apt_would_ignore_are_ignored(tmp_path):
    files = {
        "sources.list.d/debian.sources": DEB822,
        "sources.list.d/old.list.disabled": "deb http://disabled.example/debian bookworm main\n",
    }
    assert "http://disabled.example/debian" not in uris(host_sources(host(tmp_path, files)))


def test_a_host_without_its_own_archive_says_so(tmp_path):
    with pytest.raises(BenchError, match="no package source of 'bookworm'") as raised:
        host_sources(host(tmp_path, {"sources.list": "deb http://x.example/debian sid main\n"}))
    assert raised.value.fix


def test_a_system_without_a_code_name_says_so(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("ID=other\n")
    with pytest.raises(BenchError, match="VERSION_CODENAME"):
        host_sources(tmp_path)


words = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#[]:"), min_size=1, max_size=12
)
sources = st.builds(
    Source,
    uris=st.tuples(words.map("http://{}".format)),
    suites=st.lists(words, min_size=1, max_size=3).map(tuple),
    components=st.lists(words, min_size=1, max_size=3).map(tuple),
    options=st.dictionaries(st.sampled_from(["Signed-By", "Trusted"]), words),
)


@given(st.lists(sources, max_size=4))
def test_what_is_written_for_the_builder_reads_back_the_same(written):
    assert parse_deb822("\n".join(s.stanza() for s in written)) == written


@given(st.text())
def test_no_text_breaks_the_parsers(text):
    parse_one_line(text)
    parse_deb822(text)


def cached(cache, digest, recipe, complete=True):
    directory = cache / digest.removeprefix("sha256:")[:12]
    (directory / "rootfs").mkdir(parents=True)
    if complete:
        (directory / "sandbox.tar").write_bytes(b"")
    (directory / "image.json").write_text(json.dumps({"digest": digest, "recipe": recipe}))
    return directory


DIGEST = "sha256:" + "ab" * 32


def test_the_image_is_named_by_its_digest(tmp_path):
    directory = cached(tmp_path, DIGEST, image.recipe())
    found = image.find(tmp_path)
    assert found.tag == "isobench/sandbox:abababababab"
    assert (found.root, found.tar) == (directory / "rootfs", directory / "sandbox.tar")


def test_an_image_of_another_recipe_is_not_found(tmp_path):
    cached(tmp_path, DIGEST, "another")
    assert image.find(tmp_path) is None


def test_an_incomplete_or_unreadable_image_is_not_found(tmp_path):
    cached(tmp_path, DIGEST, image.recipe(), complete=False)
    broken = cached(tmp_path, "sha256:" + "cd" * 32, image.recipe())
    (broken / "image.json").write_text("{")
    assert image.find(tmp_path) is None


def test_of_two_images_of_one_recipe_the_newest_counts(tmp_path):
    old, new = (
        cached(tmp_path, DIGEST, image.recipe()),
        cached(tmp_path, "sha256:" + "cd" * 32, image.recipe()),
    )
    os.utime(old / "image.json", (1, 1))
    os.utime(new / "image.json", (2, 2))
    assert image.find(tmp_path).digest.startswith("sha256:cd")


def test_the_recipe_changes_with_its_packages(monkeypatch):
    before = image.recipe()
    monkeypatch.setattr(image, "PACKAGES", (*image.PACKAGES, "extra"))
    assert image.recipe() != before


def test_removal_takes_a_prefix_deletes_that_image_only_and_is_idempotent(tmp_path):
    gone, kept = cached(tmp_path, DIGEST, "r"), cached(tmp_path, "sha256:" + "cd" * 32, "r")
    assert image.remove("sha256:abab", tmp_path)
    assert not gone.exists()
    assert kept.exists()
    assert not image.remove("abab", tmp_path)


def test_removal_refuses_an_ambiguous_or_empty_prefix(tmp_path):
    cached(tmp_path, DIGEST, "r")
    cached(tmp_path, "sha256:" + "ac" * 32, "r")
    with pytest.raises(BenchError, match="2 images begin with 'a'"):
        image.remove("a", tmp_path)
    assert not image.remove("", tmp_path)


def test_mount_points_below_a_tree_are_seen(tmp_path):
    tree = tmp_path / "tree"
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(
        f"30 1 0:5 / {tree}/dev rw - tmpfs none rw\n31 1 0:6 / {tree}-other rw - tmpfs none rw\n"
        f"32 1 0:7 / {tree}/a\\040b rw - tmpfs none rw\n"
    )
    assert imagecache.mounts_below(tree, tmp_path) == [f"{tree}/dev", f"{tree}/a b"]
