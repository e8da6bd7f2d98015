"""Calls and readings of the real agent, a child of this process."""

import os
import time

import pytest
from agents import agent, guest, until, until_there

from bench.errors import SandboxError
from bench.guest import child, serve


def test_only_listed_functions_can_be_called(guest):
    with pytest.raises(SandboxError, match="no function 'system'"):
        guest.call("system", command="true")
    with pytest.raises(SandboxError, match="unknown operation"):
        guest.request({"op": "eval"}).wait(10)


def test_calls_answer_like_the_functions_they_name(guest, tmp_path):
    from bench.host import cgroups, facts

    assert guest.call("facts")["identity"] == dict(facts.read().identity)
    assert guest.call("exists", path=str(tmp_path)) is True
    assert guest.call("exists", path=str(tmp_path / "no")) is False
    own = cgroups.of_pid(os.getpid(), cgroups.detect())
    assert guest.call("group_of", pid=os.getpid()) == own.absolute()
    reading = own.effective("memory")
    assert guest.call("effective", path=own.absolute(), limits=["memory"])["memory"]["value"] == reading.value
    assert os.getpid() in guest.call("pids", path=own.absolute())
    with pytest.raises(SandboxError, match="argument"):
        guest.call("exists", nonsense=1)


def test_a_call_that_takes_too_long_is_given_up_and_the_agent_goes_on(guest, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SandboxError, match=r"longer than 0\.3 s"):
        guest.read(str(tmp_path / "fifo"), deadline=0.3)
    assert guest.ping() < 5


@pytest.mark.skipif(serve.boot() is not None, reason="this machine is a guest of ours and would power off")
def test_a_machine_that_is_no_guest_is_never_powered_off(guest):
    with pytest.raises(SandboxError, match="no guest of this program"):
        guest.request({"op": "poweroff"}).wait(10)


def test_a_warm_agent_answers_as_a_cold_one_does(guest):
    guest.warm(["psi", "self"])
    assert guest.call("exists", path="/") is True
    with pytest.raises(SandboxError, match="nonsense"):
        guest.warm(["nonsense"])


# --- watching ----------------------------------------------------------------------------------------


def test_readings_bear_the_times_of_this_clock(guest):
    before = time.monotonic()
    watch = guest.watch(dict.fromkeys(["host", "psi", "self"], 0.1))
    watch.started(20)
    until(lambda: watch.ticks >= 4)
    samples = watch.stop(20)
    assert {s.collector for s in samples} >= {"host", "self"}
    times = [s.time for s in samples]
    assert times == sorted(times)
    assert before < times[0] <= times[-1] < time.monotonic()
    assert watch.facts["ticks"] == watch.ticks
    assert watch.facts["cost"] > 0


def test_a_watch_follows_a_program_and_reads_once_more_at_its_end(guest, tmp_path):
    process = guest.exec(until_there(tmp_path / "enough"))
    process.started(20)
    watch = guest.watch(dict.fromkeys(["process", "self"], 0.1), exec=process)
    watch.started(20)
    until(lambda: watch.ticks >= 2)
    (tmp_path / "enough").touch()
    until(process.poll)
    ticks = watch.ticks
    until(lambda: watch.ticks > ticks or watch.ticks >= 2)
    samples = watch.stop(20)
    counts = [s.value for s in samples if s.metric == "process.count"]
    assert counts[0] >= 1
    process.close()


def test_collectors_that_do_not_exist_or_have_nothing_to_read_are_named(guest):
    watch = guest.watch(dict.fromkeys(["cgroup_psi", "self"], 0.1))
    watch.started(20)
    watch.stop(20)
    assert list(watch.facts["unread"]) == ["cgroup_psi"]
    with pytest.raises(SandboxError, match="unknown collector"):
        guest.watch({"nonsense": 0.1}).started(20)


# --- what delays a program ---------------------------------------------------------------------------


def test_while_it_imports_the_agents_python_is_an_ordinary_process():
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child.urgent()
            before = os.sched_getscheduler(0)
            within = child.ordinarily(lambda: (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)))
            after = os.sched_getscheduler(0)
            code = 0 if within == (os.SCHED_OTHER, 0) and before == after != os.SCHED_OTHER else 2
        except PermissionError:
            code = 3
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 3:
        pytest.skip("this user may not make a process urgent")
    assert code == 0


def test_a_watch_beside_a_program_reads(guest):
    process = guest.exec(["/bin/sleep", "30"])
    watch = guest.watch({"host": 0.1}, exec=process)
    watch.started()
    assert {found.collector for found in watch.stop()} == {"host"}
    process.close()
    with pytest.raises(SandboxError, match="unknown collector"):
        guest.watch({"nonsense": 0.1}).stop()
