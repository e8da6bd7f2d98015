"""Docker's filter, out of the config.json of a running container."""

from __future__ import annotations

import json

import pytest

from bench.errors import SandboxError
from bench.sandboxes import filter as filters

PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "syscalls": [{"names": ["read", "write"]}, {"names": ["write", "clone"]}],
}


def a_config(root, place, content):
    directory = root / place / filters.TASKS / "abc"
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize("place", filters.PLACES)
def test_it_is_found_below_either_containerd(tmp_path, place):
    a_config(tmp_path, place, {"linux": {"seccomp": PROFILE}})
    assert filters.found("abc", tmp_path) == PROFILE


def test_a_container_without_a_filter_is_an_error_and_no_empty_filter(tmp_path):
    a_config(tmp_path, filters.PLACES[0], {"linux": {}})
    with pytest.raises(SandboxError, match="names no system call filter"):
        filters.found("abc", tmp_path)


def test_an_engine_that_keeps_its_files_elsewhere_is_an_error(tmp_path):
    with pytest.raises(SandboxError, match=r"no config\.json"):
        filters.found("abc", tmp_path)


def test_a_filter_says_what_it_does_and_which_it_is():
    facts = filters.Filter(PROFILE).facts()
    assert (facts["seccomp.default"], facts["seccomp.calls"]) == ("SCMP_ACT_ERRNO", 3)
    other = filters.Filter({**PROFILE, "defaultAction": "SCMP_ACT_KILL"})
    assert facts["seccomp.sha256"] != other.facts()["seccomp.sha256"]
