"""Real machines through the real libvirt: limits, endings, networks, bad luck, and what is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from conftest import stays
from engine_trial import PYTHON, WORKLOADS, finish

from bench import bootlayer, printed, runtimes, session, workload
from bench.commands.cleaning import clean
from bench.errors import LimitNotSetError, SandboxError
from bench.gate import NAME as GATE
from bench.host import blockdev, cgroups
from bench.host.vm import accelerator
from bench.ledger import Ledger, state_dir
from bench.model import Exit, Tenant
from bench.runtimes import libvirt as plugin

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("no_trace")]
MIB = 1 << 20
RAM = 256 * MIB


@pytest.fixture(scope="module")
def layer(image):
    found = bootlayer.find(image) or bootlayer.build(image)
    lacking = runtimes.load("libvirt").requires()
    if lacking:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{lacking[0].cause} (fix: {lacking[0].fix})")
    return found


class Trial:
    """Surroundings of one trial, in a directory that QEMU's user may pass through."""

    def __init__(self, directory, image):
        self.run = f"t{uuid.uuid4().hex[:6]}"
        self.ledger = Ledger(directory / "ledger.jsonl")
        self.logs = directory / "logs"
        self.logs.mkdir()
        self.image = image
        self.cgroups = cgroups.detect()
        self.guard = cgroups.guard(self.run, 1, self.cgroups, self.ledger, memory=4 << 30, pids=4096)
        self.scratch = state_dir() / "scratch" / self.run
        self.scratch.mkdir(parents=True)

    def arena(self, **others):
        fields = {"scratch": self.scratch, "params": {"machine.memory": RAM}, "logs": self.logs} | others
        return runtimes.Arena(
            run=self.run, trial=1, guard=self.guard, image=self.image, workloads=WORKLOADS,
            ledger=self.ledger, **fields,
        )  # fmt: skip

    def close(self):
        cgroups.remove_run(self.run, self.cgroups)
        shutil.rmtree(self.scratch)
        assert self.ledger.left(include_alive=True) == []


@pytest.fixture
def trial(tmp_path, image, layer):
    made = Trial(tmp_path, image)
    yield made
    made.close()


def tenant(limits=None, name="a"):
    return Tenant(name, "cpu/spin", {}, limits or {})


