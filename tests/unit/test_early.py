"""The micro boot's initramfs: it goes on with the agent, which is one static program."""

import os
import stat
import subprocess

import pytest
from test_bootlayer import members

from bench import compiled
from bench.bootlayer import agent, early
from bench.bootlayer.harness import MOUNT, sources
from bench.bootlayer.initramfs import Entry, cpio
from bench.bootlayer.layer import BootLayer
from bench.errors import BenchError


@pytest.fixture
def layer(tmp_path):
    first = tmp_path / "initrd"
    first.write_bytes(cpio([Entry("init", stat.S_IFREG | 0o755, b"#!/bin/busybox sh\n")]))
    return BootLayer("sha256:1", "sha256:2", tmp_path / "disk", tmp_path / "kernel", first, "6.1", "r", 1)


def unpacked(archive, target):
    """A newc archive as the kernel unpacks it: a file whose directory is not there yet is lost."""
    for name, (mode, _, data) in members(archive).items():
        path = target / name
        if stat.S_ISDIR(mode):
            path.mkdir()
        else:
            path.write_bytes(data)
            path.chmod(stat.S_IMODE(mode))


def test_the_full_boot_has_the_boot_layers_own(layer, tmp_path):
    assert early.initrd(layer, "full", tmp_path / "cache") == layer.initrd
    assert not (tmp_path / "cache").exists()


def test_the_agent_starts_on_what_the_initramfs_holds_alone(layer, tmp_path):
    made = early.initrd(layer, "micro", tmp_path / "cache").read_bytes()
    first = layer.initrd.read_bytes()
    assert made.startswith(first)
    tree = tmp_path / "tree"
    tree.mkdir()
    unpacked(made[len(first) :], tree)
    program = tree / early.AGENT.lstrip("/")
    assert b"ld-linux" not in program.read_bytes()[:4096]  # it names no interpreter: nothing else is needed
    done = subprocess.run([program, "--what"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "usage: agent" in done.stderr


def test_the_harness_disk_has_the_same_agent(layer, tmp_path):
    places = {place: path for path, place in sources()}
    assert f"{MOUNT}/agent" == early.AGENT
    assert places["agent"].read_bytes() in early.initrd(layer, "micro", tmp_path).read_bytes()
    assert os.access(places["agent"], os.X_OK)


def test_it_is_made_once_for_an_agent_and_anew_for_another(layer, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = early.initrd(layer, "micro", cache)
    assert first.stat().st_mode & 0o044 == 0o044  # QEMU may run as a user of its own
    archive = early._archive
    monkeypatch.setattr(early, "_archive", lambda *_: pytest.fail("made again"))
    assert early.initrd(layer, "micro", cache) == first
    other = tmp_path / "another.agent"
    other.write_bytes(b"another agent")
    monkeypatch.setattr(early, "_archive", archive)
    monkeypatch.setattr(early, "agent", lambda: other)
    assert early.initrd(layer, "micro", cache) != first
    assert list(cache.glob(".*")) == []


def test_the_agent_is_compiled_once_for_its_sources_and_anew_for_others(tmp_path, monkeypatch):
    ours = tmp_path / "sources"
    ours.mkdir()
    monkeypatch.setattr(agent, "SOURCES", ours)
    (ours / "main.c").write_text('#include "word.h"\nint main(void) { return WORD; }\n')
    (ours / "word.h").write_text("#define WORD 3\n")
    first = agent.agent(tmp_path / "cache")
    assert subprocess.run([first], timeout=10).returncode == 3
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "compile_program", lambda *_: pytest.fail("compiled again"))
        assert agent.agent(tmp_path / "cache") == first
    (ours / "word.h").write_text("#define WORD 4\n")
    assert subprocess.run([agent.agent(tmp_path / "cache")], timeout=10).returncode == 4
    (ours / "word.h").write_text("#define WORD nonsense\n")
    with pytest.raises(BenchError, match=r"(?s)agent does not compile.*nonsense") as caught:
        agent.agent(tmp_path / "cache")
    assert caught.value.fix == compiled.FIX
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_an_agent_whose_disks_could_not_be_mounted_ends():
    """The program that becomes the agent has the child that failed, as the micro boot's init has."""
    script = 'false & exec "$0" --after $! --port /nowhere'
    done = subprocess.run(["/bin/sh", "-c", script, agent.agent()], capture_output=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == b""  # the child has said why
