"""Which device a path's IO reaches, schedulers and swap areas, on fake trees; no root."""

import os
from pathlib import Path

import pytest

from bench.errors import HostError
from bench.host import blockdev
from bench.ledger import Ledger


class Host:
    """A fake /proc, /sys and /dev with the shapes the kernel gives them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lines: list[str] = []
        self.device("vda", "254:0")
        self.device("vda/vda1", "254:1", partition=1)
        self.mount("/", "254:1", "ext4", "/dev/vda1")

    def mount(self, point: str, number: str, fstype: str, source: str, options: str = "rw") -> None:
        self.lines.append(f"1 2 {number} / {point} rw shared:1 - {fstype} {source} {options}")
        info = self.root / "proc/self/mountinfo"
        info.parent.mkdir(parents=True, exist_ok=True)
        info.write_text("\n".join(self.lines) + "\n")

    def device(self, path: str, number: str, **files: object) -> Path:
        directory = self.root / "sys/devices/virtual" / path
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in {"dev": number, **files}.items():
            (directory / name).write_text(f"{text}\n")
        for link in (self.root / "sys/dev/block" / number, self.root / "sys/class/block" / directory.name):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(directory)
        return directory

    def slave(self, of: Path, device: str) -> None:
        (of / "slaves").mkdir(exist_ok=True)
        (of / "slaves" / device).symlink_to(self.root / "sys/class/block" / device)

    def resolve(self, path: str) -> blockdev.Device:
        return blockdev.resolve(Path(path), self.root)


@pytest.fixture
def host(tmp_path) -> Host:
    return Host(tmp_path / "root")


def test_a_partition_gives_its_whole_disk_because_limits_are_on_disks(host):
    assert host.resolve("/no/such/file") == blockdev.Device("/dev/vda", "254:0")


def test_the_longest_mount_point_wins_and_of_equal_ones_the_last(host):
    host.device("sda", "8:0")
    host.device("sdb", "8:16")
    host.mount("/nosuch", "8:0", "xfs", "/dev/sda")
    assert host.resolve("/nosuch/x").name == "/dev/sda"
    assert host.resolve("/nosuchbeside").name == "/dev/vda"
    host.mount("/nosuch", "8:16", "xfs", "/dev/sdb")
    assert host.resolve("/nosuch/x").name == "/dev/sdb"


def test_a_loop_device_names_its_backing_file_and_the_disk_below(host):
    loop = host.device("loop3", "7:3")
    (loop / "loop").mkdir()
    (loop / "loop/backing_file").write_text("/var/x.img\n")
    host.mount("/nosuch", "7:3", "ext4", "/dev/loop3")
    assert host.resolve("/nosuch/a") == blockdev.Device("/dev/loop3", "7:3", ("/var/x.img", "/dev/vda"))


def test_stacked_mappings_are_reported_to_the_bottom(host):
    host.device("sda", "8:0")
    raid = host.device("md0", "9:0")
    host.slave(raid, "sda")
    host.slave(raid, "vda")
    crypt = host.device("dm-0", "253:0")
    host.slave(crypt, "md0")
    host.mount("/nosuch", "253:0", "ext4", "/dev/mapper/crypt")
    assert host.resolve("/nosuch") == blockdev.Device(
        "/dev/dm-0", "253:0", ("/dev/md0", "/dev/sda", "/dev/vda")
    )


def test_an_overlay_leads_to_the_device_of_its_upper_directory(host):
    host.device("sda", "8:0")
    host.mount("/nosuch/docker", "8:0", "ext4", "/dev/sda")
    (host.root / "nosuch/docker/upper").mkdir(parents=True)
    host.mount(
        "/merged", "0:50", "overlay", "overlay", "rw,lowerdir=/l,upperdir=/nosuch/docker/upper,workdir=/w"
    )
    assert host.resolve("/merged/f") == blockdev.Device(
        "/dev/sda", "8:0", ("overlay on /nosuch/docker/upper",)
    )


def test_an_overlay_seen_from_inside_a_container_is_an_error_and_no_endless_search(host):
    host.mount("/", "0:50", "overlay", "overlay", "rw,lowerdir=/l,upperdir=/elsewhere/upper,workdir=/w")
    with pytest.raises(HostError, match=r"(?s)/elsewhere/upper.*cannot be seen from here.*fix:"):
        host.resolve("/nosuch")


def test_a_file_system_with_an_anonymous_device_number_is_found_by_its_source(host):
    mapped = host.device("dm-1", "253:1")
    host.slave(mapped, "vda1")
    (host.root / "dev/mapper").mkdir(parents=True)
    (host.root / "dev/dm-1").touch()
    (host.root / "dev/mapper/btr").symlink_to(host.root / "dev/dm-1")
    host.mount("/nosuch", "0:33", "btrfs", "/dev/mapper/btr", "rw,subvol=/@home")
    assert host.resolve("/nosuch/x") == blockdev.Device("/dev/dm-1", "253:1", ("/dev/vda1",))


@pytest.mark.parametrize(
    ("fstype", "source"), [("tmpfs", "none"), ("nfs4", "server:/export"), ("btrfs", "/dev/gone")]
)
def test_what_has_no_block_device_is_an_error_that_names_the_file_system(host, fstype, source):
    host.mount("/nosuch", "0:60", fstype, source)
    with pytest.raises(HostError, match=f"is on {fstype}, which has no block device"):
        host.resolve("/nosuch")


def test_a_device_that_sysfs_does_not_know_is_an_error(host):
    host.mount("/nosuch", "99:9", "ext4", "/dev/zz")
    with pytest.raises(HostError, match="99:9 is not in /sys/dev/block"):
        host.resolve("/nosuch")


def test_a_device_name_with_a_slash_is_spelled_as_in_dev(host):
    host.device("cciss!c0d0", "104:0")
    host.mount("/nosuch", "104:0", "ext4", "/dev/cciss/c0d0")
    assert host.resolve("/nosuch").name == "/dev/cciss/c0d0"


# --- disks --------------------------------------------------------------------------------------


def fake_disk(tmp_path: Path, text: str) -> blockdev.Disk:
    queue = tmp_path / "block/loop9/queue"
    queue.mkdir(parents=True)
    (queue / "scheduler").write_text(text)
    return blockdev.Disk("/dev/loop9", "7:9", tmp_path, 1, True, tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none [mq-deadline] kyber bfq\n", ("mq-deadline", ["none", "mq-deadline", "kyber", "bfq"])),
        ("[none]\n", ("none", ["none"])),
        ("none\n", ("none", ["none"])),
    ],
)
def test_the_scheduler_in_brackets_is_the_one_in_force(tmp_path, text, expected):
    assert fake_disk(tmp_path, text).schedulers() == expected


def test_a_scheduler_that_is_not_in_force_after_writing_it_is_an_error(tmp_path):
    disk = fake_disk(tmp_path, "[none] bfq kyber\n")  # a file keeps what is written and brackets nothing
    with pytest.raises(HostError, match="/dev/loop9 keeps scheduler 'none' instead of 'kyber'"):
        disk.set_scheduler("kyber")


def test_a_device_without_a_scheduler_is_an_error(tmp_path):
    disk = blockdev.Disk("/dev/loop9", "7:9", tmp_path, 1, True, tmp_path)
    with pytest.raises(HostError, match="scheduler of /dev/loop9 cannot be read"):
        disk.set_scheduler("none")


def test_a_disk_larger_than_the_space_left_is_an_error_that_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("ISOBENCH_STATE", str(tmp_path / "state"))
    ledger = Ledger(tmp_path / "ledger.jsonl")
    with (
        pytest.raises(HostError, match=r"(?s)cannot be made .* bytes long.*are free.*fix: free some space"),
        blockdev.disk(tmp_path / "d", 1 << 60, ledger),
    ):
        raise AssertionError("a disk of an exbibyte")
    assert not (tmp_path / "d/disk.img").exists()
    assert ledger.left(include_alive=True) == []


def test_a_disk_is_not_made_among_the_files_of_others(tmp_path):
    (tmp_path / "mine").write_text("x")
    with (
        pytest.raises(HostError, match="not empty"),
        blockdev.disk(tmp_path, 1 << 20, Ledger(tmp_path / "ledger.jsonl")),
    ):
        raise AssertionError("a disk in a foreign directory")
    assert (tmp_path / "mine").read_text() == "x"


def test_loops_and_swap_of_others_are_not_undone(tmp_path):
    (tmp_path / "disk.img").write_text("x")
    with pytest.raises(HostError, match="no disk of this program"):
        blockdev.undo_loop(str(tmp_path / "disk.img"))
    with pytest.raises(HostError, match="no swap file of this program"):
        blockdev.undo_swap(str(tmp_path / "disk.img"))
    assert (tmp_path / "disk.img").exists()


def test_loop_devices_are_found_by_their_file_even_when_it_was_deleted(tmp_path):
    for number, text in ((0, "/a/disk.img"), (1, "/a/disk.img (deleted)"), (2, "/a/disk.img2")):
        directory = tmp_path / f"sys/block/loop{number}/loop"
        directory.mkdir(parents=True)
        (directory / "backing_file").write_text(text + "\n")
    (tmp_path / "sys/block/loop3").mkdir()
    assert blockdev.loops("/a/disk.img", tmp_path) == ["/dev/loop0", "/dev/loop1"]


LISTING = """{"loopdevices": [
    {"name": "/dev/loop1", "back-ino": 2214342, "back-maj:min": "     254:0  "},
    {"name": "/dev/loop8", "back-ino": 2214342, "back-maj:min": "   8:16"},
    {"name": "/dev/loop9", "back-ino": 7, "back-maj:min": " 254:0"}]}"""


@pytest.mark.parametrize(("listing", "expected"), [(LISTING, ["/dev/loop1"]), ("", []), ("\n", [])])
def test_loop_devices_are_found_by_inode_and_file_system(listing, expected):
    assert blockdev.loops_of_inode(listing, 2214342, os.makedev(254, 0)) == expected


# --- swap ---------------------------------------------------------------------------------------


def test_swap_areas_in_use_are_listed(tmp_path):
    (tmp_path / "proc").mkdir()
    assert blockdev.swaps(tmp_path) == []
    (tmp_path / "proc/swaps").write_text(
        "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
        "/my\\040swap                              file    \t65532\t\t0\t\t-2\n"
        "/dev/sda3                               partition\t1\t\t0\t\t-3\n"
    )
    assert blockdev.swaps(tmp_path) == ["/my swap", "/dev/sda3"]
