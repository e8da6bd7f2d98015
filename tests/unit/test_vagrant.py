"""Vagrant's machine-readable output, ssh_config, addresses of a run's machines, and what is refused early."""

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import runtimes
from bench.errors import HostError, SandboxError, UsageError
from bench.host.vm import segment, storage, vagrant
from bench.model import Tenant

# Vagrant escapes no backslash and not its word for a comma: a text with either of them, or with "\n" in two
# characters, cannot be told from what it stands for.
texts = st.text(st.characters(exclude_categories=["Cs"])).filter(
    lambda t: "\\" not in t and vagrant.COMMA not in t
)
words = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1)


def escaped(text: str) -> str:
    """As Vagrant's UI writes one datum."""
    return text.replace(",", vagrant.COMMA).replace("\n", "\\n").replace("\r", "\\r")


def line(message: vagrant.Message) -> str:
    return ",".join([str(message.timestamp), message.target, message.kind, *map(escaped, message.data)])


messages = st.builds(
    vagrant.Message, st.integers(0, 2**40), st.just("") | words, words, st.lists(texts).map(tuple)
)


# str.splitlines would split at these as well, and Vagrant lets them through.
@given(st.lists(messages.filter(lambda m: m.data != ()), max_size=5))
def test_what_vagrant_writes_is_read_back(sent):
    assert vagrant.parse("\n".join(map(line, sent))) == sent


@given(st.text())
def test_any_output_at_all_can_be_parsed(text):
    for message in vagrant.parse(text):
        assert message.timestamp >= 0 and message.kind


@given(st.lists(messages, max_size=3), texts)
def test_lines_that_plugins_print_themselves_are_passed_over(sent, noise):
    noise = noise.replace("\n", " ").replace(",", " ")
    text = "\n".join([noise, *(f"{line(m)}\n{noise}" for m in sent)])
    assert len(vagrant.parse(text)) == len(sent)


def test_a_comma_inside_data_does_not_split_it():
    text = "1795504337,default,ui,info,a%!(VAGRANT_COMMA) b\\nc"
    assert vagrant.parse(text) == [vagrant.Message(1795504337, "default", "ui", ("info", "a, b\nc"))]


def test_a_failure_is_told_in_vagrants_own_words_with_the_name_of_its_class():
    told = "The box is gone%!(VAGRANT_COMMA) sorry"
    said = f"1,,ui,error,No box\\n\n1,,error-exit,Vagrant::Errors::BoxNotFound,{told}"
    assert vagrant.failure(vagrant.parse(said)) == "The box is gone, sorry (BoxNotFound)"


def test_without_an_exit_message_the_last_error_shown_counts():
    assert vagrant.failure(vagrant.parse("1,,ui,error,\x1b[31mfirst\x1b[0m\n2,,ui,error,second")) == "second"
    assert vagrant.failure(vagrant.parse("1,,ui,info,fine")) is None


CONFIG = """Host default
  HostName 10.213.16.2
  User vagrant
  Port 22
  IdentityFile "/a path/key"
Host other
  HostName 10.0.0.9
"""


def test_an_ssh_config_is_that_of_its_first_host():
    found = vagrant.parse_ssh_config(CONFIG)
    assert found["hostname"] == "10.213.16.2"
    assert found["identityfile"] == "/a path/key"
    assert found["host"] == "default"


def test_keywords_may_be_written_with_an_equals_sign_and_in_any_case():
    assert vagrant.parse_ssh_config("# c\nHOSTNAME=a\nport = 3") == {"hostname": "a", "port": "3"}


def test_an_ssh_config_without_a_host_is_an_error():
    with pytest.raises(SandboxError, match="names no host"):
        vagrant.ssh_config([vagrant.Message(1, "default", "ssh-config", ("Host default\n",))])


def test_a_user_s_own_vagrant_settings_do_not_reach_our_vagrant(tmp_path, monkeypatch):
    monkeypatch.setenv("VAGRANT_HOME", "/elsewhere")
    monkeypatch.setenv("VAGRANT_VAGRANTFILE", "Other")
    monkeypatch.setenv("BENCH_MEMORY", "7")
    found = vagrant.Vagrant(tmp_path / "home", tmp_path, {"BENCH_CPUS": "2"}).environment()
    assert found["VAGRANT_HOME"] == str(tmp_path / "home")
    assert "VAGRANT_VAGRANTFILE" not in found and "BENCH_MEMORY" not in found
    assert found["BENCH_CPUS"] == "2"


