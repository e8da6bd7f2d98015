"""Groups, limits and counters on this host's own kernel."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.collectors import cgroup as cgroup_collector
from bench.collectors import load
from bench.errors import HostError, LimitNotSetError
from bench.host.cgroups import attaching, detect, guard, of_pid, remove_run, run_group, undo
from bench.ledger import Ledger

pytestmark = pytest.mark.live
MIB = 1 << 20


@pytest.fixture
def cgroups():
    found = detect()
    if refused := found.refuses():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{refused.cause} ({refused.fix})")
    return found


@pytest.fixture
def run():
    return uuid.uuid4().hex[:8]


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.jsonl")


@pytest.fixture
def bounded(cgroups, run, ledger):
    """A tenant group in a guard; afterwards nothing of it may be left, on the host or in the ledger."""
    group = guard(run, 0, cgroups, ledger, memory=1024 * MIB, pids=512)
    tenant = group.child("tenant")
    tenant.create(ledger)
    yield tenant
    tenant.kill()
    group.remove()
    remove_run(run, cgroups)
    assert not run_group(run, cgroups).exists()
    assert ledger.left(include_alive=True) == []


def inside(group, code, **kwargs):
    """A Python program started inside the group, as a runtime does: it joins before it executes."""
    files = [str(f) for f in group.attach_files()]
    join = "import sys\nfor f in sys.argv[1:]: open(f, 'w').write('0')\n"
    return subprocess.Popen([sys.executable, "-IS", "-c", join + code, *files], **kwargs)


def lacking(cgroups, *limits):
    for limit in limits:
        if lack := cgroups.lacks(limit):
            pytest.skip(lack.cause)


def test_every_limit_this_host_offers_is_held_by_the_kernel(bounded, cgroups):
    wanted = {"cpu": 0.3, "cpu.weight": 333, "cpuset": "0", "memory": 50 * MIB + 1, "pids": 64}
    for extra, value in (("swap", MIB), ("memory.high", 40 * MIB)):
        if cgroups.lacks(extra) is None:
            wanted[extra] = value
    bounded.set(wanted)
    for name, value in wanted.items():
        held = bounded.effective(name).value
        assert held == (50 * MIB if name == "memory" else value), name


def test_memory_and_swap_can_be_raised_and_lowered_in_any_order(bounded, cgroups):
    lacking(cgroups, "memory", "swap")
    for memory, swap in ((50, 1), (150, 0), (5, 10), (5, 0), (300, 300), (20, 0)):
        bounded.set({"memory": memory * MIB, "swap": swap * MIB})
        assert bounded.effective("memory").value == memory * MIB
        assert bounded.effective("swap").value == swap * MIB


def test_raising_memory_alone_above_memory_plus_swap_keeps_the_swap(bounded, cgroups):
    lacking(cgroups, "memory", "swap")
    bounded.set({"memory": 10 * MIB, "swap": 5 * MIB})
    bounded.set({"memory": 100 * MIB})
    assert bounded.effective("memory").value == 100 * MIB
    assert bounded.effective("swap").value == 5 * MIB


def test_the_guard_binds_a_tenant_without_limits(bounded):
    assert bounded.effective("memory").value == 1024 * MIB
    assert bounded.effective("pids").value == 512
    assert bounded.effective("cpu").reason == "unlimited"


def test_a_value_the_kernel_refuses_is_an_error_with_file_and_fix(bounded):
    with pytest.raises(LimitNotSetError) as caught:
        bounded.set({"cpuset": "4000"})
    assert "cpuset.cpus" in str(caught.value) and caught.value.fix
    with pytest.raises(LimitNotSetError, match=r"read_bps|io\.max"):
        bounded.set({"io.read": 1e6}, device="4095:1")


def test_a_process_joins_every_hierarchy_and_is_found_again(bounded, cgroups):
    process = inside(
        bounded, "print('in', flush=True); import signal; signal.pause()", stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"in\n"
    assert bounded.pids() == [process.pid]
    assert of_pid(process.pid, cgroups) == bounded
    for _, directory in bounded.directories():
        assert (directory / "cgroup.procs").read_text() == f"{process.pid}\n"
    bounded.kill()
    assert process.wait(10) == -9
    process.stdout.close()


def test_a_fork_bomb_is_killed_to_the_last_process(bounded):
    bounded.set({"pids": 200})
    code = """
import os
print('in', flush=True)
while True:
    try: os.fork()
    except OSError: pass