def run(sandbox, name, args, gate=False, seconds=120):
    """How a workload ended, and its last value of every metric."""
    env = {"BENCH_SCRATCH": sandbox.scratch, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    if sandbox.peer:
        env["BENCH_PEER"] = sandbox.peer
    process = sandbox.start(workload.argv(workload.find(name), sandbox.workloads, args), env)
    ended, out, err = finish(process, seconds)
    seen = [printed.parse_line(line) for line in out.splitlines()]
    assert None not in seen, (out, err)
    return ended, {one.metric: one.value for one in seen}


def held(group, controller, name):
    """A file of the machine's cgroup, read without this program's own code; v1 or v2."""
    for base in (Path("/sys/fs/cgroup") / controller, Path("/sys/fs/cgroup")):
        path = base / group.path / name
        if path.exists():
            return path.read_text().strip()
    raise AssertionError(f"no {name} in {group.path}")


def test_output_environment_status_and_readings_come_through(trial):
    code = (
        "import os,sys,time; print(os.environ['WHO'], flush=True); time.sleep(0.5)\n"
        "sys.stdout.write('x' * 3000000); print('no', file=sys.stderr); sys.exit(7)"
    )
    with plugin.Runtime().open(tenant(), trial.arena()) as sandbox:
        origin = time.monotonic()
        ended, out, err = finish(sandbox.start([*PYTHON, code], {"WHO": "me"}))
        facts = sandbox.facts()
        samples = sandbox.samples(origin)
        over = time.monotonic() - origin
        assert sandbox.pids() == [facts["pid"]]
        assert sandbox.cgroup.path.startswith(trial.guard.path + "/")
        assert set(sandbox.pids()) <= set(trial.guard.pids())
    assert (ended, out, err) == (Exit("exited", code=7), b"me\n" + b"x" * 3000000, b"no\n")
    assert facts["machine.accelerator"] == accelerator.probe().kind
    assert facts["machine.boot"] == "micro"
    assert 0 < facts["machine.seconds.define"] < facts["machine.seconds.boot"]
    assert facts["guest.cgroup"].startswith("/sys/fs/cgroup/")
    assert {"guest.cgroup", "guest.host", "guest.psi"} <= {s.collector for s in samples}
    assert all(0 <= s.time <= over and s.tenant == "a" for s in samples)
    usage = [s.value for s in samples if s.metric == "cpu.usage" and s.value is not None]
    assert usage == sorted(usage) and usage[-1] > 0.01
    assert (trial.logs / "00001.a.serial.log").exists()


def test_the_gate_appears_inside(trial):
    code = f"import os,time\nwhile not os.path.exists('/scratch/{GATE}'): time.sleep(0.01)\nprint('open')"
    with plugin.Runtime().open(tenant(), trial.arena()) as sandbox:
        process = sandbox.start([*PYTHON, code], {})
        sandbox.put("gate", b"")
        assert finish(process)[1] == b"open\n"


def test_limits_are_in_force_and_read_back_from_kernel_qemu_and_libvirt(trial):
    limits = {
        "cpu.weight": 400, "cpuset": str(os.cpu_count() - 1), "memory": 192 * MIB, "swap": 64 * MIB,
        "io.write": 5e6, "io.read": 20e6, "io.read_iops": 300, "io.write_iops": 400, "io.weight": 500,
    }  # fmt: skip
    with blockdev.disk(trial.scratch / "disk", 512 * MIB, trial.ledger, scheduler="none") as disk:
        scratch = disk.mount / "1"
        scratch.mkdir()
        arena = trial.arena(needs=("disk",), disk=disk, scratch=scratch)
        with plugin.Runtime().open(tenant(limits), arena) as sandbox:
            before = held(sandbox.cgroup, "cpuacct", "cpuacct.usage_percpu") if _v1() else ""
            ended, seen = run(
                sandbox, "io/fio", {"rw": "write", "seconds": 1.6, "direct": 1, "size": "33554432"}
            )
            effective = sandbox.effective()
            after = held(sandbox.cgroup, "cpuacct", "cpuacct.usage_percpu") if _v1() else ""
            facts = sandbox.facts()
            counted = sandbox.cgroup.file("io", "blkio.throttle.io_service_bytes_recursive")
            written = counted.read_text() if counted.exists() else None
    assert ended == Exit("exited", code=0)
    # A busy host may starve an emulated machine; without the limit it writes ten times as fast and more.
    assert 2.5e6 < seen["io.rate"] < 6.25e6
    assert {name: effective[name].value for name in limits} == limits
    assert not [name for name in facts if name.startswith("differs.")]
    assert set(effective) == plugin.Runtime.controls
    if _v1():
        assert f"{disk.number} Write" in written  # QEMU's writes are counted on the trial's own disk
        spent = [int(b) - int(a) for a, b in zip(before.split(), after.split(), strict=True)]
        assert spent[int(limits["cpuset"])] > 0.99 * sum(spent)


def _v1():
    return cgroups.detect().version("cpuacct") == 1


def test_a_quota_holds_the_whole_machine(trial):
    with plugin.Runtime().open(tenant({"cpu": 0.5}), trial.arena()) as sandbox:
        process = sandbox.start([*PYTHON, "import os\nos.fork(); os.fork()\nwhile True: pass"], {})
        assert sandbox.effective()["cpu"].value == 0.5
        if _v1():
            assert held(sandbox.cgroup, "cpu", "cpu.cfs_quota_us") == "50000"
        deadline = time.monotonic() + 60
        while _throttled(sandbox.cgroup) < 5 and time.monotonic() < deadline:
            time.sleep(0.1)
        rates = []
        # A busy host can take from a machine, never give it more: no span may exceed the quota.
        while len(rates) < 3 and max(rates, default=0.0) < 0.45:
            first, began = _usage(sandbox.cgroup), time.monotonic()
            while time.monotonic() - began < 3.0:  # a span of whole quota periods, for a rate
                time.sleep(0.1)
            rates.append((_usage(sandbox.cgroup) - first) / (time.monotonic() - began))
        sandbox.kill()
        assert finish(process)[0].reason in ("signalled", "lost")
    assert max(rates) == pytest.approx(0.5, rel=0.1)


def _usage(group):
    if _v1():
        return int(held(group, "cpuacct", "cpuacct.usage")) / 1e9
    return dict(line.split() for line in held(group, "", "cpu.stat").splitlines())["usage_usec"] / 1e6


def _throttled(group):
    return int(dict(line.split() for line in held(group, "cpu", "cpu.stat").splitlines())["nr_throttled"])


def test_memory_beyond_the_machines_is_an_oom_kill_inside_and_nowhere_else(trial):
    with plugin.Runtime().open(tenant({"memory": 128 * MIB, "swap": 0}), trial.arena()) as sandbox:
        # Before its kernel gives up it drops and reads again what it can, which takes a minute at times.
        ended, seen = run(sandbox, "memory/touch", {"size": "268435456"}, seconds=400)
        facts = sandbox.facts()
        kills = [s.value for s in sandbox.samples(0.0) if s.metric == "memory.events.oom_kill"]
    assert ended.reason == "oom"
    assert 16 * MIB < seen["memory.touched"] < 128 * MIB
    assert kills[-1] >= 1
    assert facts["machine.memory"] == 128 * MIB
    assert "Out of memory" in (trial.logs / "00001.a.serial.log").read_text(errors="replace")


def test_too_little_memory_is_refused_before_anything_is_made(trial):
    with (
        pytest.raises(LimitNotSetError, match="cannot boot"),
        plugin.Runtime().open(tenant({"memory": 32 * MIB}), trial.arena()),
    ):
        pass


def test_two_machines_are_siblings_with_their_weights(trial):
    with contextlib.ExitStack() as stack:
        # Ours is the least of three groups here, and both counters must be read at one moment.
        stack.enter_context(session.prompt_scheduling(print))
        # On one CPU: over several, how the kernel places so few vCPU threads decides as much as the weights.
        found = [
            stack.enter_context(
                plugin.Runtime().open(tenant({"cpu.weight": w, "cpuset": "0"}, name), trial.arena())
            )
            for name, w in (("heavy", 400), ("light", 100))
        ]
        assert {one.cgroup.parent() for one in found} == {trial.guard}
        code = "import os\nos.fork(); os.fork()\nos.write(1, b'x')\nwhile True: pass"
        running = [one.start([*PYTHON, code], {}) for one in found]
        waiting = {process.stdout: 4 for process in running}
        deadline = time.monotonic() + 60  # the light one starts slowly beside the heavy one
        while waiting and time.monotonic() < deadline:
            for fd in select.select(list(waiting), [], [], 0.1)[0]:
                waiting[fd] -= len(os.read(fd, waiting[fd]))
                waiting = {end: left for end, left in waiting.items() if left}
        assert not waiting, "not every process of both machines was heard of"
        before = [_usage(one.cgroup) for one in found]
        deadline = time.monotonic() + 60
        while sum(_usage(one.cgroup) for one in found) < sum(before) + 8 and time.monotonic() < deadline:
            time.sleep(0.1)
        heavy, light = (_usage(one.cgroup) - b for one, b in zip(found, before, strict=True))
    assert heavy / (heavy + light) == pytest.approx(0.8, abs=0.08)


@pytest.mark.parametrize("network", ["bridge", "nat", "user"])
def test_the_peer_is_reached_over_every_network(trial, network):
    forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    rate = {"net.egress": 6e6} if network == "bridge" else {}
    with plugin.Runtime(network).open(tenant(rate), trial.arena(needs=("peer",))) as sandbox:
        ended, seen = run(sandbox, "network/iperf3", {"seconds": 2})
        facts = sandbox.facts()
        effective = sandbox.effective()["net.egress"]
    assert ended == Exit("exited", code=0)
    assert facts["machine.network"] == network
    assert seen["net.rate"] > 0
    if network == "bridge":
        assert effective.value == pytest.approx(6e6, abs=1024)
        assert seen["net.rate"] < 6.1e6  # how near it comes is for a host that is quiet
        if facts["net.limiter"] == "tc tbf":
            assert facts["net.overlimits"] > 0
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == forwarding


def test_a_network_without_rate_control_refuses_a_rate(trial):
    with (
        pytest.raises(LimitNotSetError, match="no rate control"),
        plugin.Runtime("user").open(tenant({"net.egress": 1e6}), trial.arena(needs=("peer",))),
    ):
        pass


def test_a_full_boot_is_a_distribution_with_the_same_workloads(trial):
    arena = trial.arena(params={"machine.memory": 512 * MIB})
    with plugin.Runtime("full").open(tenant(), arena) as sandbox:
        ended, out, _ = finish(sandbox.start(["/bin/cat", "/proc/1/comm"], {}))
        facts = sandbox.facts()
    assert (ended, out) == (Exit("exited", code=0), b"systemd\n")
    assert facts["machine.boot"] == "full"


# --- bad luck -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [("isobench.boot=nothing", "cannot boot"), ("rdinit=/none panic=-1 isobench.boot=micro", "Kernel panic")],
)
def test_a_guest_that_cannot_boot_says_why_and_its_log_is_kept(trial, monkeypatch, words, told):
    usual = bootlayer.command_line("micro").replace("isobench.boot=micro", words)
    monkeypatch.setattr(bootlayer, "command_line", lambda boot: usual)
    with (
        pytest.raises(SandboxError, match="did not boot") as caught,
        plugin.Runtime().open(tenant(), trial.arena()),
    ):
        pass
    assert told in caught.value.message
    assert told in (trial.logs / "00001.a.serial.log").read_text(errors="replace")


