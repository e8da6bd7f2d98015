"""The boot layer: what goes into an initramfs and a disk, what names it, and how its cache behaves."""

import io
import json
import stat
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import bootlayer
from bench.bootlayer import initramfs, layer, tree, vagrantbox
from bench.bootlayer.initramfs import Entry
from bench.errors import BenchError
from bench.image import Image

NAMES = st.text("abcdefgh/-_.0123456789", min_size=1, max_size=40)


def members(archive):
    """A newc archive read back as {name: (mode, rdev, data)}, checking the alignment on the way."""
    found, at = {}, 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name_at = at + 110
        name = archive[name_at : name_at + fields[11] - 1].decode()
        assert archive[name_at + fields[11] - 1] == 0
        data_at = -(-(name_at + fields[11]) // 4) * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (fields[1], (fields[9], fields[10]), archive[data_at : data_at + fields[6]])
        at = -(-(data_at + fields[6]) // 4) * 4


@given(st.dictionaries(NAMES, st.binary(max_size=300), max_size=8))
def test_every_file_of_an_archive_is_read_back(files):
    archive = initramfs.cpio([Entry(name, stat.S_IFREG | 0o644, data) for name, data in files.items()])
    assert {name: data for name, (_, _, data) in members(archive).items()} == files
    assert len(archive) % 4 == 0


def test_an_initramfs_has_a_console_and_links_for_what_init_calls_before_proc_is_there():
    found = members(
        initramfs.archive(b"BUSYBOX", b"#!/bin/busybox sh\n", {"virtio": b"M", "blk": b"N"}, {"net": b"O"})
    )
    assert found["dev/console"][:2] == (stat.S_IFCHR | 0o600, (5, 1))
    assert found["dev/null"][:2] == (stat.S_IFCHR | 0o666, (1, 3))
    assert found["bin/mount"] == (stat.S_IFLNK | 0o777, (0, 0), b"busybox")
    assert found["init"][0] == stat.S_IFREG | 0o755
    assert [name for name in found if name.endswith(".ko")] == [
        "modules/00-virtio.ko", "modules/01-blk.ko", "modules/network/00-net.ko",
    ]  # fmt: skip


def test_init_calls_only_programs_the_initramfs_links():
    words = {word for line in tree.boot_file("init").decode().splitlines() for word in line.split()[:1]}
    shell = {"if", "then", "fi", "for", "do", "done", "case", "esac", "until", "while", "read", "echo",
             "return", "exit", "exec", "[", "}", "else", "set", "export",
             "fail", "load", "present", "disk", "attach"}  # fmt: skip
    called = {word for word in words if word.isalpha() or word == "switch_root"}
    assert called - shell <= {*initramfs.APPLETS}


@st.composite
def dependencies(draw):
    count = draw(st.integers(1, 12))
    needs = {}
    for number in range(count):
        below = draw(st.lists(st.integers(0, number - 1), unique=True)) if number else []
        needs[f"kernel/m{number}.ko"] = tuple(f"kernel/m{n}.ko" for n in below)
    return needs


@given(dependencies(), st.data())
def test_a_module_loads_after_everything_it_needs(needs, data):
    wanted = data.draw(st.lists(st.sampled_from([f"m{n}" for n in range(len(needs))]), min_size=1))
    order = initramfs.load_order(wanted, needs)
    assert len(set(order)) == len(order)
    assert {f"kernel/{name}.ko" for name in wanted} <= set(order)
    for path in order:
        assert all(order.index(need) < order.index(path) for need in needs[path])


def test_dependencies_are_read_as_depmod_writes_them():
    text = (
        "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/fs/mbcache.ko.xz\n"
        "kernel/lib/crc16.ko.xz:\n"
    )
    assert initramfs.parse_dependencies(text) == {
        "kernel/fs/ext4/ext4.ko.xz": ("kernel/fs/jbd2/jbd2.ko.xz", "kernel/fs/mbcache.ko.xz"),
        "kernel/lib/crc16.ko.xz": (),
    }


def kernel_tree(tmp_path, listing, built_in=""):
    directory = tmp_path / "6.1.0-test"
    directory.mkdir()
    (directory / "modules.dep").write_text(listing)
    (directory / "modules.builtin").write_text(built_in)
    return directory


def test_a_built_in_module_needs_no_file(tmp_path):
    directory = kernel_tree(tmp_path, "kernel/virtio-blk.ko:\n", "kernel/fs/ext4/ext4.ko\n")
    (directory / "kernel").mkdir()
    (directory / "kernel/virtio-blk.ko").write_bytes(b"blk")
    assert initramfs.modules(directory, ("ext4", "virtio_blk")) == {"virtio_blk": b"blk"}


def test_a_kernel_without_a_needed_module_is_refused_by_name(tmp_path):
    with pytest.raises(BenchError, match="virtio_blk"):
        initramfs.modules(kernel_tree(tmp_path, "", "kernel/fs/ext4/ext4.ko\n"), ("ext4", "virtio_blk"))


def test_boot_files_keep_their_modes_whatever_a_checkout_gave_them():
    with tarfile.open(fileobj=io.BytesIO(tree.boot_tar(lambda name: name.encode()))) as tar:
        modes = {member.name: member.mode for member in tar}
        assert tar.extractfile("etc/hosts").read() == b"hosts"
    assert modes["etc/sudoers.d/vagrant"] == 0o440
    assert modes["home/vagrant/.ssh"] == 0o700
    assert modes["etc/hosts"] == 0o644
    assert tree.boot_tar() == tree.boot_tar()


def test_a_changed_program_of_the_image_is_seen_and_a_changed_list_is_allowed():
    base = {"./usr/bin/fio": "a", "./etc/passwd": "b", "./usr/bin/kept": "c", "./var/lib/dpkg/status": "d"}
    changed = tree.changed(base, {**base, "./usr/bin/fio": "x", "./etc/passwd": "y", "./boot/new": "z"})
    assert changed == ["./etc/passwd", "./usr/bin/fio"]
    assert tree.not_allowed(changed) == ["./usr/bin/fio"]
    assert tree.changed(base, {k: v for k, v in base.items() if k != "./usr/bin/kept"}) == ["./usr/bin/kept"]


def test_both_boots_have_one_command_line_but_for_the_boot_itself():
    micro, full = bootlayer.command_line("micro").split(), bootlayer.command_line("full").split()
    assert set(micro) ^ set(full) == {"isobench.boot=micro", "isobench.boot=full"}
    assert not any(word.startswith("mitigations") for word in micro)


def test_only_a_vagrant_machine_listens():
    assert "isobench.ssh" in vagrantbox.box_command_line().split()
    assert "isobench.ssh" not in bootlayer.command_line("full")
    assert b"ConditionKernelCommandLine=isobench.ssh" in tree.boot_file("ssh-unit.conf")


@pytest.fixture
def base(tmp_path):
    return Image("sha256:" + "a" * 64, tmp_path / "rootfs", tmp_path / "sandbox.tar", "r")


def put_layer(cache, base, digest, made_by):
    directory = cache / digest[:12]
    directory.mkdir(parents=True)
    for name in ("disk.qcow2", "vmlinuz", "initrd"):
        (directory / name).write_text(name)
    facts = {"base": base, "digest": f"sha256:{digest}", "recipe": made_by, "kernel": "6.1", "size": "4096"}
    (directory / "layer.json").write_text(json.dumps(facts))
    return directory


def test_a_layer_is_found_by_its_recipe(tmp_path, base):
    cache = tmp_path / "boot"
    put_layer(cache, base.digest, "1" * 64, "an older recipe")
    assert bootlayer.find(base, cache) is None
    put_layer(cache, base.digest, "2" * 64, layer.recipe(base))
    found = bootlayer.find(base, cache)
    assert (found.digest, found.size, found.base) == (f"sha256:{'2' * 64}", 4096, base.digest)


def test_a_found_layer_is_not_built_again(tmp_path, base, monkeypatch):
    cache = tmp_path / "boot"
    put_layer(cache, base.digest, "2" * 64, layer.recipe(base))
    monkeypatch.setenv("PATH", "")
    assert bootlayer.build(base, cache=cache) == bootlayer.find(base, cache)


def test_an_incomplete_layer_is_not_found(tmp_path, base):
    cache = tmp_path / "boot"
    (put_layer(cache, base.digest, "2" * 64, layer.recipe(base)) / "initrd").unlink()
    assert bootlayer.find(base, cache) is None


def test_the_recipe_changes_with_the_image_and_with_the_packages(base, monkeypatch):
    before = layer.recipe(base)
    assert layer.recipe(Image("sha256:" + "b" * 64, base.root, base.tar, "r")) != before
    monkeypatch.setattr(tree, "PACKAGES", (*tree.PACKAGES, "extra"))
    assert layer.recipe(base) != before


def test_removing_an_image_removes_the_layers_on_it_alone(tmp_path):
    cache = tmp_path / "boot"
    gone, kept = (put_layer(cache, f"sha256:{c * 64}", d * 64, "r") for c, d in (("a", "1"), ("b", "2")))
    assert bootlayer.remove("aaaa", cache) == 1
    assert not gone.exists() and kept.exists()
    assert bootlayer.remove("aaaa", cache) == 0
    assert bootlayer.remove("", cache) == 0


def test_a_missing_tool_is_named_with_the_package_that_brings_it(tmp_path, base, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BenchError, match="apt-get install e2fsprogs"):
        bootlayer.build(base, cache=tmp_path / "boot")


def test_a_box_names_its_files_and_its_owner_is_nobody_in_particular(tmp_path, base):
    directory = put_layer(tmp_path / "boot", base.digest, "2" * 64, "r")
    made = next(bootlayer.layers(tmp_path / "boot"))
    catalog = json.loads(bootlayer.catalog(made).read_text())
    assert catalog["name"] == "isobench/sandbox"
    assert catalog["versions"][0]["version"] == f"1.0.{int('2' * 8, 16)}" == bootlayer.version(made)
    with tarfile.open(directory / "sandbox.box") as tar:
        assert tar.getnames() == ["metadata.json", "Vagrantfile", "box.img", "vmlinuz", "initrd"]
        assert {(m.uid, m.uname, m.mode) for m in tar} == {(0, "", 0o644)}
        assert b"isobench.boot=full isobench.ssh" in tar.extractfile("Vagrantfile").read()
    before = (directory / "sandbox.box").stat().st_mtime_ns
    bootlayer.box(made)
    assert (directory / "sandbox.box").stat().st_mtime_ns == before