"""
    process = inside(bounded, code, stdout=subprocess.PIPE)
    process.stdout.readline()
    bounded.kill()
    assert bounded.pids() == []
    process.wait(10)
    process.stdout.close()


def test_children_attached_by_pid_follow_their_parent(bounded):
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    bounded.attach(process.pid)
    assert bounded.pids() == [process.pid]
    process.stdin.close()
    process.wait(10)


def test_removing_a_group_with_processes_says_which(bounded, monkeypatch):
    from bench.host.cgroups import group as module

    monkeypatch.setattr(module, "DRAIN", 0.05)
    process = inside(
        bounded, "print('in', flush=True); import signal; signal.pause()", stdout=subprocess.PIPE
    )
    process.stdout.readline()
    with pytest.raises(HostError, match=str(process.pid)):
        bounded.remove()
    monkeypatch.undo()
    bounded.kill()
    process.wait(10)
    process.stdout.close()


def test_create_and_remove_are_idempotent(bounded, ledger):
    bounded.create(ledger)
    bounded.child("below").child("further").create(ledger)
    bounded.remove()
    bounded.remove()
    assert not bounded.exists()
    assert not [e for e in ledger.left(include_alive=True) if e.name.startswith(bounded.path)]
    bounded.create(ledger)
    assert bounded.exists()


def test_what_a_killed_run_left_is_undone_from_its_ledger(cgroups, run, tmp_path):
    path = tmp_path / "ledger.jsonl"
    code = f"""
import os, signal, subprocess, sys
from pathlib import Path
from bench.host.cgroups import detect, guard
from bench.ledger import Ledger
group = guard({run!r}, 0, detect(), Ledger(Path({str(path)!r})), memory=1 << 30, pids=64)
child = subprocess.Popen(["/bin/sleep", "1000"], stdout=subprocess.DEVNULL)
group.attach(child.pid)
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=60)
    assert done.returncode == -9
    assert run_group(run, cgroups).pids() == [int(done.stdout)]
    ledger = Ledger(path)
    left = ledger.left()
    assert left[0].name.endswith(f"isobench-{run}-0.slice")
    forgotten = _left_elsewhere(left[0].name)
    for entry in left:
        ledger.undo(entry)
        undo(entry.name)
    assert ledger.left() == []
    assert not run_group(run, cgroups).exists()
    assert not [path for path in forgotten if path.exists()]


def _left_elsewhere(name):
    """Groups as an OCI runtime leaves them of a container below that guard, where this program has none."""
    used = {str(h.mount) for h in detect().hierarchies}
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    places = {words[4] for words in lines if "cgroup" in words[words.index("-") + 1 :]} - used
    paths = [Path(place) / name.strip("/") / "0123abcd" for place in places]
    for path in paths:
        path.mkdir(parents=True)
    return [above for path in paths for above in (path, path.parent, path.parent.parent)]


def test_the_outermost_group_of_another_run_survives_an_undo(bounded, cgroups):
    process = inside(
        bounded, "print('in', flush=True); import signal; signal.pause()", stdout=subprocess.PIPE
    )
    process.stdout.readline()
    undo(cgroups.group("isobench.slice").path)
    assert process.poll() is None
    assert bounded.exists()
    bounded.kill()
    process.wait(10)
    process.stdout.close()


def test_counters_grow_with_work_and_the_oom_kill_is_counted(bounded, cgroups):
    lacking(cgroups, "memory")
    bounded.set({"memory": 32 * MIB})
    sandbox = SimpleNamespace(cgroup=bounded, pids=bounded.pids)
    readers = {name: load(name).open(sandbox) for name in ("cgroup", "cgroup_memory")}
    first = readers["cgroup"].parse(readers["cgroup"].read())
    process = inside(bounded, "b = [bytearray(1 << 20) for n in range(200)]")
    assert process.wait(60) == -9
    found = {}
    for reader in readers.values():
        found |= reader.parse(reader.read())
        reader.close()
    assert first["memory.events.oom_kill"] == 0 and found["memory.events.oom_kill"] >= 1
    assert found["memory.events.max"] > 0
    assert 24 * MIB < found["memory.peak"] <= 32 * MIB
    assert found["cpu.usage"] > first["cpu.usage"]
    assert found["pids.events.max"] == 0


