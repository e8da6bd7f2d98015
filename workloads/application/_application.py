"""What applications share: the server's life, the tool at its other end, and what a tool told.

A program gives `run` its arguments, how its server is started and how its client measures. As "server" it
serves at `address` until it is told to end; as "client" it goes to the server at BENCH_PEER; as "both" it
has a server of its own on the loopback inside the sandbox.
"""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from _program import await_gate, emit, end_on_signals, pin, put_down, say, tool

PATIENCE = 30.0  # s that a server may take to answer
PAUSE = 0.02  # s
UNITS = {"app.rate": "1/s", "app.requests": "1", "app.latency.p50": "s", "app.latency.p99": "s"}


class Server:
    """How to start one: its command, the user it runs as, and when it is ready beside that it listens."""

    def __init__(self, words, user="", ready=lambda: True):
        self.words, self.user, self.ready = words, user, ready


def run(args, serve, measure):
    """The whole program. `serve(args, host, port, directory)` is a Server, and
    `measure(args, host, port, directory)` observations by metric."""
    end_on_signals()
    if args["role"] not in ("both", "server", "client"):
        sys.exit(f"unknown role {args['role']!r}; known: both, server, client")
    with directory() as own:
        if args["role"] == "server":
            with started(args, serve, args["address"], own) as process:
                say({"event": "listening"})
                sys.exit(process.wait())
        if args["role"] == "both":
            address = f"127.0.0.1:{free_port()}"
            with started(args, serve, address, own):
                visit(args, measure, address, own)
        else:
            visit(args, measure, os.environ.get("BENCH_PEER", ""), own)


@contextlib.contextmanager
def directory():
    """A directory of this program's own that any user may enter: in the scratch directory, if that is so."""
    scratch = os.environ.get("BENCH_SCRATCH", "")
    made = tempfile.mkdtemp(dir=scratch if enterable(scratch) else None)
    os.chmod(made, 0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)


def enterable(path):
    """Whether every user may go through that directory and all above it."""
    above = [path]
    while above[-1] not in ("", "/"):
        above.append(os.path.dirname(above[-1]))
    return bool(path) and all(os.stat(p).st_mode & 0o001 for p in above if p)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def split(address):
    """(host, port) of ADDRESS:PORT; the program ends where that is none."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        sys.exit(f"{address!r} is not ADDRESS:PORT of a server")
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def started(args, serve, address, own):
    """The server, once it answers; ended with all that it started."""
    host, port = split(address)
    server = serve(args, host, port, own)
    process = subprocess.Popen(
        server.words,
        stdin=subprocess.DEVNULL,
        stdout=2,
        preexec_fn=lambda: become(server.user, args),
        cwd=own,
    )
    try:
        await_answer(process, server, "127.0.0.1" if host == "0.0.0.0" else host, port)
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        put_down(process)


def become(user, args):
    """In the child: that user, and the server's CPU."""
    if args["server_cpu"] >= 0:
        os.sched_setaffinity(0, {args["server_cpu"]})
    if user and os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)


def await_answer(process, server, host, port):
    """Wait until something accepts there and the server is ready; the program ends where it ends first."""
    until = time.monotonic() + PATIENCE
    while True:
        if process.poll() is not None:
            sys.exit(f"{server.words[0]} ended with {process.returncode} before it listened")
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            if server.ready():
                return
        if time.monotonic() > until:
            sys.exit(f"{server.words[0]} does not listen at {host}:{port}")
        time.sleep(PAUSE)


def visit(args, measure, address, own):
    """Measure, and print what the tool told."""
    host, port = split(address)
    pin(args["cpu"])
    await_gate()
    found = measure(args, host, port, own)
    for metric, unit in UNITS.items():
        emit(metric, found.get(metric), unit, "the tool did not tell it")


def drive(words, seconds):
    """The standard output of a tool between the events of its run; the program ends with its complaint."""
    say({"event": "start"})
    status, output, errors = tool(words, seconds + 30)
    say({"event": "end"})
    if status:
        sys.exit(f"{words[0]}: {errors.strip() or output.strip() or f'ended with {status}'}")
    return output


def percentile(values, share):
    """The value below which that share of the others lies, by nearest rank; None of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
