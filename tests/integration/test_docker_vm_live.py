"""The engine in a hidden machine: one real machine, real limits of its own kernel, and nothing left."""

import itertools
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import stays, traces
from engine_trial import PYTHON, WORKLOADS, finish, tenant

from bench import runtimes
from bench.errors import LimitNotSetError, SandboxError
from bench.ledger import Ledger
from bench.model import Exit

pytestmark = pytest.mark.live
MIB = 1 << 20
SPIN = (
    "import os, time\n"
    "for _ in range({}): os.fork() or os.execv('/bin/sh', ['sh', '-c', 'while :; do :; done'])\n"
)
NUMBERS = itertools.count(1)


class Bed:
    """A run with its machine; `trial` opens a tenant of a new trial."""

    def __init__(self, ground, runtime):
        self.ground, self.runtime = ground, runtime

    def arena(self, number=None, **others):
        return runtimes.Arena(
            run=self.ground.run, trial=number or next(NUMBERS), guard=None, image=self.ground.image,
            workloads=WORKLOADS, scratch=self.ground.scratch, ledger=self.ground.ledger, **others,
        )  # fmt: skip

    def trial(self, limits=None, **others):
        return self.runtime.open(tenant(limits), self.arena(**others))


@pytest.fixture(scope="module")
def bed(tmp_path_factory, image):
    runtime = runtimes.load("docker-vm")
    if lacking := list(runtime.requires()):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{lacking[0].cause} (fix: {lacking[0].fix})")
    directory = tmp_path_factory.mktemp("docker-vm")
    for above in (directory, *directory.parents[:2]):
        above.chmod(0o755)
    notes = []
    ground = runtimes.Ground(
        f"t{os.getpid()}", image, WORKLOADS, directory / "scratch", Ledger(directory / "ledger.jsonl"),
        notes.append, directory,
    )  # fmt: skip
    with runtime.lasting(ground):
        yield Bed(ground, runtime)
    assert "booting the hidden machine" in notes[0]
    assert ground.ledger.left(include_alive=True) == []
    assert stays(lambda: [trace for trace in traces() if ground.run in trace]) == []


def last(samples, metric, collector="guest.cgroup"):
    values = [
        s.value for s in samples if s.metric == metric and s.collector == collector and s.value is not None
    ]
    return values[-1] if values else None


def rate(samples, metric, after, since=None):
    """Growth per second of a counter from `after` seconds past `since`, or its first value, to its end."""
    series = [(s.time, s.value) for s in samples if s.metric == metric and s.value is not None]
    since = series[0][0] if since is None else since
    series = [(t, v) for t, v in series if t >= since + after]
    return (series[-1][1] - series[0][1]) / (series[-1][0] - series[0][0])


def test_output_environment_and_exit_status_come_through(bed):
    code = (
        "import os,sys; print(os.environ['WHO'], os.uname().release)\n"
        "print('no', file=sys.stderr); sys.exit(7)"
    )
    with bed.trial() as sandbox:
        ended, out, err = finish(sandbox.start([*PYTHON, code], {"WHO": "me"}))
        facts = sandbox.facts()
    assert (ended, err) == (Exit("exited", code=7), b"no\n")
    assert out.decode().split() == ["me", facts["machine.kernel"]]
    assert facts["machine.kernel"] != os.uname().release


def test_much_output_arrives_whole(bed):
    code = "import sys; sys.stdout.write('x' * 3000000); sys.stderr.write('y' * 1000000)"
    with bed.trial() as sandbox:
        ended, out, err = finish(sandbox.start([*PYTHON, code], {}))
    assert ended == Exit("exited", code=0)
    assert (len(out), len(err)) == (3000000, 1000000)


