"""Real machines by the real Vagrant: limits on a kept machine, and no trace of a trial or a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from conftest import stays, traces
from engine_trial import WORKLOADS, finish

from bench import bootlayer, printed, runtimes, workload
from bench.commands.cleaning import clean
from bench.errors import LimitNotSetError
from bench.host import blockdev, cgroups, mounts
from bench.host.vm import libvirtd
from bench.ledger import Ledger, process_start, state_dir
from bench.model import Tenant

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]
MIB = 1 << 20


def chains() -> set[str]:
    """The chains libvirt makes in the host's firewall for networks of its own."""
    listed = subprocess.run(  # which fails at once where another program holds the lock, unless it may wait
        ["iptables", "--wait", "20", "-S"], capture_output=True, text=True, timeout=30, check=True
    )
    return {line for line in listed.stdout.splitlines() if "LIBVIRT_" in line}


def shared() -> set[str]:
    """What Vagrant machines could leave that no run's name is part of."""
    connection = libvirtd.connect()
    try:
        networks = {f"network {n.name()}" for n in connection.listAllNetworks()}
    finally:
        connection.close()
    return networks | {f"group {p}" for p in Path("/sys/fs/cgroup").glob("*/machine")} | chains()


def named(*names: str) -> set[str]:
    """Traces, storage pools and domains with one of those names in theirs."""
    connection = libvirtd.connect()
    try:
        pools = {f"pool {p.name()}" for p in connection.listAllStoragePools()}
        domains = {f"domain {d.name()}" for d in connection.listAllDomains()}
    finally:
        connection.close()
    return {one for one in traces() | pools | domains if any(name in one for name in names)}


class Run:
    """A run of trials that share their machines."""

    def __init__(self, image, logs):
        self.name = f"tv{uuid.uuid4().hex[:6]}"
        self.ledger = Ledger(logs / "ledger.jsonl")
        self.image, self.logs, self.notes = image, logs, []
        self.cgroups = cgroups.detect()
        self.scratch = state_dir() / "scratch" / self.name
        self.entry = self.ledger.will_create("path", str(self.scratch))
        self.scratch.mkdir(parents=True)
        self.runtime = runtimes.load("vagrant")
        self.trial = 0
        self.disk = None

    def ground(self):
        return runtimes.Ground(
            self.name, self.image, WORKLOADS, self.scratch, self.ledger, self.notes.append, self.logs
        )

    def arena(self, needs=()):
        self.trial += 1
        guard = cgroups.guard(self.name, self.trial, self.cgroups, self.ledger, memory=4 << 30, pids=4096)
        scratch = (self.disk.mount if "disk" in needs else self.scratch) / f"{self.trial:05d}"
        scratch.mkdir()
        return runtimes.Arena(
            run=self.name, trial=self.trial, guard=guard, image=self.image, workloads=WORKLOADS,
            scratch=scratch, ledger=self.ledger, needs=needs, logs=self.logs,
            params={"machine.memory": 512 * MIB}, disk=self.disk if "disk" in needs else None,
        )  # fmt: skip


@pytest.fixture(scope="module")
def box(image):
    layer = bootlayer.find(image) or bootlayer.build(image)
    bootlayer.box(layer)
    lacking = runtimes.load("vagrant").requires()
    if lacking:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{lacking[0].cause} (fix: {lacking[0].fix})")
    return layer


@pytest.fixture(scope="module")
def machines(box, image, tmp_path_factory):
    """A run with the one machine all tests of this module share; the host as before, after it."""
    before = shared()
    run = Run(image, tmp_path_factory.mktemp("vagrant"))
    disk = blockdev.disk(run.scratch / "disk", 400 * MIB, run.ledger, scheduler="none")
    with disk as run.disk, run.runtime.lasting(run.ground()):
        yield run
        bridge = run.runtime._pool.wire.bridge
        assert {one.split()[0] for one in named(run.name, bridge)} >= {"cgroup", "machine", "pool", "link"}
    cgroups.remove_run(run.name, run.cgroups)
    mounts.undo_path(str(run.scratch))
    run.ledger.gone(run.entry)
    assert stays(lambda: named(run.name, bridge)) == set()
    assert stays(lambda: shared() ^ before) == set()
    assert run.ledger.left(include_alive=True) == []


