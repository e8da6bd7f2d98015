"""The guest's own group of a program: made fresh, below one that is prepared ahead of need."""

import pytest

from bench.guest import group


@pytest.fixture
def mount(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu\n")
    top = tmp_path / group.TOP
    top.mkdir()
    (top / "cgroup.controllers").write_text("cpu memory\n")
    (top / "cgroup.subtree_control").write_text("\n")
    return tmp_path


def test_there_is_no_group_without_a_pure_hierarchy(tmp_path):
    group.prepare(str(tmp_path))
    assert group.create("a", str(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


def test_preparing_turns_on_what_is_off(mount):
    group.prepare(str(mount))
    assert (mount / "cgroup.subtree_control").read_text().startswith("+memory")
    assert (mount / group.TOP / "cgroup.subtree_control").read_text().startswith("+memory")  # the last one


def test_a_group_is_prepared_for_where_nobody_has(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("\n")
    (tmp_path / "cgroup.subtree_control").write_text("\n")
    top = tmp_path / group.TOP
    with pytest.raises(FileNotFoundError):  # a file that the kernel would have made
        group.create("a", str(tmp_path))
    assert top.is_dir()


def test_a_group_in_use_is_left_alone_and_one_that_was_left_goes(mount):
    first = group.create("a b/c", str(mount))
    assert first == f"{mount}/{group.TOP}/a_b_c"
    assert group.create("a b/c", str(mount)) == first
    for number in ("", "-2"):
        (mount / group.TOP / f"a_b_c{number}" / "inside").mkdir(parents=True)
    assert group.create("a b/c", str(mount)) == f"{first}-3"
    assert (mount / group.TOP / "a_b_c" / "inside").is_dir()