def test_a_quota_that_bites_is_counted(bounded):
    # v1 counts user and system time in whole timer ticks of up to 10 ms: bursts must be much longer.
    bounded.set({"cpu": 0.5})
    sandbox = SimpleNamespace(cgroup=bounded, pids=bounded.pids)
    spin = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass"
    assert inside(bounded, spin).wait(60) == 0
    reader = load("cgroup").open(sandbox)
    found = reader.parse(reader.read())
    reader.close()
    assert found["cpu.nr_throttled"] > 0
    assert found["cpu.throttled"] > 0
    assert found["cpu.user"] + found["cpu.system"] == pytest.approx(found["cpu.usage"], rel=0.3, abs=0.02)


def test_a_reader_outlives_its_group_and_gives_none(bounded):
    inner = bounded.child("short")
    inner.create()
    reader = cgroup_collector.Collector().open(SimpleNamespace(cgroup=inner))
    assert reader.parse(reader.read())["pids.current"] == 0
    inner.remove()
    found = reader.parse(reader.read())
    reader.close()
    assert set(found.values()) == {None}


def as_nobody(code, before=lambda: None):
    """What a child process of an ordinary user prints as JSON; `before` runs in it while still root."""
    if os.geteuid() != 0:
        pytest.skip("only root can become an ordinary user")

    def drop():
        before()
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    # The modules are imported before the user changes, who may not be able to read them.
    child = (
        "import json, os, sys\nfrom pathlib import Path\nfrom bench.host.cgroups import *\n"
        "import bench.host.cgroups.delegation, bench.host.cgroups.group, bench.ledger\n"
    )
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            space = {}
            exec(child, space)
            drop()
            exec(code, space)
            os.write(write, json.dumps(space["found"]).encode())
        except BaseException as error:
            os.write(write, json.dumps(repr(error)).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        found = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return found


def test_an_ordinary_user_is_refused_with_a_fix():
    found = as_nobody("r = detect().refuses()\nfound = [r.cause, r.fix] if r else None")
    assert found and "may not create groups" in found[0] and "run as root" in found[1]


def test_a_user_with_a_delegated_group_works_inside_it_and_leaves_it_as_it_was(cgroups, run):
    """Only v2 can be delegated. The user's own group must first be emptied into a leaf, and filled again."""
    if cgroups.mode != "v2":
        pytest.skip(f"this host has cgroups {cgroups.mode}, and only v2 can be delegated")
    given = run_group(run, cgroups).child("given")
    given.create()
    given.child("probe").create()  # hands every controller down to `given`
    given.child("probe").remove()
    directory = given.file("cgroup", "")
    for controller in (directory / "cgroup.subtree_control").read_text().split():
        (directory / "cgroup.subtree_control").write_text(f"-{controller}")
    for path in (directory, directory / "cgroup.procs", directory / "cgroup.subtree_control"):
        os.chown(path, 65534, 65534)
    code = """
cgroups = detect()
base = cgroups.base
own = lambda: Path('/proc/self/cgroup').read_text().strip()
group = guard('inner', 0, cgroups, None, memory=256 << 20, pids=50)
during, again = own(), detect().base
group.set({'memory.high': 32 << 20})
held = [group.effective(n).value for n in ('memory', 'pids', 'memory.high')]
group.remove()
remove_run('inner', cgroups)
found = [base, during, again, held, own()]
"""
    try:
        base, during, again, held, after = as_nobody(code, before=lambda: given.attach(os.getpid()))
    finally:
        given.kill()
        remove_run(run, cgroups)
    assert base == again == given.path
    assert during == f"0::/{given.path}/isobench-self.leaf"
    assert held == [256 * MIB, 50, 32 * MIB]
    assert after == f"0::/{given.path}"


def test_whoever_enters_a_group_right_after_the_wait_need_not_wait(bounded, cgroups):
    with inside(bounded, "sys.stdin.read()", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        first, following, before = [], [], Path("/proc/self/cgroup").read_text()
        for _ in range(15):
            time.sleep(0.06)  # until the grace period after the last one is over
            first.append(entering(bounded, child.pid))
            time.sleep(0.06)
            assert attaching.wait(cgroups) > 0
            following.append(entering(bounded, child.pid))
        child.stdin.close()
    waited, saved = statistics.median(first), statistics.median(first) - statistics.median(following)
    # With favordynmods nobody waits, and there is nothing to save.
    assert saved > 0.8 * waited or "favordynmods" in Path("/proc/mounts").read_text()
    assert Path("/proc/self/cgroup").read_text() == before


def entering(group, pid):
    """Seconds it takes to put that process into the group, in one hierarchy."""
    file = group.attach_files()[0]
    began = time.monotonic()
    file.write_text(str(pid))
    return time.monotonic() - began
