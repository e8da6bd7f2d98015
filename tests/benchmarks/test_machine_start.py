"""What starting a machine costs against bare QEMU on the same files, in one sitting, interleaved.

The figures go to `extra_info`, in seconds and as ratios; nothing here asserts on the clock.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shutil
import socket
import statistics
import subprocess
import time
from pathlib import Path

import pytest
from conftest import missing

from bench import bootlayer, runtimes
from bench.host import cgroups
from bench.host.vm import accelerator, disks
from bench.host.vm.channel import Channel
from bench.ledger import Ledger, state_dir
from bench.model import Tenant

pytestmark = pytest.mark.live
ROUNDS = int(os.environ.get("ISOBENCH_ROUNDS", "5"))
MEMORY = 1 << 30
IDLE = 10
"""Round trips after which the agent has nothing else to do any more."""
LINE = b"isobench:"
"""How a line of the initramfs begins; a boot it does not know makes it print one, with all disks mounted."""


@pytest.fixture(scope="module")
def layer(image):
    found = bootlayer.find(image)
    lacking = runtimes.load("libvirt").requires()
    if found is None or lacking:
        missing(lacking[0].cause if lacking else "no boot layer")
    return found


@pytest.fixture
def arena(tmp_path, image):
    ledger, found = Ledger(tmp_path / "ledger.jsonl"), cgroups.detect()
    guard = cgroups.guard("machinestart", 1, found, ledger, memory=4 << 30, pids=4096)
    scratch = state_dir() / "scratch" / "machinestart"
    scratch.mkdir(parents=True, exist_ok=True)
    yield runtimes.Arena("machinestart", 1, guard, image, Path("/workloads"), scratch, ledger,
                         params={"machine.memory": MEMORY})  # fmt: skip
    cgroups.remove_run("machinestart", found)
    shutil.rmtree(scratch)


@contextlib.contextmanager
def bare(layer, initrd, place, command_line):
    """QEMU as a person would start it on the same kernel, initramfs and disks; its start time, and itself."""
    root = place / "root.qcow2"
    root.unlink(missing_ok=True)
    disks.overlay(root, layer.disk, None)
    command = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", f"q35,accel={accelerator.probe().kind},usb=off,vmport=off",
        "-cpu", "host" if accelerator.probe().kind == "kvm" else "max", "-smp", str(os.cpu_count()),
        "-m", str(MEMORY >> 20), "-kernel", str(layer.kernel), "-initrd", str(initrd),
        "-append", command_line,
        "-drive", f"file={root},if=none,id=r,cache=unsafe",
        "-device", "virtio-blk-pci,drive=r,serial=isobench-root",
        "-drive", f"file={bootlayer.harness()},if=none,id=h,readonly=on,format=raw",
        "-device", "virtio-blk-pci,drive=h,serial=isobench-harness",
        "-device", "virtio-serial-pci", "-chardev", f"socket,id=a,path={place / 'agent'},server=on,wait=off",
        "-device", "virtserialport,chardev=a,name=isobench.agent.0", "-serial", "stdio",
    ]  # fmt: skip
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        yield began, process
    finally:
        process.kill()
        process.communicate(timeout=10)


def bare_line(layer, initrd, place):
    """Seconds of bare QEMU from exec to a line of the initramfs."""
    words = bootlayer.command_line("micro").replace("isobench.boot=micro", "isobench.boot=line")
    with bare(layer, initrd, place, words) as (began, process):
        said, until = b"", began + 120
        while LINE not in said and time.monotonic() < until:
            if select.select([process.stdout], [], [], 0.1)[0]:
                piece = os.read(process.stdout.fileno(), 4096)
                assert piece, said
                said += piece
        return time.monotonic() - began


def bare_agent(layer, initrd, place, boot):
    """Seconds of bare QEMU from exec to the agent's first answer."""
    words = bootlayer.command_line(boot)
    with bare(layer, initrd, place, words) as (began, _), _connected(place / "agent") as channel:
        channel.wait_ready(180)
        return time.monotonic() - began


def _connected(path):
    until = time.monotonic() + 20
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
            return Channel(connection)
        except OSError:
            connection.close()
            assert time.monotonic() < until
            time.sleep(0.002)


def first_output(process):
    assert select.select([process.stdout], [], [], 60)[0]
    assert os.read(process.stdout, 100)
    return time.monotonic()


