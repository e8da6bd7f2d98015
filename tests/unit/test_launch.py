"""Processes with the real kernel, as any user: what the workload finds, and what is left of it."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import compiled
from bench.errors import SandboxError
from bench.host import launch, spawn, stub
from bench.model import Exit

ENV = {"PATH": "/usr/bin:/bin"}
TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=20)


def output(fd: int, deadline: float = 60.0) -> str:
    """Everything until end of file."""
    import select

    data = b""
    while select.select([fd], [], [], deadline)[0]:
        chunk = os.read(fd, 65536)
        if not chunk:
            return data.decode()
        data += chunk
    raise AssertionError(f"no end of file; so far {data!r}")


@pytest.fixture(scope="session")
def launcher(tmp_path_factory):
    directory = tmp_path_factory.mktemp("compiled")
    compiled.build(directory)
    return directory / "place"


@pytest.fixture(params=["parked", "at once"])
def begin(request):
    """Both ways to a process: prepared ahead, and all at once."""
    if request.param == "parked":
        return launch.park
    return functools.partial(spawn.prompt, request.getfixturevalue("launcher"))


def run(begin, *argv: str, **options) -> tuple[Exit, str]:
    process = begin().start(argv, ENV, **options)
    text = output(process.stdout)
    ended = process.wait(60)
    process.close()
    assert ended is not None
    return ended, text


def open_descriptors() -> set[str]:
    return {p.name for p in Path("/proc/self/fd").iterdir()}


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


# --- what the workload finds --------------------------------------------------------------------


def test_the_parked_process_itself_becomes_the_program():
    parked = launch.park()
    process = parked.start(["sh", "-c", "echo $$; exit 3"], ENV)
    assert int(output(process.stdout)) == parked.pid == process.pid
    assert process.wait(60) == Exit("exited", code=3)
    process.close()


def test_environment_and_arguments_arrive_exactly(begin):
    process = begin().start(
        ["python3", "-c", "import os, sys; print(dict(os.environ), sys.argv[1:])", "a b", ""],
        {**ENV, "LC_CTYPE": "C.UTF-8", "K": "x=y"},
    )
    assert output(process.stdout) == f"{ {**ENV, 'LC_CTYPE': 'C.UTF-8', 'K': 'x=y'} } ['a b', '']\n"
    assert process.end() == Exit("exited", code=0)


def test_an_environment_larger_than_a_pipe_arrives(begin):
    env = {**ENV, **{f"K{i}": "v" * 1000 for i in range(300)}}
    process = begin().start(["sh", "-c", "env | wc -c"], env)
    assert int(output(process.stdout)) > 300_000
    process.end()


def test_it_starts_in_the_directory_asked_for(begin, tmp_path):
    assert run(begin, "pwd", cwd=str(tmp_path)) == (Exit("exited", code=0), f"{tmp_path}\n")


def test_it_leads_a_session_of_its_own(begin):
    process = begin().start(["sleep", "30"], ENV)
    assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
    process.end()


def test_signals_have_their_default_effect_although_python_ignores_some(begin):
    status = run(begin, "cat", "/proc/self/status")[1]
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in status.splitlines() if line[:3] == "Sig"
             and line[:4] != "SigQ"}  # fmt: skip
    # Signals 32 and 33 belong to the C library, which lets no program change them: whoever started
    # this test may have handed them on as ignored.
    reserved = 1 << 31 | 1 << 32
    assert masks["SigIgn"] & ~reserved == masks["SigBlk"] == masks["SigCgt"] == 0


def test_signals_stay_unblocked_in_this_process():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    launch.park().close()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_only_the_standard_descriptors_and_the_extra_one_are_open(begin):
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)  # the worst case: somebody else's descriptor
    parked = begin(extra=(writer,))
    os.close(writer)
    process = parked.start(["sh", "-c", "echo told >&3; ls /proc/$$/fd"], ENV)
    assert output(process.stdout).split() == ["0", "1", "2", "3"]
    assert os.read(reader, 100) == b"told\n"
    os.close(reader)
    process.end()


def test_input_is_empty_and_errors_have_a_pipe_of_their_own(begin):
    process = begin().start(["sh", "-c", "cat; echo oops >&2"], ENV)
    assert output(process.stdout) == ""
    assert output(process.stderr) == "oops\n"
    process.end()


def test_pipe_ends_do_not_block(begin):
    process = begin().start(["sleep", "30"], ENV)
    with pytest.raises(BlockingIOError):
        os.read(process.stdout, 1)
    process.end()


def test_it_writes_itself_into_every_cgroup_before_it_waits(tmp_path):
    files = [tmp_path / "a.procs", tmp_path / "b.procs"]
    for file in files:
        file.touch()
    launch.park(files).close()
    assert [f.read_text() for f in files] == ["0", "0"]


# --- how it ends --------------------------------------------------------------------------------


def test_a_running_process_has_no_exit_and_then_the_signal_that_ended_it(begin):
    process = begin().start(["sleep", "30"], ENV)
    assert process.poll() is None
    assert process.rusage() is None
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) == Exit("signalled", signal=15)
    assert process.poll() == Exit("signalled", signal=15)
    process.close()


@pytest.mark.parametrize(
    ("script", "wrapped", "counts", "expected"),
    [
        ("kill -9 $$", False, [0, 1], Exit("oom", signal=9, detail="1 OOM kills in its cgroup")),
        ("kill -9 $$", False, [3, 3], Exit("signalled", signal=9)),
        ("kill -9 $$", False, [None, None], Exit("signalled", signal=9)),
        ("kill -9 $$", False, [0, None], Exit("signalled", signal=9)),
        ("exit 137", True, [0, 2], Exit("oom", signal=9, detail="2 OOM kills in its cgroup")),
        ("exit 137", True, [0, 0], Exit("signalled", signal=9)),
        ("exit 137", False, [0, 0], Exit("exited", code=137)),
        ("exit 255", True, [0, 0], Exit("exited", code=255)),
        ("kill -15 $$", False, [0, 1], Exit("signalled", signal=15)),
        ("exit 1", False, [0, 1], Exit("exited", code=1, detail="1 OOM kills in its cgroup")),
    ],
)  # fmt: skip
def test_sigkill_is_an_oom_kill_only_where_the_kernel_counted_one(begin, script, wrapped, counts, expected):
    values = iter(counts)
    assert run(begin, "sh", "-c", script, oom_kills=lambda: next(values), wrapped=wrapped)[0] == expected


def test_usage_of_the_workload_and_its_children_is_reported(begin):
    process = begin().start(
        ["python3", "-c", "from time import process_time as p; t = p()\nwhile p() < t + 0.2: pass"], ENV
    )
    process.wait(60)
    usage = process.rusage()
    assert usage is not None
    assert usage.user + usage.system >= 0.2
    assert usage.maxrss > 1_000_000
    process.close()


def test_what_was_used_while_parked_is_not_the_workloads():
    parked = launch.park()
    assert parked.cpu > 0.001  # the start of an interpreter
    assert parked.floor is not None
    process = parked.start(["true"], ENV)
    process.wait(60)
    usage = process.rusage()
    assert usage is not None
    assert usage.user + usage.system < parked.cpu
    process.close()


def test_children_left_behind_die_with_the_workload_where_no_cgroup_holds_them(begin):
    process = begin().start(["sh", "-c", "sleep 300 >/dev/null 2>&1 & echo $!"], ENV)
    child = int(output(process.stdout))
    assert process.wait(60) == Exit("exited", code=0)
    assert launch.wait_for(lambda: not alive(child), 30)
    process.close()


def test_ending_a_process_kills_and_reaps_it(begin):
    process = begin().start(["sleep", "300"], ENV)
    assert process.end() == Exit("signalled", signal=9)
    assert not Path(f"/proc/{process.pid}").exists()


# --- what goes wrong ----------------------------------------------------------------------------


def test_a_missing_program_is_named_and_leaves_no_child(begin):
    parked = begin()
    with pytest.raises(SandboxError, match=r"'/no/such' could not be started: execve: No such file"):
        parked.start(["/no/such"], ENV)
    assert not Path(f"/proc/{parked.pid}").exists()


def test_a_file_that_may_not_be_executed_is_named(begin, tmp_path):
    (tmp_path / "data").write_text("x")
    with pytest.raises(SandboxError, match=r"data' could not be started: execve: Permission denied"):
        begin().start([str(tmp_path / "data")], ENV)


def test_a_missing_working_directory_is_an_error(begin):
    with pytest.raises(SandboxError, match="change to /no/such"):
        begin().start(["true"], ENV, "/no/such")


def test_a_cgroup_that_cannot_be_joined_is_named_and_leaves_no_child(tmp_path):
    before, children = open_descriptors(), psutil.Process().children()
    with pytest.raises(SandboxError, match=r"join .*cgroup\.procs: No such file"):
        launch.park([tmp_path / "cgroup.procs"])
    assert open_descriptors() <= before  # other tests' threads close theirs
    assert set(psutil.Process().children()) <= set(children)


def test_what_is_no_network_namespace_is_refused():
    with pytest.raises(SandboxError, match="enter /dev/null"):
        launch.park(netns=Path("/dev/null"))


@pytest.mark.parametrize("argv", [[], ["true", "a\0b"]])
def test_a_command_line_that_cannot_be_sent_is_refused_and_nothing_waits_on(argv):
    parked = launch.park()
    with pytest.raises(SandboxError, match="NUL"):
        parked.start(argv, ENV)
    assert alive(parked.pid)
    parked.close()
    assert not alive(parked.pid)


def test_a_parked_process_that_was_killed_says_so():
    parked = launch.park()
    os.kill(parked.pid, signal.SIGKILL)
    launch.wait_for(lambda: not alive(parked.pid), 30)
    with pytest.raises(SandboxError, match="the parked process died"):
        parked.start(["true"], ENV)
    assert not Path(f"/proc/{parked.pid}").exists()


def test_it_starts_only_once():
    parked = launch.park()
    parked.start(["true"], ENV).end()
    with pytest.raises(SandboxError, match="already started"):
        parked.start(["true"], ENV)


def test_closing_an_unstarted_one_ends_it_and_leaves_no_descriptor():
    before = open_descriptors()
    parked = launch.park()
    assert alive(parked.pid)
    parked.close()
    parked.close()
    assert not Path(f"/proc/{parked.pid}").exists()
    assert open_descriptors() <= before  # other tests' threads close theirs


def test_a_finished_process_leaves_no_descriptor(begin):
    before = open_descriptors()
    run(begin, "true")
    assert open_descriptors() <= before  # other tests' threads close theirs


@pytest.mark.parametrize("started", [False, True])
def test_nothing_survives_a_killed_harness(started):
    script = (
        "import sys, time; from bench.host import launch; p = launch.park()\n"
        f"if {started}: p.start(['sleep', '300'], {{'PATH': '/usr/bin:/bin'}})\n"
        "print(p.pid, flush=True); time.sleep(300)"
    )
    harness = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert harness.stdout is not None
    child = int(harness.stdout.readline())
    assert alive(child)
    harness.kill()
    harness.communicate()
    assert launch.wait_for(lambda: not alive(child), 30)


# --- pure parts ---------------------------------------------------------------------------------


@given(
    st.lists(TEXT, min_size=1, max_size=5),
    st.dictionaries(TEXT.filter(lambda k: "=" not in k and k), TEXT, max_size=5),
    TEXT,
)
def test_what_is_sent_is_what_arrives(argv, env, cwd):
    reader, writer = os.pipe()
    os.write(writer, launch.encode(argv, env, cwd))
    os.close(writer)
    told = stub.command(stub.receive(reader))
    os.close(reader)
    assert told == (
        cwd.encode(),
        [word.encode() for word in argv],
        {key.encode(): value.encode() for key, value in env.items()},
    )


def test_processes_of_a_session_are_found_in_proc(tmp_path):
    for pid, session, name in ((5, 5, "a"), (6, 5, "b) c (d"), (7, 8, "e")):
        directory = tmp_path / "proc" / str(pid)
        directory.mkdir(parents=True)
        (directory / "stat").write_text(f"{pid} ({name}) S 1 {session} {session} 0 -1 0 0")
    (tmp_path / "proc" / "9").mkdir()  # gone between listing and reading
    (tmp_path / "proc" / "self").mkdir()
    assert launch.session_pids(5, tmp_path) == [5, 6]


def test_waiting_gives_up_and_says_so():
    started = time.monotonic()
    assert not launch.wait_for(lambda: False, 0.01)
    assert time.monotonic() > started
    assert launch.wait_for(lambda: True, 0.0)