def tenant(limits=None):
    return Tenant("a", "cpu/spin", {}, limits or {})


def sh(sandbox, script):
    """Output of a script inside; it must succeed."""
    ended, out, err = finish(
        sandbox.start(["/bin/sh", "-c", script], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    )
    assert (ended.reason, ended.code) == ("exited", 0), err
    return out.decode()


def rate(sandbox, name, args):
    """A workload's values, and the cores its QEMU used meanwhile by the host's own count."""
    usage = (
        sandbox.cgroup.file("cpuacct", "cpuacct.usage") if sandbox.cgroup.cgroups.owner("cpuacct") else None
    )
    program = workload.find(name)
    env = {"BENCH_SCRATCH": sandbox.scratch, "PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    before, began = int(usage.read_text()) if usage else 0, time.monotonic()
    ended, out, err = finish(sandbox.start(workload.argv(program, sandbox.workloads, args), env))
    used = (int(usage.read_text()) - before) / 1e9 / (time.monotonic() - began) if usage else None
    assert (ended.reason, ended.code) == ("exited", 0), err
    return used, [printed.parse_line(line) for line in out.splitlines()]


def test_a_machine_comes_up_and_a_program_runs_in_it(machines):
    with machines.runtime.open(tenant(), machines.arena()) as sandbox:
        assert sh(sandbox, "cat /proc/self/cgroup; ls /workloads").startswith("0::/isobench/a\n")
        facts = sandbox.facts()
        samples = sandbox.samples(0.0)
    assert facts["machine.boot"] == "full" and facts["machine.reused"] == 0
    assert 0 < facts["machine.up"] <= facts["machine.seconds.boot"]
    assert facts["machine.memory"] == 512 * MIB
    assert {"guest.cgroup", "guest.host"} <= {sample.collector for sample in samples}
    assert f"/isobench-{machines.name}.slice/" in sandbox.cgroup.absolute()
    assert (machines.logs / "vagrant.0.serial.log").exists()


def test_a_cpu_limit_holds_on_the_host_and_is_off_for_the_next_trial(machines):
    with machines.runtime.open(tenant({"cpu": 0.5}), machines.arena()) as sandbox:
        assert sandbox.effective()["cpu"].value == 0.5
        used, _ = rate(sandbox, "cpu/spin", {"threads": 1, "seconds": 4})
        facts = sandbox.facts()
        group = sandbox.cgroup
        throttled = group.file("cpu", "cpu.stat").read_text()
    assert used is None or 0.3 < used < 0.56
    assert int(throttled.split("nr_throttled ")[1].split()[0]) > 5
    assert facts["machine.reused"] > 0 and facts["machine.up"] is None
    assert facts["cpu.numbering"] == "guest"
    assert group.effective("cpu").value is None
    with machines.runtime.open(tenant(), machines.arena()) as sandbox:
        assert sandbox.effective()["cpu"].value is None


def test_weight_and_cpuset_are_set_and_put_back(machines):
    with machines.runtime.open(tenant({"cpu.weight": 300, "cpuset": "0"}), machines.arena()) as sandbox:
        held = sandbox.effective()
        assert (held["cpu.weight"].value, held["cpuset"].value) == (300, "0")
        assert sh(sandbox, "nproc").strip() == str(os.cpu_count())
    with machines.runtime.open(tenant(), machines.arena()) as sandbox:
        held = sandbox.effective()
        assert held["cpu.weight"].value == 100
        assert len(os.sched_getaffinity(0)) == 1 or held["cpuset"].value != "0"


def test_a_write_limit_holds_on_a_fresh_disk_that_is_gone_afterwards(machines):
    wanted = 4 * MIB
    write = "dd if=/dev/zero of=/scratch/x bs=1M count=16 oflag=direct 2>/dev/null; ls /scratch"
    with machines.runtime.open(tenant({"io.write": wanted}), machines.arena(("disk",))) as sandbox:
        assert sandbox.effective()["io.write"].value == wanted
        began = time.monotonic()
        sh(sandbox, write)
        assert 16 * MIB / (time.monotonic() - began) < 1.2 * wanted
    with machines.runtime.open(tenant(), machines.arena(("disk",))) as sandbox:
        assert sandbox.effective()["io.write"].value is None
        assert "x" not in sh(sandbox, "ls /scratch").split()
    with machines.runtime.open(tenant(), machines.arena()) as sandbox:
        assert "/scratch" not in sh(sandbox, "cat /proc/mounts")


def test_swap_is_there_for_its_trial_alone(machines):
    with machines.runtime.open(tenant({"swap": 64 * MIB}), machines.arena()) as sandbox:
        assert sandbox.effective()["swap"].value == 64 * MIB
        assert "SwapTotal:         65536 kB" in sh(sandbox, "cat /proc/meminfo")
    with machines.runtime.open(tenant(), machines.arena()) as sandbox:
        assert "SwapTotal:             0 kB" in sh(sandbox, "cat /proc/meminfo")


def test_what_a_trial_sends_is_held_to_its_rate_beside_vagrants_own_interface(machines):
    with machines.runtime.open(tenant({"net.egress": 1_250_000}), machines.arena(("peer",))) as sandbox:
        assert sandbox.effective()["net.egress"].value == pytest.approx(1_250_000, rel=0.01)
        host, _, port = sandbox.peer.rpartition(":")
        said = sh(sandbox, f"iperf3 -c {host} -p {port} -t 4 -f k | grep receiver")
    kbits = float(said.split("KBytes")[-1].split("MBytes")[-1].split()[0])
    assert 5_000 < kbits < 11_000


def test_between_trials_the_machine_takes_no_cpu_time(machines):
    with machines.runtime.open(tenant(), machines.arena()) as sandbox:
        pid = sandbox.pids()[0]
    stat = Path(f"/proc/{pid}/stat")
    ticks = [sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))]
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        time.sleep(0.1)
    ticks.append(sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13])))
    assert ticks[1] - ticks[0] <= 3