def test_a_guest_that_is_not_heard_of_ends_with_its_deadline(trial, monkeypatch):
    monkeypatch.setitem(plugin.BOOT_DEADLINE, "micro", 0.2)
    with (
        pytest.raises(SandboxError, match=r"nothing was heard of its agent within 0\.2 s"),
        plugin.Runtime().open(tenant(), trial.arena()),
    ):
        pass


def test_a_machine_that_dies_loses_its_workload_and_nothing_stays(trial):
    with plugin.Runtime().open(tenant(), trial.arena()) as sandbox:
        process = sandbox.start(["/bin/sleep", "60"], {})
        os.kill(sandbox.machine.pid, signal.SIGKILL)
        assert finish(process, 60)[0].reason == "lost"
        # Its channel closes while the kernel still takes the rest of the process apart.
        assert stays(sandbox.pids) == []
        assert "guest.samples" in sandbox.facts()


CRASHING = """
import os, signal, sys
from pathlib import Path
from bench import image, runtimes
from bench.host import cgroups
from bench.ledger import Ledger
from bench.model import Tenant
ledger, scratch, name = Ledger(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3]
ledger.will_create("path", str(scratch))
scratch.mkdir(parents=True)
guard = cgroups.guard(name, 1, cgroups.detect(), ledger, memory=1 << 30, pids=500)
needs, params = ("peer",), {"machine.memory": 128 << 20}
place = Path("/workloads")
arena = runtimes.Arena(name, 1, guard, image.find(), place, scratch, ledger, needs, None, None, params)
with runtimes.load(sys.argv[4]).open(Tenant("a", "cpu/spin", {}, {}), arena):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("spec", ["libvirt", "libvirt:micro+nat"])
def test_what_a_killed_run_leaves_is_cleaned(tmp_path, layer, spec):
    name = f"t{uuid.uuid4().hex[:6]}"
    scratch = state_dir() / "scratch" / name
    ledger = Ledger(tmp_path / "ledger.jsonl")
    command = [sys.executable, "-c", CRASHING, str(ledger.path), str(scratch), name, spec]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert {"domain", "cgroup", "path", "link"} <= {entry.kind for entry in ledger.left()}
    assert clean(ledger=ledger) == 0
    assert ledger.left() == []
    assert clean(ledger=ledger) == 0  # a second time finds nothing to do


# --- the host -----------------------------------------------------------------------------------


def test_the_tiny_guest_runs_to_its_end_where_a_cpu_is_emulated_right(tmp_path):
    qemu = shutil.which("qemu-system-x86_64")
    status, seconds, said = accelerator.run(qemu, "tcg", tmp_path, 60.0)
    assert (status, said) == (accelerator.LEFT, "")
    assert accelerator.judge(status, seconds, said).kind == "kvm"


def test_a_tiny_guest_that_does_not_end_is_killed_at_its_deadline(tmp_path, monkeypatch):
    monkeypatch.setattr(accelerator, "boot_sector", lambda: b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa")
    qemu = shutil.which("qemu-system-x86_64")
    began = time.monotonic()
    status, _, _ = accelerator.run(qemu, "tcg", tmp_path, 2.0)
    assert status is None
    assert time.monotonic() - began < 30  # far from the minute that another guest is given


OWN_DAEMON = """
import json, os, signal, sys, time
from pathlib import Path
from bench import image, runtimes
from bench.host import cgroups
from bench.host.vm import daemon, libvirtd
from bench.ledger import Ledger
from bench.model import Tenant
state, scratch, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def started():
    assert daemon.ensure_libvirtd(state) is None
    assert daemon.ensure_libvirtd(state) is None  # a second time finds it running
    return json.loads((state / daemon.RECORD).read_text())["daemons"]