def program(tmp_path, monkeypatch, text):
    """A program called vagrant that does what `text` says."""
    made = tmp_path / "bin/vagrant"
    made.parent.mkdir()
    made.write_text(f"#!/bin/sh\n{text}\n")
    made.chmod(0o755)
    monkeypatch.setenv("PATH", f"{made.parent}:/usr/bin:/bin")
    return vagrant.Vagrant(tmp_path, tmp_path, log=tmp_path / "log")


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path, monkeypatch):
    command = program(tmp_path, monkeypatch, "echo '1,,ui,info,Waiting for SSH'; sleep 600 & wait")
    with pytest.raises(SandboxError, match=r"vagrant up did not end within 0.3 s: Waiting for SSH"):
        command.run("up", deadline=0.3)
    assert "Waiting for SSH" in (tmp_path / "log").read_text()


def test_a_command_that_fails_says_why_and_where_to_read_on(tmp_path, monkeypatch):
    command = program(tmp_path, monkeypatch, "echo '1,,error-exit,A::B,no such box'; exit 1")
    with pytest.raises(SandboxError, match=r"vagrant up: no such box \(B\)") as caught:
        command.run("up")
    assert caught.value.fix == f"read {tmp_path / 'log'}"


# --- addresses and storage ------------------------------------------------------------------------

TABLE = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
isob\t0010D50A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


def test_routes_are_read_from_the_kernels_table_without_the_default():
    assert segment.routed(TABLE) == [IPv4Network("192.0.2.0/24"), IPv4Network("10.213.16.0/24")]


def test_a_segment_takes_the_first_network_nobody_routes_to():
    assert segment.free(segment.routed(TABLE)) == IPv4Network("10.213.17.0/24")


@given(st.lists(st.sampled_from(segment.CANDIDATES)))
def test_a_segment_never_overlaps_a_route(taken):
    if len(set(taken)) < len(segment.CANDIDATES):
        assert not any(segment.free(taken).overlaps(network) for network in taken)


def test_a_host_that_routes_everywhere_is_told_so():
    with pytest.raises(HostError, match="no network is left"):
        segment.free([IPv4Network("10.0.0.0/8")])


def test_every_machine_of_a_segment_has_addresses_of_its_own():
    wire = segment.Segment("isobx", IPv4Network("10.213.16.0/24"))
    assert len({wire.mac(n) for n in range(50)}) == len({wire.address(n) for n in range(50)}) == 50
    assert (
        wire.kernel_argument(0) == "ifname=host0:52:54:00:d5:10:02 ip=10.213.16.2:::255.255.255.0::host0:off"
    )
    with pytest.raises(HostError, match="full"):
        wire.address(253)


def test_only_a_storage_pool_of_ours_is_made_or_removed(tmp_path):
    assert str(tmp_path) in storage.xml("isobench-r-pool", tmp_path)
    with pytest.raises(HostError, match="not a resource of this program"):
        storage.xml("default", tmp_path)
    with pytest.raises(HostError, match="not a resource of this program"):
        storage.undo_pool("default")


# --- the runtime ----------------------------------------------------------------------------------


def test_memory_below_the_floor_is_refused_before_a_machine_is_tried():
    refused = runtimes.load("vagrant").refuses(Tenant("main", "cpu/spin", {}, {"memory": 64 << 20}))
    assert refused is not None
    assert "a Vagrant guest of 64 MiB does not boot" in refused.cause


def test_memory_that_is_no_whole_mib_is_refused():
    refused = runtimes.load("vagrant").refuses(Tenant("main", "cpu/spin", {}, {"memory": (512 << 20) + 1}))
    assert refused is not None and "whole MiB" in refused.cause
    assert runtimes.load("vagrant").refuses(Tenant("main", "cpu/spin", {}, {"memory": 512 << 20})) is None


def test_it_has_no_variants():
    with pytest.raises(UsageError, match="no variants"):
        runtimes.load("vagrant:full")


def test_a_machine_is_only_taken_where_the_run_has_opened_its_machines():
    with pytest.raises(SandboxError, match="not there"):
        runtimes.load("vagrant").open(Tenant("main", "cpu/spin", {}, {}), None)


def test_the_vagrantfile_reads_what_the_runtime_sets():
    from bench.sandboxes import kept

    text = vagrant.vagrantfile().read_text()
    import inspect

    settings = inspect.getsource(kept.Pool._settings)
    for name in ("BENCH_DRIVER", "BENCH_MEMORY", "BENCH_CPUS", "BENCH_TRIAL_NAME", "BENCH_TRIAL_BRIDGE",
                 "BENCH_TRIAL_MAC", "BENCH_TRIAL_POOL", "BENCH_TRIAL_HARNESS", "BENCH_TRIAL_CONSOLE",
                 "BENCH_TRIAL_PARTITION", "BENCH_TRIAL_COMMAND_LINE", "BENCH_TRIAL_BOX_VERSION"):  # fmt: skip
        assert name in text and name in settings