def test_files_of_one_trial_are_not_there_in_the_next(machines):
    with machines.runtime.open(tenant(), machines.arena()) as sandbox:
        sh(sandbox, "mkdir -p /scratch/d && echo secret >/scratch/d/file")
    with machines.runtime.open(tenant(), machines.arena()) as sandbox:
        assert sh(sandbox, "ls -A /scratch") == ""


def test_memory_below_the_floor_is_refused_without_trying(machines):
    with pytest.raises(LimitNotSetError, match="does not boot: this box needs"):
        machines.runtime.open(tenant({"memory": 32 * MIB}), machines.arena())


KILLED = """
import sys
sys.path[:0] = [{tests!r}, {integration!r}]
import test_vagrant_live as live
from pathlib import Path
from bench import image
run = live.Run(image.find(), Path({logs!r}))
with run.runtime.lasting(run.ground()):
    with run.runtime.open(live.tenant(), run.arena()):
        pass
"""


def test_a_killed_run_leaves_nothing_after_clean(box, tmp_path):
    before = shared()
    here = Path(__file__).parent
    code = KILLED.format(tests=str(here.parent), integration=str(here), logs=str(tmp_path))
    killed = subprocess.Popen([sys.executable, "-c", code], cwd=here.parent.parent, start_new_session=True)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    try:
        until = time.monotonic() + 120
        while not _begun(ledger):
            assert killed.poll() is None and time.monotonic() < until, "no machine was begun"
            time.sleep(0.1)
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait(timeout=30)
    left = ledger.left()
    names = [entry.name for entry in left if entry.kind != "vagrant"]
    (command,) = (entry.name for entry in left if entry.kind == "vagrant")
    assert process_start(int(command.split(":")[0])) == int(command.split(":")[1])
    assert clean(ledger=ledger) == 0
    assert stays(lambda: named(*names)) == set()
    assert stays(lambda: shared() ^ before) == set()
    assert not any(Path(name).exists() for name in names)
    assert process_start(int(command.split(":")[0])) != int(command.split(":")[1])
    assert ledger.left() == []


def _begun(ledger):
    """Whether Vagrant has started the machine of that run."""
    domains = [entry.name for entry in ledger.left(include_alive=True) if entry.kind == "domain"]
    return any(one.startswith("machine ") for one in named(*domains)) if domains else False