def opened(spec, arena):
    """Seconds from `open` to the first output of a workload, of which to define, and to the agent."""
    began = time.monotonic()
    with runtimes.load(spec).open(Tenant("a", "", {}, {}), arena) as sandbox:
        process = sandbox.start(["/bin/echo", "here"], {})
        total = first_output(process) - began
        facts = sandbox.facts()
        process.close()
    return total, facts["machine.seconds.define"], facts["machine.seconds.boot"]


@pytest.mark.parametrize("boot", ["micro", "full"])
def test_from_open_to_the_first_output(benchmark, layer, image, arena, tmp_path, boot):
    initrd = bootlayer.initrd(layer, boot)
    lines, agents, totals = [], [], []
    rounds = ROUNDS if boot == "micro" else max(1, ROUNDS // 2)
    for _ in range(rounds):
        if boot == "micro":
            lines.append(bare_line(layer, initrd, tmp_path))
        agents.append(bare_agent(layer, initrd, tmp_path, boot))
        totals.append(opened(f"libvirt:{boot}", arena))
    benchmark.pedantic(lambda: None)
    total, define, ready = (statistics.median(column) for column in zip(*totals, strict=True))
    agent = statistics.median(agents)
    found = {"total": total, "define": define, "ready": ready, "bare_agent": agent, "to_agent": total / agent}
    if lines:
        line = statistics.median(lines)
        found |= {"bare_line": line, "to_line": total / line}
    benchmark.extra_info.update(found)
    print(f"\n{boot}: " + ", ".join(f"{name} {value:.2f}" for name, value in found.items()))


LOOP = 'i=0; while [ $i -lt 20 ]; do "$@"; i=$((i+1)); done'


def in_a_loop(channel, program):
    """Seconds between two first outputs of that program, one after the other from a shell in the machine."""
    process = channel.exec(["/bin/sh", "-c", LOOP, "sh", *program])
    try:
        stamps = [first_output(process) for _ in range(20)]
    finally:
        process.close()
    process.wait_gone()
    return statistics.median(after - before for before, after in itertools.pairwise(stamps))


@pytest.mark.parametrize("program", [["/bin/echo", "here"], ["/usr/lib/isobench/start-ready"]])
def test_a_further_workload_in_the_same_machine(benchmark, layer, arena, program):
    """Beside a round trip stands what the program costs a shell in there, without agent and channel."""
    pings, starts = [], []
    with runtimes.load("libvirt").open(Tenant("a", "", {}, {}), arena) as sandbox:
        for _ in range(20):
            # The program before may still occupy the guest: the least of some is a round trip alone.
            pings.append(min(sandbox.channel.ping() for _ in range(IDLE)))
            began = time.monotonic()
            process = sandbox.channel.exec(program)
            starts.append(first_output(process) - began)
            process.close()
            process.wait_gone()
        shell = in_a_loop(sandbox.channel, program)
        benchmark.pedantic(sandbox.channel.ping, rounds=20)
    ping, start = statistics.median(pings), statistics.median(starts)
    benchmark.extra_info.update(ping=ping, start=start, shell=shell, ratio=start / ping, bare=shell / ping)
    print(f"\n{program[0]}: ping {ping * 1e3:.2f} ms; a further workload {start * 1e3:.2f} ms, "
          f"{start / ping:.1f} ×; by a shell inside {shell * 1e3:.2f} ms, {shell / ping:.1f} ×")  # fmt: skip


def test_an_overlay_takes_the_same_time_whatever_it_lies_on(benchmark, tmp_path):
    small, large = tmp_path / "small.qcow2", tmp_path / "large.qcow2"
    for path, size in ((small, "64M"), (large, "64M")):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), size], check=True, timeout=60)
    with large.open("ab") as file:
        file.write(os.urandom(256 << 20))  # bytes that a copy would have to carry
    taken = {small: [], large: []}
    for number in range(10):
        for backing, seconds in taken.items():
            began = time.perf_counter()
            disks.overlay(tmp_path / f"{number}.{backing.name}", backing, None)
            seconds.append(time.perf_counter() - began)
    benchmark.pedantic(lambda: None)
    on_small, on_large = statistics.median(taken[small]), statistics.median(taken[large])
    assert (tmp_path / "0.large.qcow2").stat().st_size < 1 << 20
    benchmark.extra_info.update(small=on_small, large=on_large, ratio=on_large / on_small)
    print(f"\noverlay on 0.2 MB {on_small * 1e3:.1f} ms, on 256 MB {on_large * 1e3:.1f} ms")
