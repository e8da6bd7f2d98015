"""What may be unmounted and deleted, and the mount table; real directories, no root."""

import errno
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import HostError
from bench.host import mounts

LINE = "36 35 98:0 /sub /mnt/a\\040b rw,noatime shared:1 - ext4 /dev/root rw,errors=continue"


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch) -> Path:
    directory = tmp_path / "state"
    directory.mkdir()
    monkeypatch.setenv("ISOBENCH_STATE", str(directory))
    return directory


@pytest.fixture
def foreign(tmp_path) -> Path:
    directory = tmp_path / "foreign"
    directory.mkdir()
    (directory / "precious").write_text("data")
    return directory


def test_a_line_of_mountinfo_is_read_whole():
    assert mounts.parse_mountinfo(LINE) == [
        mounts.Mount("98:0", "/sub", "/mnt/a b", "ext4", "/dev/root", "rw,errors=continue")
    ]


def test_mounts_without_optional_fields_and_without_source_are_read():
    text = "22 27 0:21 / /proc rw - proc proc rw\n30 25 0:27 / /x rw shared:1 master:2 - tmpfs  rw,size=4k\n"
    assert [(m.point, m.fstype) for m in mounts.parse_mountinfo(text)] == [("/proc", "proc"), ("/x", "tmpfs")]


@given(st.text())
def test_no_mount_table_makes_the_parser_fail(text):
    mounts.parse_mountinfo(text)


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",))))
def test_mount_points_with_any_name_come_back(name):
    escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in name)  # as the kernel does
    found = mounts.parse_mountinfo(f"1 2 0:5 / /{escaped} rw - tmpfs none rw\n")
    assert [m.point for m in found] == [f"/{name}"]


def test_mounts_below_a_path_come_last_first_and_not_those_beside_it():
    table = [mounts.Mount("0:1", "/", p, "tmpfs", "none", "") for p in ("/", "/a", "/ab", "/a/b", "/a/b")]
    assert mounts.mounts_below("/a", table) == ["/a/b", "/a/b", "/a"]


def test_a_host_without_proc_is_an_error_with_its_fix(tmp_path):
    with pytest.raises(HostError, match="mount -t proc"):
        mounts.mounts(tmp_path)


# --- whose is it --------------------------------------------------------------------------------


def test_a_new_directory_becomes_ours_with_all_below_it(tmp_path):
    directory = mounts.claim(tmp_path / "new" / "er")
    assert mounts.ours(directory)
    assert mounts.ours(directory / "deep" / "down")
    assert not mounts.ours(tmp_path / "new")
    assert mounts.claim(directory) == directory


def test_a_directory_with_things_of_others_is_not_claimed(foreign):
    with pytest.raises(HostError, match="not empty"):
        mounts.claim(foreign)
    assert not mounts.ours(foreign)


def test_a_directory_that_cannot_be_made_is_an_error(foreign):
    with pytest.raises(HostError, match="cannot be used"):
        mounts.claim(foreign / "precious" / "x")


def test_the_state_directory_is_ours_without_a_mark(state):
    assert mounts.ours(state / "roots" / "x")


# --- deleting -----------------------------------------------------------------------------------


def test_a_claimed_tree_is_deleted_and_again_is_fine(tmp_path):
    directory = mounts.claim(tmp_path / "run")
    (directory / "a" / "b").mkdir(parents=True)
    (directory / "a" / "file").write_text("x")
    mounts.undo_path(str(directory))
    assert not directory.exists()
    mounts.undo_path(str(directory))


def test_a_tree_of_others_is_not_deleted(foreign):
    with pytest.raises(HostError, match="not made by this program"):
        mounts.undo_path(str(foreign))
    assert (foreign / "precious").read_text() == "data"


def test_the_state_directory_itself_is_not_deleted(state):
    with pytest.raises(HostError, match="not made by this program"):
        mounts.undo_path(str(state))
    assert state.exists()


def test_a_symbolic_link_is_deleted_and_not_followed(tmp_path, foreign):
    directory = mounts.claim(tmp_path / "run")
    (directory / "link").symlink_to(foreign)
    mounts.undo_path(str(directory / "link"))
    assert not os.path.lexists(directory / "link")
    (directory / "link").symlink_to(foreign)
    mounts.undo_path(str(directory))
    assert (foreign / "precious").read_text() == "data"


def test_a_path_that_climbs_out_of_our_directory_is_refused(tmp_path, foreign):
    directory = mounts.claim(tmp_path / "run")
    with pytest.raises(HostError, match="not made by this program"):
        mounts.undo_path(f"{directory}/../foreign/precious")
    assert (foreign / "precious").exists()


