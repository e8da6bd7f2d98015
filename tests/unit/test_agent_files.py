"""Files and trees on their way into a guest and out of it."""

import contextlib
import io
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from agents import agent, guest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import HostError, SandboxError
from bench.guest import wire
from bench.host.vm import transfer


def test_a_file_is_written_whole_with_its_mode(guest, tmp_path):
    data = os.urandom(3_000_000) + wire.MAGIC
    guest.write(str(tmp_path / "a/b"), data, mode=0o600)
    assert (tmp_path / "a/b").read_bytes() == data
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o600
    assert guest.read(str(tmp_path / "a/b")) == data
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
    with pytest.raises(SandboxError, match=r"Not a directory|File exists"):
        guest.write(str(tmp_path / "a/b/c"), data)
    with pytest.raises(SandboxError, match="No such file"):
        guest.read(str(tmp_path / "no"))


NAMES = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1, max_size=40
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)
TREES = st.dictionaries(
    NAMES, st.binary(max_size=2000) | st.dictionaries(NAMES, st.binary(max_size=100), max_size=3)
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tree=TREES)
def test_a_tree_survives_the_way_there_and_back(guest, tree):
    with tempfile.TemporaryDirectory() as place:
        source, inside, back = (Path(place, name) for name in ("source", "inside", "back"))
        source.mkdir()
        for name, content in tree.items():
            if isinstance(content, bytes):
                (source / name).write_bytes(content)
            else:
                (source / name).mkdir()
                for inner, data in content.items():
                    (source / name / inner).write_bytes(data)
        guest.put(source, str(inside), 30)
        guest.get(str(inside), back, 30)
        assert listing(back) == listing(inside) == listing(source)


def listing(directory):
    return {
        str(p.relative_to(directory)): str(p.readlink())
        if p.is_symlink()
        else p.read_bytes()
        if p.is_file()
        else None
        for p in directory.rglob("*")
    }


def test_links_inside_a_tree_and_modes_come_along(guest, tmp_path):
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d/program").write_text("#!/bin/sh\n")
    (source / "d/program").chmod(0o4755)
    (source / "d/link").symlink_to("program")
    (source / "up").symlink_to("d/../d/program")
    os.link(source / "d/program", source / "hard")
    guest.put(source, str(tmp_path / "inside"))
    guest.get(str(tmp_path / "inside"), tmp_path / "back")
    assert listing(tmp_path / "back") == listing(source)
    assert (tmp_path / "back/d/program").stat().st_mode & 0o7777 == 0o755  # no set-user-ID from a guest


def test_a_directory_that_is_not_there_is_named(guest, tmp_path):
    with pytest.raises(SandboxError, match="no such directory in the guest"):
        guest.get(str(tmp_path / "no"), tmp_path / "back")
    with pytest.raises(HostError, match="cannot read"):
        guest.put(tmp_path / "no", str(tmp_path / "inside"))
    assert guest.ping() < 5


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "members",
    [
        [member("/etc/evil")],
        [member("../evil")],
        [member("a/../../evil")],
        [member("l", tarfile.SYMTYPE, "/etc")],
        [member("l", tarfile.SYMTYPE, "../..")],
        [member("d", tarfile.DIRTYPE), member("l", tarfile.SYMTYPE, "d"), member("l/x")],
        [member("l", tarfile.SYMTYPE, "."), member("l", tarfile.DIRTYPE)],
        [member("h", tarfile.LNKTYPE, "/etc/passwd")],
        [member("h", tarfile.LNKTYPE, "../x")],
        [member("n", tarfile.CHRTYPE)],
        [member("p", tarfile.FIFOTYPE)],
        [member("/".join(["x" * 200] * 20))],
        [
            member("d", tarfile.DIRTYPE), member("d/e", tarfile.DIRTYPE), member("f", tarfile.DIRTYPE),
            member("d/e/k", tarfile.SYMTYPE, "../../f"), member("m", tarfile.SYMTYPE, "d/e/k/../.."),
        ],
    ],
)  # fmt: skip
def test_an_archive_that_would_leave_its_directory_is_refused(tmp_path, members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for info in members:
            tar.addfile(info)
    packed.seek(0)
    with (
        tarfile.open(fileobj=packed) as tar,
        pytest.raises(SandboxError, match="is refused"),
    ):
        transfer.extract(tar, tmp_path / "target")
    assert [p.name for p in tmp_path.iterdir()] == ["target"]


def test_a_file_sent_over_an_existing_link_does_not_follow_it(tmp_path):
    (tmp_path / "outside").write_text("precious")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(member("x"))
    packed.seek(0)
    (tmp_path / "target").mkdir()
    (tmp_path / "target/x").symlink_to(tmp_path / "outside")
    with tarfile.open(fileobj=packed) as tar, contextlib.suppress(SandboxError):
        transfer.extract(tar, tmp_path / "target")
    assert (tmp_path / "outside").read_text() == "precious"