first = started()
connection = libvirtd.connect(libvirtd.SYSTEM)
ledger = Ledger(state / "ledger.jsonl")
guard = cgroups.guard(name, 1, cgroups.detect(), ledger, memory=1 << 30, pids=500)
arena = runtimes.Arena(name, 1, guard, image.find(), Path("/workloads"), scratch, ledger, (), None, None,
                       {"machine.memory": 128 << 20})
with runtimes.load("libvirt").open(Tenant("a", "cpu/spin", {}, {}), arena) as sandbox:
    process = sandbox.start(["/bin/sleep", "1"], {})
    os.kill(first[-1]["pid"], signal.SIGKILL)  # in the middle of a trial
    before = time.monotonic()
    said = "nothing"
    try:
        with libvirtd.speaking("listing domains"):
            while time.monotonic() - before < 30:
                connection.listAllDomains()
                time.sleep(0.05)
    except Exception as error:
        said = type(error).__name__
    took = time.monotonic() - before
    second = started()
    while process.poll() is None and time.monotonic() - before < 60:
        time.sleep(0.05)
    ended = process.poll()
cgroups.remove_run(name, guard.cgroups)
fresh = libvirtd.connect(libvirtd.SYSTEM)
while fresh.listAllDomains() and time.monotonic() - before < 120:
    time.sleep(0.1)  # a libvirtd that comes back takes its time to see that a QEMU it knew is dead
