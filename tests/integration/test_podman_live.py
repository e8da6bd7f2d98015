"""The podman runtime against a real service, where one is running or can be started."""

import os
import shutil

import pytest
from conftest import stays
from engine_trial import PYTHON, Trial, finish, tenant

from bench import runtimes
from bench.errors import SandboxError
from bench.model import Exit
from tests import podmand

pytestmark = pytest.mark.live
MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def service(as_root, tmp_path_factory):
    """The service that is there, or one of our own for the length of this module."""
    if not shutil.which("podman"):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("podman is not installed")
    with podmand.running(tmp_path_factory.mktemp("podman")):
        yield


@pytest.fixture
def trial(tmp_path, image):
    made = Trial(tmp_path, image)
    yield made
    made.close()
    assert stays(lambda: made.residue("podman")) == []


@pytest.fixture
def podman():
    return runtimes.load("podman")


def test_output_and_exit_status_come_through(trial, podman):
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    with podman.open(tenant(), trial.arena()) as sandbox:
        ended, out, err = finish(sandbox.start([*PYTHON, code], {}))
    assert (ended, out, err) == (Exit("exited", code=3), b"out\n", b"err\n")


def test_limits_are_read_back_from_the_kernel_below_the_guard(trial, podman):
    limits = {"cpu": 0.25, "cpu.weight": 300, "cpuset": "0", "memory": 64 * MIB, "swap": 0, "pids": 40}
    with podman.open(tenant(limits), trial.arena()) as sandbox:
        process = sandbox.start(["sleep", "60"], {})
        effective = sandbox.effective()
        assert {name: effective[name].value for name in limits} == limits
        assert sandbox.cgroup.path.startswith(trial.guard.path + "/")
        sandbox.kill()
        assert finish(process)[0] == Exit("signalled", signal=9)


def test_outgrowing_memory_ends_in_oom(trial, podman):
    code = "b = []\nwhile True: b.append(bytearray(1 << 20))"
    with podman.open(tenant({"memory": 64 * MIB, "swap": 0}), trial.arena()) as sandbox:
        ended, _, _ = finish(sandbox.start([*PYTHON, code], {}))
    assert (ended.reason, ended.signal) == ("oom", 9)


def test_a_network_it_cannot_limit_is_said_beforehand_and_refused(trial, podman):
    assert "net.egress" not in podman.controls
    with pytest.raises(SandboxError, match="bridge"), podman.open(tenant(), trial.arena(needs=("peer",))):
        pass
