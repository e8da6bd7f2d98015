"""What a bundle's config.json has with each mechanism: every rung one thing more than the one below."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import suite
from bench.errors import SandboxError, UsageError
from bench.host import mechanisms, oci
from bench.host.mechanisms import CAPS, MASKS, MECHANISMS, NET, NS, OVERLAY, SECCOMP, USER
from bench.runtimes import runc

FILTER = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}
HELD = ("CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_KILL")
CHOICES = st.lists(st.sampled_from(MECHANISMS[1:]), unique=True).map(lambda more: "+".join((NS, *more)))


def full(tmp=Path("/image"), netns: Path | None = Path("/run/netns/x")):
    return oci.configuration(
        ["true"], {"A": "1"}, "/", root=tmp, hostname="a", cgroup="isobench.slice/t/a",
        binds={"/scratch": (Path("/s"), "rw")}, resources={"memory": {"limit": 5}}, netns=netns,
    )  # fmt: skip


def made(variant: str):
    words = mechanisms.chosen(variant)
    return mechanisms.configured(full(), words, held=HELD, root=Path("/merged"), seccomp=FILTER)


def features(config) -> dict[str, object]:
    """The parts of a configuration that a mechanism is about."""
    linux = config["linux"]
    return {
        **{f"namespace.{n['type']}": n for n in linux["namespaces"]},
        "root": config["root"],
        "capabilities": config["process"]["capabilities"],
        "seccomp": linux.get("seccomp"),
        "masked": linux["maskedPaths"], "readonly": linux["readonlyPaths"],
        "devices": linux["resources"]["devices"], "privileges": config["process"]["noNewPrivileges"],
        "mapping": linux.get("uidMappings"),
        "sys": next(m for m in config["mounts"] if m["destination"] == "/sys"),
    }  # fmt: skip


CHANGES = {
    NET: {"namespace.network"},
    USER: {"namespace.user", "mapping", "sys"},
    OVERLAY: {"root"},
    CAPS: {"capabilities"},
    SECCOMP: {"seccomp"},
    MASKS: {"namespace.cgroup", "masked", "readonly", "devices", "privileges"},
}


@given(CHOICES, st.sampled_from(MECHANISMS[1:]))
def test_a_mechanism_changes_its_own_parts_and_no_other_whatever_else_is_there(variant, word):
    words = mechanisms.chosen(variant)
    without = "+".join(w for w in words if w != word)
    here, there = features(made(f"{without}+{word}")), features(made(without))
    assert {k for k in here.keys() | there.keys() if here.get(k) != there.get(k)} == CHANGES[word]


def test_the_first_rung_has_four_namespaces_every_power_and_no_filter():
    found = made(NS)
    assert [n["type"] for n in found["linux"]["namespaces"]] == ["pid", "mount", "uts", "ipc"]
    assert found["process"]["capabilities"] == {
        kind: [*HELD] for kind in ("bounding", "effective", "permitted")
    }  # fmt: skip
    assert "seccomp" not in found["linux"] and not found["process"]["noNewPrivileges"]
    assert found["linux"]["resources"]["memory"] == {"limit": 5}


def test_dropping_capabilities_leaves_dockers_and_adds_none():
    kept = made(f"{NS}+{CAPS}")["process"]["capabilities"]["bounding"]
    assert kept == ["CAP_CHOWN", "CAP_KILL"]


def test_everything_else_is_that_of_the_plain_bundle():
    found, plain = made("+".join(MECHANISMS)), full()
    same = ("ociVersion", "hostname")
    assert [found[k] for k in same] == [plain[k] for k in same]
    assert found["process"]["args"] == ["true"] and found["process"]["env"] == ["A=1"]
    assert found["linux"]["cgroupsPath"] == plain["linux"]["cgroupsPath"]
    assert [n["type"] for n in plain["linux"]["namespaces"]][-1] == "network"  # and it was not touched


def test_each_rung_of_the_suite_up_to_seccomp_has_one_mechanism_more_than_the_one_below():
    rungs = [r for r in suite.load("overhead").rungs if r.runtime.startswith("runc:")]
    below = {r.runtime: r.below for r in rungs}
    for rung in rungs:
        words = set(mechanisms.chosen(rung.runtime.partition(":")[2]))
        under = below[rung.runtime].partition(":")[2]
        more = words - set(mechanisms.chosen(under) if under else ())
        less = set(mechanisms.chosen(under) if under else ()) - words
        assert len(more) == 1
        assert less == ({USER} if MASKS in words else set()), "a rung that loses something says so"
        assert not less or "user namespace is gone" in rung.adds


def test_an_overlay_or_a_filter_that_is_not_given_is_an_error():
    for word in (OVERLAY, SECCOMP):
        with pytest.raises(SandboxError):
            mechanisms.configured(full(), (NS, word), held=HELD)


@pytest.mark.parametrize(("variant", "hint"), [("ns+sekcomp", "seccomp"), ("net+caps", "runc:ns+net+caps")])
def test_a_word_that_is_no_mechanism_is_refused_with_a_hint(variant, hint):
    with pytest.raises(UsageError) as error:
        runc.Runtime(variant)
    assert hint in f"{error.value.message} {error.value.fix}"


def test_another_oci_runtime_is_no_list_of_mechanisms():
    assert runc.Runtime("crun").command == "crun" and runc.Runtime("crun").words == ()
    assert runc.Runtime("ns+caps").command == "runc" and runc.Runtime("caps+ns").words == (NS, CAPS)


def test_capabilities_are_read_by_their_numbers():
    assert mechanisms.held("Name:\tx\nCapEff:\t0000000000200021\n") == (
        "CAP_CHOWN",
        "CAP_KILL",
        "CAP_SYS_ADMIN",
    )
    assert len(mechanisms.held("CapEff:\t000001ffffffffff\n")) == len(mechanisms.CAPABILITIES) == 41
    assert set(mechanisms.DOCKER_CAPABILITIES) < set(mechanisms.CAPABILITIES)


def test_a_kernel_without_overlay_says_so(tmp_path):
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    (tmp_path / "proc/filesystems").write_text("nodev\tproc\n\text4\n")
    (tmp_path / "proc/self/status").write_text("Name:\tx\n")
    assert mechanisms.lacking((NS,), tmp_path) is None
    for word in (OVERLAY, USER, SECCOMP):
        assert mechanisms.lacking((NS, word), tmp_path).what == word