print(json.dumps({
    "first": [d["name"] for d in first], "second": [d["name"] for d in second], "said": said, "took": took,
    "ended": ended.reason,
    "left": [d.name() for d in fresh.listAllDomains()] + [e.name for e in ledger.left(include_alive=True)],
    "qemu": sandbox.machine.alive(), "stopped": daemon.stop_libvirtd(state),
    "again": daemon.stop_libvirtd(state),
}))
"""


def test_libvirtd_dies_in_a_trial_and_comes_back(tmp_path, layer):
    """In mount and process namespaces of its own, so that the host's own libvirtd is not touched."""
    if daemon_missing := [p for p in ("libvirtd", "virtlogd", "unshare") if not shutil.which(p)]:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed: {daemon_missing}")
    (tmp_path / "program.py").write_text(OWN_DAEMON)
    hide = " && ".join(
        f"mount -t tmpfs none {place}" for place in ("/run", "/var/lib/libvirt", "/etc/libvirt")
    )
    script = f'{hide} && mkdir -p /run/lock && exec "$@"'
    name = f"t{uuid.uuid4().hex[:6]}"
    scratch = state_dir() / "scratch" / name
    scratch.mkdir(parents=True)
    command = [
        "unshare", "--mount", "--pid", "--fork", "--mount-proc", "--net", "--kill-child", "sh", "-c", script,
        "sh", sys.executable, str(tmp_path / "program.py"), str(tmp_path / "state"), str(scratch), name,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    finally:
        shutil.rmtree(scratch)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["first"] == found["second"] == ["virtlogd", "libvirtd"]
    assert (found["said"], found["ended"]) == ("SandboxError", "exited")  # the workload did not notice
    assert found["took"] < 20  # it asks for 30 s, and must hear of the death before
    assert (found["left"], found["qemu"]) == ([], False)
    assert (found["stopped"], found["again"]) == (True, False)
