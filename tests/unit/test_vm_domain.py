"""The domain XML of a machine, and what libvirt itself makes of it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.host.vm import domain, libvirtd, nat
from bench.host.vm.domain import Disk, Machine, Nic


def machine(**changes):
    """A plain machine with those fields changed."""
    fields = {
        "name": "isobench-r-1-a", "accelerator": "tcg", "vcpus": 2, "memory": 256 << 20,
        "kernel": Path("/k"), "initrd": Path("/i"), "command_line": "console=ttyS0 isobench.boot=micro",
    }  # fmt: skip
    return Machine(**(fields | changes))


def parsed(**changes):
    return ElementTree.fromstring(domain.xml(machine(**changes)))


def test_a_machine_boots_its_kernel_directly_and_goes_away_when_it_fails():
    root = parsed()
    assert root.findtext("os/kernel") == "/k"
    assert root.findtext("os/cmdline") == "console=ttyS0 isobench.boot=micro"
    assert [root.findtext(f"on_{event}") for event in ("poweroff", "reboot", "crash")] == ["destroy"] * 3


@pytest.mark.parametrize(
    ("kind", "type_", "cpu"), [("tcg", "qemu", "maximum"), ("kvm", "kvm", "host-passthrough")]
)
def test_the_accelerator_decides_type_and_cpu(kind, type_, cpu):
    root = parsed(accelerator=kind)
    assert (root.get("type"), root.find("cpu").get("mode")) == (type_, cpu)


def test_it_has_the_agents_port_and_nothing_that_costs_time():
    root = parsed()
    assert root.find("devices/channel/target").get("name") == "isobench.agent.0"
    assert root.find("devices/memballoon").get("model") == "none"
    assert root.find("devices/controller[@type='usb']").get("model") == "none"
    assert root.find("devices/graphics") is None
    assert root.find("devices/interface") is None


def test_the_cache_mode_of_a_disk_is_told_by_its_serial():
    text = domain.xml(machine(disks=[
        Disk(Path("/a"), "isobench-root", "qcow2"), Disk(Path("/b"), "isobench-scratch", direct=True),
    ]))  # fmt: skip
    assert domain.cache(text, "isobench-root") == "unsafe"
    assert domain.cache(text, "isobench-scratch") == "none"
    assert domain.cache(text, "isobench-swap") is None
    assert domain.caches(text) == "none, unsafe"


@given(st.integers(0, 6), st.integers(0, 4))
def test_every_device_has_a_slot_of_its_own_on_the_root_complex(disks, nics):
    devices = parsed(
        disks=[Disk(Path(f"/{i}"), f"d{i}") for i in range(disks)],
        nics=[Nic("user", mac=f"52:54:00:00:00:{i:02x}") for i in range(nics)],
    ).find("devices")
    placed = [a for e in devices for a in e.findall("address")]
    slots = [int(a.get("slot"), 16) for a in placed]
    assert len(placed) == disks + nics + 2  # the agent's bus and the source of random numbers
    assert {a.get("bus") for a in placed} == {"0x00"}
    assert len(set(slots)) == len(slots)
    assert all(domain.FIRST_SLOT <= slot < 0x1F for slot in slots)


def test_disks_carry_serials_and_an_overlay_names_what_it_reads_from():
    root = parsed(
        disks=[
            Disk(Path("/o"), "isobench-root", "qcow2", Path("/b")),
            Disk(Path("/s"), "isobench-scratch", direct=True, limits={"io.write": 10e6, "cpu": 1}),
            Disk(Path("/h"), "isobench-harness", readonly=True),
        ]
    )
    disks = root.findall("devices/disk")
    assert [d.findtext("serial") for d in disks] == ["isobench-root", "isobench-scratch", "isobench-harness"]
    assert [d.find("target").get("dev") for d in disks] == ["vda", "vdb", "vdc"]
    assert disks[0].find("backingStore/source").get("file") == "/b"
    assert disks[1].find("driver").get("cache") == "none"
    assert {e.tag: e.text for e in disks[1].find("iotune")} == {"write_bytes_sec": "10000000"}
    assert disks[2].find("readonly") is not None
    assert disks[0].find("iotune") is None


def test_the_cache_modes_of_its_disks_are_read_from_the_xml():
    disks = [Disk(Path("/o"), "isobench-root"), Disk(Path("/s"), "isobench-scratch", direct=True)]
    assert domain.caches(domain.xml(machine(disks=disks))) == "none, unsafe"
    assert domain.caches(domain.xml(machine())) == "no disk"


def test_weights_and_cpu_sets_are_part_of_it():
    root = parsed(weight=400, cpuset="1", io_weight=5000, partition="a.slice/b.slice")
    assert root.findtext("cputune/shares") == "4096"  # v1 keeps weights on another scale
    assert root.find("vcpu").get("cpuset") == "1"
    assert [p.get("cpuset") for p in root.findall("cputune/vcpupin")] == ["1", "1"]
    assert root.find("cputune/emulatorpin").get("cpuset") == "1"
    assert root.findtext("blkiotune/weight") == "1000"  # clamped to what the file can hold
    assert root.findtext("resource/partition") == "/a.slice/b.slice"
    assert parsed(weight=400, cgroup_version=2).findtext("cputune/shares") == "400"


def test_with_an_owner_libvirt_changes_no_file():
    label = parsed(owner=(64055, 109)).find("seclabel")
    assert (label.get("relabel"), label.findtext("label")) == ("no", "+64055:+109")
    assert parsed().find("seclabel") is None


def test_an_interface_has_its_tap_and_rate():
    nic = parsed(nics=[Nic("bridge", "isobr", "isobt", "52:54:00:00:00:01", 12.5e6)]).find(
        "devices/interface"
    )
    assert nic.find("source").get("bridge") == "isobr"
    assert nic.find("target").get("dev") == "isobt"
    assert nic.find("bandwidth/outbound").get("average") == "12207"
    assert parsed(nics=[Nic("user")]).find("devices/interface/source") is None


@given(
    st.text(min_size=1, max_size=80), st.integers(0, 99999), st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True)
)
def test_a_name_is_ours_short_and_tells_trial_and_tenant(run, trial, tenant):
    made = domain.name(run, trial, tenant)
    assert made.startswith("isobench-") and made.endswith(f"-{trial}-{tenant}")
    assert len(made) <= domain.NAME_LENGTH
    assert libvirtd.ours(made) == made


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")), max_size=60))
def test_any_text_survives_the_xml(text):
    assert ElementTree.fromstring(domain.xml(machine(command_line=text))).findtext("os/cmdline") == text


@pytest.fixture
def test_driver():
    library = libvirtd.binding()
    if not hasattr(library, "open"):
        pytest.skip(library.cause)
    connection = libvirtd.connect("test:///default")
    yield connection
    connection.close()


def test_libvirt_itself_takes_the_description(test_driver):
    """Its test driver checks the same grammar as a real one; only the type of domain differs."""
    text = domain.xml(
        machine(
            disks=[Disk(Path("/o"), "isobench-root", "qcow2", Path("/b"), limits={"io.read_iops": 200})],
            nics=[Nic("user")], serial_log=Path("/l"), weight=200, cpuset="0", io_weight=200,
        )
    )  # fmt: skip
    made = test_driver.createXML(text.replace('type="qemu"', 'type="test"'))
    try:
        assert libvirtd.find(test_driver, "isobench-r-1-a").maxMemory() == 256 << 10
        described = ElementTree.fromstring(made.XMLDesc())
        assert described.findtext("devices/disk/serial") == "isobench-root"
        assert described.findtext("devices/disk/iotune/read_iops_sec") == "200"
    finally:
        made.destroy()
    assert libvirtd.find(test_driver, "isobench-r-1-a") is None


def test_libvirt_takes_the_description_of_the_network(test_driver):
    made = test_driver.networkCreateXML(nat.xml("isobtestn", "10.214.9"))
    try:
        assert "10.214.9.1" in made.XMLDesc()
    finally:
        made.destroy()