def test_the_engine_is_the_hidden_one_and_holds_the_same_image(bed):
    with bed.trial() as sandbox:
        held = sandbox.client.images.get(sandbox.image)
        socket = Path(sandbox.address.removeprefix("unix://"))
        finish(sandbox.start(["true"], {}))
        facts = sandbox.facts()
    assert held.labels["isobench.digest"] == bed.ground.image.digest
    assert (socket.stat().st_mode & 0o777, socket.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert sandbox.cgroup is None
    assert (facts["engine.cgroup_driver"], facts["engine.cgroup_version"]) == ("systemd", "2")
    assert facts["machine.accelerator"] in ("kvm", "tcg")
    assert facts["machine.seconds.boot"] > 0
    assert 0 < facts["socket.seconds.ping"] < 5


def test_limits_are_in_the_guests_kernel_as_asked(bed):
    limits = {"cpu": 0.25, "cpu.weight": 300, "cpuset": "0", "memory": 64 * MIB, "swap": 16 * MIB, "pids": 40}
    with bed.trial(limits) as sandbox:
        process = sandbox.start(["sleep", "60"], {})
        effective = sandbox.effective()
        assert {name: effective[name].value for name in limits} == limits
        assert set(effective) == bed.runtime.controls
        path = sandbox.facts()["guest.cgroup"]
        channel = bed.runtime._machine.channel
        assert channel.read(f"{path}/memory.max") == str(64 * MIB).encode() + b"\n"
        assert channel.read(f"{path}/cpu.max") == b"25000 100000\n"
        assert channel.read(f"{path}/pids.max") == b"40\n"
        assert not [name for name in sandbox.facts() if name.startswith("differs.")]
        assert process.poll() is None
        sandbox.kill()
        assert finish(process)[0] == Exit("signalled", signal=signal.SIGKILL)


def test_a_cpu_quota_holds_and_the_guest_counts_it(bed):
    with bed.trial({"cpu": 0.5}) as sandbox:
        process = sandbox.start([*PYTHON, SPIN.format(3) + "time.sleep(8)"], {})
        finish(process)
        samples = list(sandbox.samples(time.monotonic() - 60))
    assert rate(samples, "cpu.usage", 1.0) == pytest.approx(0.5, abs=0.08)
    assert last(samples, "cpu.nr_throttled") > 10


def test_outgrowing_memory_ends_in_oom_and_the_kill_is_counted(bed):
    code = "b = []\nwhile True: b.append(bytearray(1 << 20))"
    with bed.trial({"memory": 128 * MIB, "swap": 0}) as sandbox:
        ended, _, _ = finish(sandbox.start([*PYTHON, code], {}))
        samples = sandbox.samples(time.monotonic() - 60)
    assert (ended.reason, ended.signal) == ("oom", 9)
    assert last(samples, "memory.events.oom_kill") >= 1


def test_swap_is_used_only_where_it_is_allowed(bed):
    code = "b = bytearray(96 << 20)\nfor i in range(0, len(b), 4096): b[i] = 1\nprint('done')"
    with bed.trial({"memory": 64 * MIB, "swap": 0}) as sandbox:
        ended, _, _ = finish(sandbox.start([*PYTHON, code], {}))
    assert ended.reason == "oom"
    with bed.trial({"memory": 64 * MIB, "swap": 128 * MIB}) as sandbox:
        _, out, _ = finish(sandbox.start([*PYTHON, code], {}))
    assert out == b"done\n"


def test_no_more_processes_than_allowed(bed):
    code = (
        "import os, time\nmade = 0\n"
        "try:\n"
        "  while made < 200:\n"
        "    if os.fork() == 0: time.sleep(60)\n"
        "    made += 1\n"
        "except OSError as error: print(made, error.errno)\n"
        "time.sleep(1)"
    )
    with bed.trial({"pids": 64}) as sandbox:
        _, out, _ = finish(sandbox.start([*PYTHON, code], {}))
        samples = sandbox.samples(time.monotonic() - 60)
    assert out == b"63 11\n"
    assert last(samples, "pids.events.max") >= 1


def test_a_write_rate_holds_on_the_guests_own_disk(bed):
    code = (
        "import mmap, os, time\n"
        "fd = os.open('/scratch/f', os.O_WRONLY | os.O_CREAT | os.O_DIRECT)\n"
        "block, written = mmap.mmap(-1, 1 << 16), 0\n"
        "began = time.monotonic()\n"
        "while time.monotonic() - began < 4: written += os.pwrite(fd, block, written % (64 << 20))\n"
        "print(written / (time.monotonic() - began))\n"
    )
    with bed.trial({"io.write": 10e6}, needs=("disk",)) as sandbox:
        process = sandbox.start([*PYTHON, code], {})
        assert sandbox.effective()["io.write"].value == 10e6
        assert sandbox.device == bed.runtime._machine.number
        ended, out, err = finish(process)
        samples = list(sandbox.samples(0))
    assert ended == Exit("exited", code=0), err
    # A busy host may starve the machine; without the limit it writes several times as fast.
    assert 2e6 < float(out) < 10.5e6
    assert last(samples, "io.wbytes") >= 0.9 * 4 * 2e6


def test_io_limits_without_a_disk_are_refused(bed):
    with pytest.raises(LimitNotSetError), bed.trial({"io.write": 10e6}) as sandbox:
        sandbox.start(["true"], {})


def first_words(process, seconds=120):
    """What it prints first."""
    assert select.select([process.stdout], [], [], seconds)[0], "it says nothing"
    return os.read(process.stdout, 100)


def test_siblings_share_the_cpu_by_their_weights(bed):
    arena = bed.arena()
    code = (
        'import os, time\nprint(\'{"event": "ready"}\', flush=True)\n'
        "while not os.path.exists('/scratch/gate'): time.sleep(0.01)\n" + SPIN.format(3) + "time.sleep(5)"
    )
    with (
        bed.runtime.open(tenant({"cpu.weight": 400}, "heavy"), arena) as heavy,
        bed.runtime.open(tenant({"cpu.weight": 100}, "light"), arena) as light,
    ):
        processes = [one.start([*PYTHON, code], {}) for one in (heavy, light)]
        places = [Path(one.facts()["guest.cgroup"]) for one in (heavy, light)]
        for process in processes:
            assert b"ready" in first_words(process)
        for one in (heavy, light):
            one.put("gate", b"")
        opened = time.monotonic()
        for process in processes:
            finish(process)
        used = [rate(list(one.samples(0)), "cpu.usage", 1.0, opened) for one in (heavy, light)]
    assert places[0].parent == places[1].parent
    assert places[0] != places[1]
    assert used[0] / sum(used) == pytest.approx(0.8, abs=0.05)


def test_workloads_are_read_only_and_scratch_goes_with_the_trial(bed):
    code = (
        "import os\n"
        "print(sorted(os.listdir('/workloads'))[:1] != [])\n"
        "open('/scratch/file', 'w').write('x')\n"
        "try: open('/workloads/file', 'w')\n"
        "except OSError as error: print(error.errno)\n"
    )
    arena = bed.arena()
    with bed.runtime.open(tenant(), arena) as sandbox:
        _, out, err = finish(sandbox.start([*PYTHON, code], {}))
        channel = bed.runtime._machine.channel
        assert channel.read(f"/scratch/{arena.trial:05d}.a/file") == b"x"
    assert (out.split(), err) == ([b"True", b"30"], b"")
    assert not channel.call("exists", path=f"/scratch/{arena.trial:05d}.a")


def test_a_command_that_does_not_exist_is_a_sandbox_error_and_leaves_nothing(bed):
    with pytest.raises(SandboxError, match="no-such-program"), bed.trial() as sandbox:
        sandbox.start(["/no-such-program"], {})
    assert bed.runtime._machine.client.containers.list(all=True) == []


def test_a_limit_the_engine_refuses_is_an_error_with_its_words(bed):
    with pytest.raises(LimitNotSetError, match=r"[Mm]emory"), bed.trial({"memory": 8192}) as sandbox:
        sandbox.start(["true"], {})


def test_the_engines_own_statistics_come_from_the_hidden_engine(bed):
    from bench.collectors import docker as collector

    with bed.trial({"pids": 20}) as sandbox:
        sandbox.start(["sleep", "60"], {})
        reader = collector.Collector().open(sandbox)
        until, raw = time.monotonic() + 30, None
        while raw is None and time.monotonic() < until:
            time.sleep(0.1)
            raw = reader.read()
        reader.close()
        assert reader.parse(raw)["docker.pids.current"] == 1


def test_a_machine_that_dies_breaks_its_trial_and_is_booted_for_the_next(bed):
    with pytest.raises(SandboxError, match="hidden machine of the engine died"), bed.trial() as sandbox:
        # Asked for only now: where the one before had died, this trial has booted another.
        first = bed.runtime._machine
        process = sandbox.start(["sleep", "600"], {})
        first.running.kill()
        ended = finish(process)[0]
        assert ended.reason == "lost", ended
    assert first.serial.stat().st_size > 0
    with bed.trial() as sandbox:
        assert finish(sandbox.start(["true"], {}))[0] == Exit("exited", code=0)
    assert bed.runtime._machine is not first
    assert bed.runtime._machine.serial.exists()


KILLED = """
import sys
from pathlib import Path
from bench import image, runtimes
from bench.ledger import Ledger
directory = Path(sys.argv[1])
ledger = Ledger(directory / "ledger.jsonl")
ground = runtimes.Ground(sys.argv[2], image.find(), directory, directory, ledger, print)
with runtimes.load("docker-vm").lasting(ground):
    pass
"""


def test_a_run_killed_while_its_machine_is_up_is_cleaned_from_the_ledger(tmp_path, image):
    token = f"k{os.getpid()}"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), token], stdout=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 120
        while not list(Path("/run/libvirt/qemu").glob(f"isobench-{token}-*.pid")):
            assert process.poll() is None and time.monotonic() < until, "no machine came up"
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait(30)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert {"domain", "path", "cgroup"} <= {entry.kind for entry in ledger.left()}
    for entry in ledger.left():
        ledger.undo(entry)
    assert ledger.left() == []
    assert stays(lambda: [trace for trace in traces() if token in trace]) == []
