"""The micro boot's initramfs: it holds all that the agent needs until the disks are mounted."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_bootlayer import members

from bench.bootlayer import early
from bench.bootlayer.early import followed, with_directories
from bench.bootlayer.initramfs import Entry, cpio
from bench.bootlayer.layer import BootLayer
from bench.errors import BenchError
from bench.guest import newroot
from bench.image import Image

NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)


@pytest.fixture
def layer(tmp_path):
    first = tmp_path / "initrd"
    first.write_bytes(cpio([Entry("init", stat.S_IFREG | 0o755, b"#!/bin/busybox sh\n")]))
    return BootLayer("sha256:1", "sha256:2", tmp_path / "disk", tmp_path / "kernel", first, "6.1", "r", 1)


@pytest.fixture
def image(tmp_path):
    """This host's own tree: what matters of an image here is its interpreter."""
    if not Path("/usr/bin/python3").exists():
        pytest.skip("this host has no /usr/bin/python3")
    return Image("sha256:3", Path("/"), tmp_path / "tar", "r")


def unpacked(archive, target):
    """A newc archive as the kernel unpacks it: a file whose directory is not there yet is lost."""
    for name, (mode, _, data) in members(archive).items():
        path = target / name
        if stat.S_ISDIR(mode):
            path.mkdir()
        elif stat.S_ISLNK(mode):
            path.symlink_to(os.fsdecode(data))
        else:
            path.write_bytes(data)
            path.chmod(stat.S_IMODE(mode))


def test_the_full_boot_has_the_boot_layers_own(layer, image, tmp_path):
    assert early.initrd(layer, image, "full", tmp_path / "cache") == layer.initrd
    assert not (tmp_path / "cache").exists()


def test_the_agent_starts_on_what_the_initramfs_holds_alone(layer, image, tmp_path):
    made = early.initrd(layer, image, "micro", tmp_path / "cache").read_bytes()
    first = layer.initrd.read_bytes()
    assert made.startswith(first)
    tree = tmp_path / "tree"
    tree.mkdir()
    unpacked(made[len(first) :], tree)
    loader = next(path for path in tree.glob("usr/lib/*/ld-linux*.so.*") if not path.is_symlink())
    agent = tree / early.MOUNT[1:] / "bench/guest/agent.py"
    python = tree / followed(tree, "/usr/bin/python3")[1]
    done = subprocess.run(
        [loader, "--inhibit-cache", "--library-path", loader.parent, python, "-vsS", agent, "--what"],
        env={"PYTHONHOME": str(tree / "usr"), "LANG": "C.UTF-8"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and "usage: agent.py" in done.stderr
    read = {line.rpartition(" ")[2].strip("'") for line in done.stderr.splitlines() if " matches /" in line}
    assert read and all(path.startswith(str(tree)) for path in read), read
    assert f"code object from {tree}{early.MOUNT}" not in done.stderr  # the agent came with its byte code
    assert (tree / "lib64/ld-linux-x86-64.so.2").is_symlink() or os.uname().machine != "x86_64"


def test_it_is_made_once_for_an_agent_and_anew_for_another(layer, image, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = early.initrd(layer, image, "micro", cache)
    assert first.stat().st_mode & 0o044 == 0o044  # QEMU may run as a user of its own
    monkeypatch.setattr(early, "_make", lambda *_: pytest.fail("made again"))
    assert early.initrd(layer, image, "micro", cache) == first
    changed = tmp_path / "serve.py"
    changed.write_text("# another agent")
    others = [
        (changed if place == "bench/guest/serve.py" else path, place) for path, place in early.sources()
    ]
    monkeypatch.setattr(early, "sources", lambda: iter(others))
    monkeypatch.setattr(early, "_make", lambda layer, image, target: target.write_bytes(b""))
    assert early.initrd(layer, image, "micro", cache) != first
    assert list(cache.glob(".*")) == []


def test_an_image_whose_python_does_not_run_is_named(layer, tmp_path):
    with pytest.raises(BenchError, match="does not load the agent") as caught:
        early.initrd(layer, Image("sha256:3", tmp_path / "rootfs", tmp_path / "tar", "r"), "micro", tmp_path)
    assert "bench image build" in caught.value.fix


def test_links_lead_to_where_they_would_inside_the_tree(tmp_path):
    (tmp_path / "usr/lib/here").mkdir(parents=True)
    (tmp_path / "usr/lib/here/lib.so.1.2").write_bytes(b"")
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "usr/lib64").mkdir()
    (tmp_path / "usr/lib64/lib.so").symlink_to("/lib/here/lib.so.1")
    (tmp_path / "usr/lib/here/lib.so.1").symlink_to("../here/lib.so.1.2")
    links, place = followed(tmp_path, "/usr/lib64/lib.so")
    assert place == "usr/lib/here/lib.so.1.2"
    assert [(link.name, link.data) for link in links] == [
        ("usr/lib64/lib.so", b"/lib/here/lib.so.1"), ("lib", b"usr/lib"),
        ("usr/lib/here/lib.so.1", b"../here/lib.so.1.2"),
    ]  # fmt: skip


def test_a_loop_of_links_is_an_error(tmp_path):
    (tmp_path / "a").symlink_to("/b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(BenchError, match="loop"):
        followed(tmp_path, "/a")


@given(st.sets(NAMES, min_size=1))
def test_every_directory_comes_once_and_before_what_lies_in_it(names):
    made = with_directories([Entry(f"top/{name}/file", stat.S_IFREG | 0o644) for name in sorted(names)])
    seen = [""]
    for entry in made:
        assert entry.name.rpartition("/")[0] in seen
        seen.append(entry.name)
    assert len(seen) == len(set(seen))


def test_an_agent_whose_disks_could_not_be_mounted_ends(monkeypatch):
    monkeypatch.setattr(newroot, "LAST_WORDS", 0.0)
    pid = os.fork()
    if pid == 0:
        os._exit(1)
    with pytest.raises(SystemExit):
        newroot.await_root(pid)