def test_a_path_through_a_link_out_of_our_directory_is_refused(tmp_path, foreign):
    directory = mounts.claim(tmp_path / "run")
    (directory / "link").symlink_to(foreign)
    with pytest.raises(HostError, match="not made by this program"):
        mounts.undo_path(str(directory / "link" / "precious"))
    assert (foreign / "precious").exists()


def test_what_is_not_mounted_needs_no_unmounting(foreign):
    mounts.undo(str(foreign))
    mounts.undo("/no/such/place")


class Table:
    """A mount table, last mounted last, and a kernel that unmounts from it."""

    def __init__(self, monkeypatch, *points, busy=(), group=()):
        self.points, self.busy, self.group, self.asked = list(points), busy, group, []
        monkeypatch.setattr(mounts, "mounts", self.read)
        monkeypatch.setattr(mounts.kernel, "unmount", self.unmount)
        for name in ("BUSY", "LAST"):
            monkeypatch.setattr(mounts, name, 0.05)

    def read(self):
        return [mounts.Mount("0:1", "/", point, "ext4", "none", "") for point in self.points]

    def unmount(self, point, flags=0):
        self.asked.append((point, bool(flags & mounts.kernel.DETACH)))
        at = len(self.points) - 1 - self.points[::-1].index(point)
        covered = any(point != above and point.startswith(above + "/") for above in self.points[at + 1 :])
        if covered:  # a path leads into what covers it, where nothing is mounted
            raise OSError(errno.EINVAL, "Invalid argument")
        if point in self.busy and not flags & mounts.kernel.DETACH:
            raise OSError(errno.EBUSY, "Device or resource busy")
        del self.points[at]
        if point in self.group and point in self.points:
            self.points.remove(point)


def test_everything_below_is_unmounted_and_what_goes_with_another_is_not_asked_for_again(state, monkeypatch):
    run = str(state / "run")
    table = Table(monkeypatch, "/", run, f"{run}/disk", f"{run}/disk", group=(f"{run}/disk",))
    mounts.undo(run)
    assert table.points == ["/"]
    assert table.asked == [(f"{run}/disk", False), (run, False)]


def test_a_mount_that_covers_another_of_a_name_below_it_goes_first(state, monkeypatch):
    run = str(state / "run")
    table = Table(monkeypatch, f"{run}/disk", run)
    mounts.undo(run)
    assert table.points == [] and table.asked == [(run, False), (f"{run}/disk", False)]


def test_a_busy_mount_is_asked_for_again_and_then_taken_out_of_sight(state, monkeypatch):
    run = str(state / "run")
    table = Table(monkeypatch, run, busy=(run,))
    mounts.undo(run)
    assert table.points == [] and table.asked[-1] == (run, True) and (run, False) in table.asked


def test_what_stays_is_an_error_with_the_kernels_answer(state, monkeypatch):
    run = str(state / "run")
    table = Table(monkeypatch, run)

    def refuse(point, flags=0):
        table.asked.append((point, bool(flags & mounts.kernel.DETACH)))
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(mounts.kernel, "unmount", refuse)
    with pytest.raises(HostError, match=r"run cannot be unmounted even lazily: Operation not permitted"):
        mounts.undo(run)
    assert table.asked[-1] == (run, True)


def test_a_mount_of_others_is_left_alone(foreign, monkeypatch):
    table = Table(monkeypatch, str(foreign))
    with pytest.raises(HostError, match="did not make"):
        mounts.undo(str(foreign))
    assert table.asked == []


# --- system tools -------------------------------------------------------------------------------


def test_a_tool_that_fails_gives_its_own_words_and_a_fix():
    with pytest.raises(HostError, match=r"(?s)no luck: bad thing.*fix: try again"):
        script = "import sys; sys.exit('bad thing')"
        mounts.tool([sys.executable, "-c", script], "no luck", fix="try again")


def test_a_tool_that_is_missing_is_named_with_its_package():
    with pytest.raises(HostError, match=r"(?s)no-such-tool is not installed.*apt-get install"):
        mounts.tool(["no-such-tool"], "it cannot be done")


def test_a_tool_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(mounts, "DEADLINE", 0.1)
    with pytest.raises(HostError, match="sleep did not end within"):
        mounts.tool(["sleep", "300"], "it cannot be done")


# --- inside the view ----------------------------------------------------------------------------


def test_the_inside_path_follows_the_directory_that_is_scratch(tmp_path):
    base, view = tmp_path / "base", tmp_path / "view"
    (base / "3" / "a").mkdir(parents=True)
    view.mkdir()
    (view / "scratch").symlink_to(base)  # the same directory under two names, as a bind mount gives
    assert mounts.inside(view, base / "3" / "a") == "/scratch/3/a"
    with pytest.raises(HostError, match="is not visible"):
        mounts.inside(view, tmp_path)
