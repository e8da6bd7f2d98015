"""The agent in a real guest: virtio port, cgroup v2, a kernel that kills for want of memory."""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from bench import bootlayer
from bench.errors import SandboxError
from bench.host.vm.channel import Channel
from bench.model import Exit
from tests.conftest import missing

QEMU = "qemu-system-x86_64"
BOOT = 120.0
"""Seconds a guest may take to boot under emulation on a busy host."""


class Machine:
    """A bare QEMU, emulated, with the boot layer's kernel and a disk on top of it."""

    def __init__(self, layer, image, directory, boot="micro"):
        self.socket = directory / "agent.sock"
        self.console = directory / "console.log"
        disk = directory / "overlay.qcow2"
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(layer.disk), str(disk)],
            check=True,
            timeout=30,
        )
        self.process = subprocess.Popen(
            [
                QEMU, "-accel", "tcg", "-machine", "q35", "-cpu", "max", "-smp", "1", "-m", "768",
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-kernel", str(layer.kernel), "-initrd",
                str(bootlayer.initrd(layer, boot)),
                "-append", bootlayer.command_line(boot),
                "-drive", f"if=none,id=root,format=qcow2,file={disk}",
                "-device", "virtio-blk-pci,drive=root,serial=isobench-root",
                "-drive", f"if=none,id=harness,format=raw,readonly=on,file={bootlayer.harness()}",
                "-device", "virtio-blk-pci,drive=harness,serial=isobench-harness",
                "-device", "virtio-serial-pci",
                "-chardev", f"socket,id=agent,path={self.socket},server=on,wait=off",
                "-device", "virtserialport,chardev=agent,name=isobench.agent.0",
                "-serial", f"file:{self.console}",
            ],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def connect(self):
        """A channel to its agent, not yet answered."""
        end = time.monotonic() + 60
        while True:
            stream = socket.socket(socket.AF_UNIX)
            try:
                stream.connect(str(self.socket))
                return Channel(stream, guest="the test's guest")
            except OSError:
                stream.close()
                assert time.monotonic() < end and self.process.poll() is None, self.console.read_text()
                time.sleep(0.01)

    def end(self):
        self.process.kill()
        self.process.wait(20)


@pytest.fixture(scope="module")
def layer(image):
    found = bootlayer.find(image)
    if found is None:
        missing("there is no boot layer (fix: bench image build --vm)")
    if shutil.which(QEMU) is None:
        missing("there is no QEMU (fix: apt install qemu-system-x86)")
    return found


@pytest.fixture(scope="module")
def machine(layer, image, tmp_path_factory):
    found = Machine(layer, image, tmp_path_factory.mktemp("guest"))
    try:
        yield found
    finally:
        found.end()


@pytest.fixture
def guest(machine):
    with machine.connect() as channel:
        try:
            channel.wait_ready(BOOT)
            channel.warm(["cgroup", "host", "process"])
        except SandboxError as error:
            pytest.fail(f"{error}\n{machine.console.read_text()[-3000:]}")
        yield channel


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return value


def output(process, seconds=60.0):
    """(how it ended, all of stdout)."""
    parts = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(BlockingIOError):
            data = os.read(process.stdout, 1 << 20)
            if not data:
                return until(process.poll), b"".join(parts)
            parts.append(data)
            continue
        time.sleep(0.002)
    raise AssertionError(f"no end of the output: {b''.join(parts)[-500:]!r}")


def test_the_agent_of_a_guest_says_how_it_was_booted(guest, layer):
    assert guest.hello["kernel"] == layer.kernel_release
    assert guest.hello["boot"] == "micro"
    assert guest.hello["cgroup"] is True
    assert guest.hello["boot_id"] != Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_a_program_runs_in_a_cgroup_of_its_own_that_goes_with_it(guest):
    process = guest.exec(["cat", "/proc/self/cgroup"], name="tenant a/b")
    started = process.started(30)
    assert started["cgroup"] == "/sys/fs/cgroup/isobench/tenant_a_b"
    assert output(process) == (Exit("exited", code=0), b"0::/isobench/tenant_a_b\n")
    assert guest.call("exists", path=started["cgroup"]) is True  # counters stay readable after the end
    readings = guest.call("effective", path=started["cgroup"], limits=["memory", "pids", "cpu"])
    assert readings["cpu"]["reason"] == "unlimited"
    process.close()
    process.wait_gone(20)
    assert guest.call("exists", path=started["cgroup"]) is False


def test_closing_ends_even_what_left_the_session(guest):
    process = guest.exec(["sh", "-c", "setsid sleep 1000 & setsid sleep 1000 & echo ok; wait"], name="escape")
    path = process.started(30)["cgroup"]
    until(lambda: len(guest.call("pids", path=path)) == 3)
    process.close()
    process.wait_gone(20)
    assert guest.call("exists", path=path) is False


def test_a_kill_for_want_of_memory_is_told_from_any_other(guest):
    script = (
        "cd /sys/fs/cgroup/isobench/oom; echo 20000000 > memory.max; echo 0 > memory.swap.max;"
        "exec python3 -IS -c 'x = bytearray(200000000)'"
    )
    process = guest.exec(["sh", "-c", script], name="oom")
    ended, _ = output(process)
    assert (ended.reason, ended.signal) == ("oom", signal.SIGKILL)
    assert guest.call("oom_kills", path=process.result["cgroup"]) >= 1
    process.close()
    killed = guest.exec(["sh", "-c", "kill -9 $$"], name="killed")
    assert output(killed)[0] == Exit("signalled", signal=signal.SIGKILL)
    killed.close()


def test_collectors_read_the_cgroup_of_a_program_while_it_runs(guest):
    process = guest.exec(["timeout", "15", "sh", "-c", "while :; do :; done"], name="busy")
    watch = guest.watch(dict.fromkeys(["cgroup", "cgroup_psi", "host", "psi", "process"], 0.1), exec=process)
    watch.started(60)
    before = time.monotonic()
    until(lambda: watch.ticks >= 5)
    process.kill()
    output(process)
    samples = watch.stop(60)
    usage = [s for s in samples if s.metric == "cpu.usage"]
    assert len(usage) >= 2
    assert usage[-1].value > usage[0].value
    assert all(a.time <= b.time for a, b in itertools.pairwise(usage))
    assert usage[-1].time < time.monotonic()
    assert usage[0].time < before + 1
    process.close()


def test_output_crosses_the_port_unharmed(guest):
    process = guest.exec(["sh", "-c", "head -c 4000000 /dev/zero | tr '\\0' '\\377'"], name="out")
    ended, out = output(process)
    assert ended.code == 0
    assert out == b"\xff" * 4_000_000
    process.close()


def test_the_next_host_finds_a_clean_guest(machine):
    with machine.connect() as first:
        first.wait_ready(BOOT)
        path = first.exec(["sh", "-c", "while :; do echo filling the port; done"], name="left").started(30)[
            "cgroup"
        ]
        boot = first.hello["boot_id"]
    with machine.connect() as second:
        assert second.wait_ready(30)["boot_id"] == boot
        assert second.call("exists", path=path) is False
        for _ in range(3):
            assert second.ping() < 5


def test_a_busy_guest_still_answers(guest):
    processes = [guest.exec(["sh", "-c", "while :; do :; done"], name=f"spin{n}") for n in range(8)]
    for process in processes:
        process.started(30)
    assert sorted(guest.ping() for _ in range(20))[10] < 0.5
    for process in processes:
        process.close()


def test_trees_go_in_and_come_back(guest, tmp_path):
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d/file").write_bytes(os.urandom(2_000_000))
    guest.put(source, "/tmp/isobench-put", 60)
    guest.get("/tmp/isobench-put", tmp_path / "back", 60)
    assert (tmp_path / "back/d/file").read_bytes() == (source / "d/file").read_bytes()


def test_a_socket_of_the_guest_is_reached_from_the_host(guest, tmp_path):
    server = (
        "import socket,sys\ns=socket.socket(socket.AF_UNIX); s.bind('/tmp/echo.sock'); s.listen(50)\n"
        "print('listening', flush=True)\n"
        "while True:\n c,_=s.accept(); d=b''.join(iter(lambda: c.recv(65536), b''))\n"
        " c.sendall(d[::-1]); c.close()\n"
    )
    process = guest.exec(["python3", "-c", server], name="server")
    until(lambda: _peek(process.stdout))
    results = {}
    with guest.forward("/tmp/echo.sock", tmp_path / "f.sock") as path:

        def ask(n):
            with socket.socket(socket.AF_UNIX) as stream:
                stream.settimeout(60)
                stream.connect(str(path))
                stream.sendall(bytes([n]) * 50_000 + b"end")
                stream.shutdown(socket.SHUT_WR)
                results[n] = b"".join(iter(lambda: stream.recv(65536), b""))

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
    assert results == {n: b"dne" + bytes([n]) * 50_000 for n in range(20)}
    process.close()


def _peek(fd):
    try:
        return os.read(fd, 1000)
    except BlockingIOError:
        return b""


def test_a_guest_powers_off_when_told_and_its_programs_count_as_lost(layer, image, tmp_path):
    machine = Machine(layer, image, tmp_path)
    try:
        with machine.connect() as channel:
            channel.wait_ready(BOOT)
            process = channel.exec(["sleep", "1000"])
            process.started(30)
            channel.poweroff()
            assert machine.process.wait(60) == 0
            assert until(process.poll).reason == "lost"
            with pytest.raises(SandboxError, match="stopped answering"):
                channel.ping()
            process.close()
    finally:
        machine.end()
