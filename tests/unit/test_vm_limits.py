"""What a machine's limits are read back as, and what is refused before anything is made."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import runtimes
from bench.errors import HostError, LimitNotSetError, UsageError
from bench.host.vm import accelerator, daemon, disks, limits, machines, nat
from bench.model import Reading, Tenant
from bench.runtimes.libvirt import Variant, parse_variant

MIB = 1 << 20


def test_a_machine_that_cannot_boot_is_refused_with_the_floor():
    with pytest.raises(LimitNotSetError, match=r"64 MiB cannot boot: the floor is \d+ MiB"):
        limits.check_memory("micro", 64 * MIB)
    limits.check_memory("micro", limits.FLOOR["micro"])
    limits.check_memory("full", None)


def test_the_runtime_says_so_before_a_trial_is_tried():
    runtime = runtimes.load("libvirt:full")
    assert "full guest" in runtime.refuses(Tenant("a", "cpu/spin", {}, {"memory": 64 * MIB})).cause
    assert runtime.refuses(Tenant("a", "cpu/spin", {}, {"cpu": 0.5})) is None


def test_processes_inside_are_not_offered_as_a_limit():
    assert "pids" not in runtimes.load("libvirt").controls


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, Variant("micro", None)), ("full", Variant("full", None)), ("user", Variant("micro", "user")),
        ("full+nat", Variant("full", "nat")), ("bridge+micro", Variant("micro", "bridge")),
    ],
)  # fmt: skip
def test_variants_name_boot_and_network(text, found):
    assert parse_variant(text) == found


@pytest.mark.parametrize("text", ["ful", "micro+full", "micro+", "user+nat", "full+tap", "+"])
def test_an_unknown_or_doubled_word_is_a_usage_error_with_the_known_ones(text):
    with pytest.raises(UsageError) as caught:
        parse_variant(text)
    assert "micro, full" in caught.value.fix


@given(st.text(max_size=20))
def test_every_text_is_a_variant_or_a_usage_error(text):
    try:
        parse_variant(text)
    except UsageError as error:
        assert error.fix


def test_a_rate_that_the_network_cannot_hold_is_lacking():
    assert "no rate control" in runtimes.load("libvirt:user").lacks("net.egress").cause


def test_throttles_are_those_of_the_scratch_disk_alone():
    blocks = {
        "/machine/peripheral/virtio-disk0/virtio-backend": {"bps_wr": 1},
        "/machine/peripheral/virtio-disk2/virtio-backend": {"bps_wr": 10000000, "iops_rd": 0},
    }
    held = limits._throttles(blocks, "vdc")
    assert held["io.write"].value == 10000000
    assert (held["io.read_iops"].value, held["io.read_iops"].reason) == (None, "unlimited")
    assert all(r.value is None and r.reason for r in limits._throttles(blocks, None).values())


def test_where_libvirt_says_another_value_both_are_kept():
    held = {
        "cpu": Reading(0.5, "f"),
        "memory": Reading(128 * MIB, "q"),
        "io.read": Reading(None, "q", "unlimited"),
    }
    said = {"cpu": 0.25, "memory": 128 * MIB, "io.read": None, "cpu.weight": 100}
    assert limits.differences(held, said) == {"differs.cpu": 0.25}


@pytest.mark.parametrize(
    ("name", "wanted", "held", "same"),
    [
        ("net.egress", 12.5e6, 12499968.0, True), ("net.egress", 12.5e6, 12.4e6, False),
        ("net.egress", 12.5e6, None, False), ("cpu", 0.5, 0.5, True), ("memory", 100 * MIB, 101 * MIB, False),
        ("cpuset", "0,1", "0-1", True), ("swap", 0, 0, True), ("io.write", 10e6, 10000000, True),
    ],
)  # fmt: skip
def test_what_is_held_is_compared_up_to_the_rounding_of_its_file(name, wanted, held, same):
    assert limits.holds(name, wanted, Reading(held, "s", "" if held else "unlimited")) is same


def test_a_limit_that_is_not_held_names_itself_and_what_is():
    with pytest.raises(LimitNotSetError, match=r"io\.write: wanted 5 .* it holds: unlimited"):
        limits.verify({"io.write": 5}, {"io.write": Reading(None, "q", "unlimited")})
    with pytest.raises(LimitNotSetError, match="it holds: nothing"):
        limits.verify({"io.write": 5}, {})


def test_a_scratch_disk_leaves_room_for_a_second_tenant():
    size = disks.scratch_size(700 * MIB, 690 * MIB)
    assert size % MIB == 0
    assert disks.scratch_size(700 * MIB, 690 * MIB - size) == size
    with pytest.raises(HostError, match="too few"):
        disks.scratch_size(700 * MIB, 100 * MIB)
    with pytest.raises(HostError, match="too few"):
        disks.scratch_size(100 * MIB, 100 * MIB)


def test_a_directory_qemu_may_not_pass_through_is_named():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        top = Path(place)
        closed = top / "closed"
        top.chmod(0o711)
        closed.mkdir(mode=0o700)
        assert disks.reachable(closed / "file", None) is None
        assert disks.reachable(closed / "file", (64055, 64055)) == str(closed)
        closed.chmod(0o711)
        assert disks.reachable(closed / "file", (64055, 64055)) is None


# --- accelerator --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said", "kind", "reason"),
    [
        (33, "", "kvm", "ran under KVM"), (None, "", "tcg", "did not end"), (1, "", "tcg", "it said nothing"),
        (1, "x\nKVM internal error. Suberror: 1\n", "tcg", "Suberror: 1"), (0, "", "tcg", "failed under it"),
    ],
)  # fmt: skip
def test_only_a_guest_that_ran_to_its_end_proves_kvm(status, said, kind, reason):
    found = accelerator.judge(status, 15.0, said)
    assert found.kind == kind
    assert reason in found.reason


def test_the_probe_is_kept_until_the_host_changes(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(
        accelerator, "_try", lambda: tried.append(1) or accelerator.Accelerator("tcg", "because")
    )
    monkeypatch.setattr(accelerator, "_host", lambda: {"kernel": "1"})
    assert accelerator.known(tmp_path) is None
    assert (
        accelerator.probe(tmp_path)
        == accelerator.probe(tmp_path)
        == accelerator.Accelerator("tcg", "because")
    )
    assert (len(tried), accelerator.known(tmp_path)) == (1, "tcg")
    monkeypatch.setattr(accelerator, "_host", lambda: {"kernel": "2"})
    assert accelerator.known(tmp_path) is None
    accelerator.probe(tmp_path)
    assert len(tried) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', "null"])
def test_a_broken_record_of_the_probe_is_no_record(tmp_path, text):
    (tmp_path / accelerator.CACHE).write_text(text)
    assert accelerator.known(tmp_path) is None


def test_the_boot_sector_is_one():
    sector = accelerator.boot_sector()
    assert len(sector) == 512 and sector[510:] == b"\x55\xaa"


# --- what was asked of QEMU's user, the daemons, and the firewall --------------------------------


@pytest.mark.parametrize(
    ("mode", "owner", "group", "may"),
    [
        (0o600, 0, 0, False), (0o660, 0, 109, True), (0o660, 0, 0, False), (0o666, 0, 0, True),
        (0o600, 64055, 0, True), (0o606, 0, 109, False),
    ],
)  # fmt: skip
def test_whether_qemus_user_may_open_a_device(mode, owner, group, may):
    assert daemon.may_open(mode, owner, group, 64055, [109, 64055]) is may


def test_a_device_that_was_opened_is_put_back(tmp_path):
    device = tmp_path / "kvm"
    device.touch(mode=0o660)
    (tmp_path / daemon.KVM_RECORD).write_text(json.dumps({"mode": 0o600, "gid": device.stat().st_gid}))
    assert daemon.close_kvm(tmp_path, device) is True
    assert device.stat().st_mode & 0o777 == 0o600
    assert daemon.close_kvm(tmp_path, device) is False


def test_nothing_is_stopped_where_nothing_was_started(tmp_path):
    assert daemon.stop_libvirtd(tmp_path) is False
    (tmp_path / daemon.RECORD).write_text("{")
    with pytest.raises(HostError, match="cannot be read"):
        daemon.stop_libvirtd(tmp_path)


def test_only_chains_of_libvirts_are_ever_removed():
    with pytest.raises(HostError, match="no chain of libvirt"):
        nat.remove_chain("iptables", "filter", "DOCKER")


@pytest.mark.parametrize("name", ["web", "../isobench-x", "isobench-a/b", ""])
def test_domains_of_others_are_never_touched(name):
    with pytest.raises(HostError, match="not a resource of this program"):
        machines.undo_domain(name)
