"""The runc runtime with the real runc: limits in the kernel, output, endings, and what is left."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import missing, stays
from engine_trial import PYTHON, Trial, finish, tenant

from bench import runtimes
from bench.errors import LimitNotSetError, SandboxError
from bench.host import blockdev, launch
from bench.model import Exit

pytestmark = pytest.mark.live
MIB = 1 << 20
NUMBERS = {"cpu": 0.25, "cpu.weight": 300, "cpuset": "0", "memory": 64 * MIB, "swap": 0, "pids": 40}


@pytest.fixture
def runc(as_root):
    found = runtimes.load("runc")
    if lacking := list(found.requires()):
        missing(f"{lacking[0].cause} (fix: {lacking[0].fix})")
    return found


def residue(trial) -> list[str]:
    """Groups of that run in any hierarchy, and what runc still knows of it."""
    places = (f"*/isobench.slice/isobench-{trial.run}*", f"isobench.slice/isobench-{trial.run}*")
    found = [str(p) for place in places for p in Path("/sys/fs/cgroup").glob(place)]
    return found + [str(p) for p in Path("/run/runc").glob(f"isobench-{trial.run}*")]


@pytest.fixture
def trial(tmp_path, image):
    made = Trial(tmp_path, image)
    yield made
    made.close()
    assert stays(lambda: residue(made)) == []
    assert list(made.scratch.glob("*")) == []


def test_output_environment_and_exit_status_come_through(trial, runc):
    code = "import os,sys; print(os.environ['WHO']); print('no', file=sys.stderr); sys.exit(7)"
    with runc.open(tenant(), trial.arena()) as sandbox:
        ended, out, err = finish(sandbox.start([*PYTHON, code], {"WHO": "me"}))
    assert (ended, out, err) == (Exit("exited", code=7), b"me\n", b"no\n")


def test_limits_are_in_the_kernel_as_asked_and_read_back(trial, runc):
    with runc.open(tenant(NUMBERS), trial.arena()) as sandbox:
        process = sandbox.start(["sleep", "60"], {"PATH": "/usr/bin:/bin"})
        effective = sandbox.effective()
        assert {name: effective[name].value for name in NUMBERS} == NUMBERS
        assert set(effective) == runc.controls
        assert sandbox.cgroup.path == f"{trial.guard.path}/a"
        assert len(sandbox.pids()) == 1
        assert not [name for name in sandbox.facts() if name.startswith("differs.")]
        assert process.poll() is None
        sandbox.kill()
        assert finish(process)[0] == Exit("signalled", signal=signal.SIGKILL)


def test_io_limits_apply_to_the_trials_disk(trial, runc, tmp_path):
    limits = {"io.read": 2e6, "io.write": 3e6, "io.read_iops": 100.0, "io.write_iops": 200.0}
    with blockdev.disk(tmp_path / "disk", 64 * MIB, trial.ledger) as disk:
        arena = trial.arena(needs=("disk",), disk=disk)
        with runc.open(tenant(limits), arena) as sandbox:
            sandbox.start(["sleep", "60"], {"PATH": "/usr/bin:/bin"})
            effective = sandbox.effective()
            assert {name: effective[name].value for name in limits} == limits


def test_outgrowing_memory_ends_in_oom_and_the_kernel_tells_what_was_used(trial, runc):
    code = "b = []\nwhile True: b.append(bytearray(1 << 20))"
    with runc.open(tenant({"memory": 64 * MIB, "swap": 0}), trial.arena()) as sandbox:
        process = sandbox.start([*PYTHON, code], {})
        ended, _, _ = finish(process)
        assert (ended.reason, ended.signal) == ("oom", 9)
        assert sandbox.facts()["maxrss.floor"] < 32 * MIB < process.rusage().maxrss < 128 * MIB


def test_inside_there_is_nothing_of_the_host_and_no_power(trial, runc):
    code = (
        "import os\n"
        "print(os.getpid(), os.uname().nodename, *os.listdir('/sys/class/net'))\n"
        "held = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())\n"
        "print(int(held['CapEff'], 16), int(held['CapBnd'], 16), held['NoNewPrivs'].strip())\n"
        "for path in '/workloads/x', '/usr/x', '/proc/sys/kernel/hostname', '/scratch/x':\n"
        "    try: open(path, 'w'); print('written')\n"
        "    except OSError as error: print(error.errno)\n"
        "for kind in 'cgroup', 'ipc', 'mnt', 'net', 'pid', 'uts':\n"
        "    print(os.readlink('/proc/self/ns/' + kind))\n"
    )
    with runc.open(tenant({"memory": 64 * MIB}), trial.arena()) as sandbox:
        _, out, err = finish(sandbox.start([*PYTHON, code], {}))
        assert (trial.scratch / "a" / "x").exists()
    first, powers, *writes = out.decode().splitlines()
    assert (first, powers, err) == ("1 a lo", "0 0 1", b"")
    assert writes[:4] == ["30", "30", "30", "written"]
    own = {
        kind: str(Path(f"/proc/self/ns/{kind}").readlink())
        for kind in ("cgroup", "ipc", "mnt", "net", "pid", "uts")
    }
    assert len(writes[4:]) == len(own)
    assert not set(writes[4:]) & set(own.values())


def test_a_command_that_does_not_exist_is_a_sandbox_error_and_leaves_nothing(trial, runc):
    with pytest.raises(SandboxError, match="no-such-program"), runc.open(tenant(), trial.arena()) as sandbox:
        sandbox.start(["/no-such-program"], {})


def test_a_limit_the_kernel_refuses_is_an_error_with_runcs_words(trial, runc):
    refused = runc.open(tenant({"cpuset": "4000"}), trial.arena())
    with pytest.raises(LimitNotSetError, match="cpuset"), refused as sandbox:
        sandbox.start(["true"], {"PATH": "/usr/bin:/bin"})


def test_a_left_over_is_removed_by_the_ledger(trial, runc):
    with runc.open(tenant(), trial.arena()) as sandbox:
        sandbox.start(["sleep", "60"], {"PATH": "/usr/bin:/bin"})
        (entry,) = [e for e in trial.ledger.left(include_alive=True) if e.kind == "oci-container"]
        assert residue(trial)
        trial.ledger.undo(entry)
        trial.ledger.undo(entry)
        assert launch.wait_for(lambda: sandbox.pids() == [], 30)


def test_the_rate_of_its_network_is_shaped_and_its_peer_answers(trial, runc):
    with runc.open(tenant({"net.egress": 2.5e6}), trial.arena(needs=("peer",))) as sandbox:
        assert sandbox.effective()["net.egress"].value == 2.5e6
        address, port = sandbox.peer.split(":")
        code = f"import socket; socket.create_connection(('{address}', {port}), 5); print('there')"
        ended, out, err = finish(sandbox.start([*PYTHON, code], {}))
    assert (ended, out) == (Exit("exited", code=0), b"there\n"), err


def test_two_tenants_are_siblings(trial, runc):
    arena = trial.arena()
    with runc.open(tenant(name="a"), arena) as a, runc.open(tenant(name="b"), arena) as b:
        for sandbox in a, b:
            sandbox.start(["sleep", "60"], {"PATH": "/usr/bin:/bin"})
        assert a.cgroup.parent() == b.cgroup.parent()
        assert not set(a.pids()) & set(b.pids())


def test_crun_says_why_it_does_not_run_here_or_runs(trial, runc):
    """On a host with both cgroup versions crun itself refuses, as `requires` says it would."""
    if shutil.which("crun") is None:
        missing("crun is not installed (fix: apt-get install crun)")
    crun = runtimes.load("runc:crun")
    with crun.open(tenant(), trial.arena()) as sandbox:
        if list(crun.requires()):
            with pytest.raises(SandboxError, match="crun create failed"):
                sandbox.start(["true"], {"PATH": "/usr/bin:/bin"})
        else:
            assert finish(sandbox.start(["true"], {"PATH": "/usr/bin:/bin"}))[0] == Exit("exited", code=0)


def test_this_process_adopts_nobody_afterwards(trial, runc):
    with runc.open(tenant(), trial.arena()) as sandbox:
        finish(sandbox.start(["true"], {"PATH": "/usr/bin:/bin"}))
    orphan = "import os; pid = os.fork(); pid or __import__('time').sleep(0.5); pid and print(pid)"
    said = subprocess.run([sys.executable, "-c", orphan], capture_output=True, text=True, timeout=20)
    with pytest.raises(ChildProcessError):
        os.waitpid(int(said.stdout), 0)
