"""The host's side of a run inside a guest: options passed on, facts added, stopping, and who may resume."""

from __future__ import annotations

import os
import signal

import msgspec
import pytest
from test_store import HOST, a_plan, a_trial

from bench import store
from bench.commands import conduct, remote, testbed
from bench.commands.conversation import stopping
from bench.errors import SandboxError, UsageError
from bench.model import HostFacts, TrialRecord

FACTS = {"inside": "libvirt:full", "inside.accelerator": "tcg", "inside.vcpus": 2}


def test_options_become_the_command_line_that_gives_them():
    options = {
        "suite": "cgroups", "runtimes": "process,docker", "quick": True, "blocks": 3, "seed": 0,
        "only": "cpu", "limits": ("cpu=0.5", "memory=1GiB"),
    }  # fmt: skip
    assert remote.arguments_of(options) == [
        "--quick", "--suite", "cgroups", "--runtimes", "process,docker", "--blocks", "3", "--seed", "0",
        "--only", "cpu", "--limit", "cpu=0.5", "--limit", "memory=1GiB",
    ]  # fmt: skip
    unset = dict.fromkeys(("runtimes", "blocks", "seed", "only"))
    assert remote.arguments_of({**unset, "suite": "cgroups", "quick": False, "limits": ()}) == [
        "--suite", "cgroups",
    ]  # fmt: skip


def test_facts_of_the_host_say_that_they_are_a_guests():
    found = msgspec.json.decode(
        remote.labelled("host.json", msgspec.json.encode(HOST), FACTS), type=HostFacts
    )
    assert dict(found.identity) == {"cpu.count": 2, **FACTS}
    assert found.private == HOST.private


def test_a_trial_says_where_it_was_carried_out_and_is_otherwise_as_it_came():
    record = a_trial()
    found = msgspec.json.decode(
        remote.labelled("trials/00000.json", msgspec.json.encode(record), FACTS), type=TrialRecord
    )
    (tenant,) = found.tenants
    assert dict(tenant.facts) == {"inside": "libvirt:full", "inside.accelerator": "tcg"}
    assert tenant.observations == record.tenants[0].observations


def test_samples_pass_through_and_a_damaged_record_is_an_error():
    assert remote.labelled("samples/00000.parquet", b"\0\1", FACTS) == b"\0\1"
    with pytest.raises(SandboxError, match="damaged trials/"):
        remote.labelled("trials/00000.json", b"{", FACTS)


def test_an_unfinished_run_goes_on_where_it_was_begun(tmp_path):
    inside = HostFacts({**HOST.identity, **FACTS}, HOST.state, HOST.private)
    guest = store.create(tmp_path, a_plan(), inside, run_id="guest").path
    here = store.create(tmp_path, a_plan(), HOST, run_id="here").path
    assert conduct.place(guest, None) == conduct.place(guest, "libvirt:full") == "libvirt:full"
    assert conduct.place(here, None) is None
    assert conduct.place(None, "libvirt:full") == "libvirt:full"
    with pytest.raises(UsageError, match="on this host itself, not inside libvirt:full"):
        conduct.place(here, "libvirt:full")


def test_a_guest_of_another_kind_is_refused_with_the_known_one():
    with pytest.raises(UsageError) as caught:
        testbed.check("docker")
    assert "--on libvirt:full" in str(caught.value)


def test_a_signal_breaks_a_boot_off_and_is_only_noted_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with stopping() as stop:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # the second does not cut the clean-up short
        assert stop.asked
    with stopping() as stop:
        stop.gently = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
    assert signal.getsignal(signal.SIGINT) is before
