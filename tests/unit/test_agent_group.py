"""The guest's own group of a program: made fresh, below one that is prepared ahead of need."""

import pytest
from probe import probe

TOP = "isobench"


@pytest.fixture
def group(probe, tmp_path):
    """(mount point of a hierarchy, function that makes a group of that name there; "" only prepares)."""
    probe.ask("m", str(tmp_path).encode())
    return tmp_path, lambda name: probe.ask("g", name.encode()).decode()


@pytest.fixture
def made(group):
    mount, create = group
    (mount / "cgroup.controllers").write_text("cpu memory\n")
    (mount / "cgroup.subtree_control").write_text("cpu\n")
    top = mount / TOP
    top.mkdir()
    (top / "cgroup.controllers").write_text("cpu memory\n")
    (top / "cgroup.subtree_control").write_text("\n")
    return mount, create


def test_there_is_no_group_without_a_pure_hierarchy(group):
    mount, create = group
    create("")
    assert create("a") == ""
    assert list(mount.iterdir()) == []


def test_preparing_turns_on_what_is_off(made):
    mount, create = made
    create("")
    assert (mount / "cgroup.subtree_control").read_text().startswith("+memory")
    assert (mount / TOP / "cgroup.subtree_control").read_text().startswith("+memory")  # the last one


def test_a_controller_is_not_taken_for_another_whose_name_begins_alike(made):
    mount, create = made
    (mount / "cgroup.controllers").write_text("cpu\n")
    (mount / "cgroup.subtree_control").write_text("cpuset\n")
    create("")
    assert (mount / "cgroup.subtree_control").read_text().startswith("+cpu")


def test_a_group_is_prepared_for_where_nobody_has(group):
    mount, create = group
    (mount / "cgroup.controllers").write_text("\n")
    (mount / "cgroup.subtree_control").write_text("\n")
    assert create("a") == f"{mount}/{TOP}/a"
    assert (mount / TOP / "a").is_dir()


def test_a_group_in_use_is_left_alone_and_one_that_was_left_goes(made):
    mount, create = made
    first = create("a b/c")
    assert first == f"{mount}/{TOP}/a_b_c"
    assert create("a b/c") == first
    for number in ("", "-2"):
        (mount / TOP / f"a_b_c{number}" / "inside").mkdir(parents=True)
    assert create("a b/c") == f"{first}-3"
    assert (mount / TOP / "a_b_c" / "inside").is_dir()


@pytest.mark.parametrize(
    ("name", "directory"),
    [("..", "workload"), ("../../x", "_.._x"), ("é", "_"), ("." * 3 + "a.b.", "a.b"), ("x" * 300, "x" * 100)],
)
def test_a_name_cannot_lead_elsewhere(made, name, directory):
    mount, create = made
    assert create(name) == f"{mount}/{TOP}/{directory}"


def test_a_port_is_found_by_its_name_until_somebody_links_it(probe, tmp_path):
    ports = tmp_path / "ports"
    for device, name in (("vport1p1", "org.qemu.guest_agent.0"), ("vport1p2", "isobench.agent.0")):
        (ports / device).mkdir(parents=True)
        (ports / device / "name").write_text(f"{name}\n")
    link = tmp_path / "isobench.agent.0"

    def device(path, below=ports):
        return probe.ask("d", f"{path} {below}".encode()).decode()

    assert device(link) == "/dev/vport1p2"
    assert device(tmp_path / "other") == str(tmp_path / "other")
    assert device(link, tmp_path / "none") == str(link)
    link.touch()
    assert device(link) == str(link)
