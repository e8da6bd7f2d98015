#!/usr/bin/python3 -IS
# /// bench
# title   = "PostgreSQL, driven by pgbench"
# area    = "application"
# needs   = ["python3", "pgbench"]
# [args]
# role = "both"
# address = ""
# cpu = -1
# server_cpu = -1
# script = "tpcb-like"
# connections = 4
# fsync = false
# seconds = 1
# [metrics."app.rate"]
# unit = "1/s"
# better = "higher"
# [metrics."app.requests"]
# unit = "1"
# better = "higher"
# [metrics."app.latency.p50"]
# unit = "s"
# better = "lower"
# [metrics."app.latency.p99"]
# unit = "s"
# better = "lower"
# [metrics."placement.pinned"]
# unit = "1"
# ///
"""Transactions of one of pgbench's own scripts, "tpcb-like", "simple-update" or "select-only".

The database is that of the image, of scale 1, copied to the scratch directory. Without `fsync` no transaction
waits for the disk: that wait is the same in every sandbox on one disk, a hundred times what a boundary
adds, and measured by itself where files lie. `seconds` is whole: pgbench takes no other. The percentiles
are of its log of transactions. The server runs as the user postgres, as it refuses root.
"""

import ctypes
import glob
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "_shared")]
from _application import Server, become, drive, percentile, run  # noqa: E402
from _program import arguments, tool  # noqa: E402

DATABASE = "/var/lib/isobench/postgres/data"
PROGRAMS = "/usr/lib/postgresql/*/bin"
USER = "postgres"
IPC_RMID = 0  # of linux/ipc.h
FIRST = 50
"""Transactions of each connection before those that count."""


def program(name):
    """The path of one of PostgreSQL's programs, which lie apart from others."""
    found = sorted(glob.glob(f"{PROGRAMS}/{name}"))
    return found[-1] if found else name


def serve(args, host, port, directory):
    data = f"{directory}/data"
    make(data, args)
    switch = "on" if args["fsync"] else "off"
    settings = {
        "listen_addresses": host, "port": port, "unix_socket_directories": "", "fsync": switch,
        "synchronous_commit": switch, "full_page_writes": switch, "autovacuum": "off", "jit": "off",
        "shared_buffers": "64MB", "dynamic_shared_memory_type": "mmap", "log_min_messages": "fatal",
    }  # fmt: skip
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return Server([program("postgres"), "-D", data, *options], USER, lambda: ready(data))


def make(data, args):
    """The image's database; outside of it an empty one."""
    if os.path.isdir(DATABASE):
        subprocess.run(["cp", "--archive", DATABASE, data], check=True)
        return
    os.mkdir(data)
    if os.geteuid() == 0:
        shutil.chown(data, USER, USER)
    words = [program("initdb"), "-D", data, "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C"]
    subprocess.run([*words, "-U", "bench"], check=True, stdout=2, preexec_fn=lambda: become(USER, args))


def fill(host, port):
    """Make the tables in an empty database."""
    at = ["-h", host, "-p", str(port), "-U", "bench"]
    for words in ([program("createdb"), *at, "bench"], [program("pgbench"), *at, "-i", "-q", "bench"]):
        status, _, errors = tool(words, 60)
        if status:
            sys.exit(f"{words[0]}: {errors.strip()}")


def ready(data):
    """Whether the server says so in its lock file: line 8 is its state, line 7 its shared memory."""
    try:
        with open(f"{data}/postmaster.pid") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return False
    if len(lines) < 8 or lines[7].strip() != "ready":
        return False
    forget(int(lines[6].split()[1]))
    return True


def forget(segment):
    """Have the kernel remove the segment with its last user: who kills a server would leave it behind.

    Its owner may do that; root without further rights may not.
    """
    child = os.fork()
    if not child:
        become(USER, {"server_cpu": -1})
        os._exit(1 if ctypes.CDLL(None).shmctl(segment, IPC_RMID, None) else 0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"shmctl({segment}, IPC_RMID): refused")


def command(args, host, port, *more):
    words = [program("pgbench"), "-h", host, "-p", str(port), "-U", "bench", "-n", "-b", args["script"]]
    return [*words, "-c", str(args["connections"]), "-j", "1", *more, "bench"]


def translate(output):
    """Observations of pgbench's report; ValueError where transactions failed or there is no number."""
    rate = re.search(r"^tps = ([0-9.]+) ", output, re.MULTILINE)
    count = re.search(r"^number of transactions actually processed: ([0-9]+)", output, re.MULTILINE)
    failed = re.search(r"^number of failed transactions: ([0-9]+)", output, re.MULTILINE)
    if not rate or not count or (failed and int(failed[1])):
        raise ValueError(f"pgbench: {failed[0] if failed else 'it told no rate'}")
    return {"app.rate": float(rate[1]), "app.requests": float(count[1])}


def latencies(lines):
    """Seconds of each transaction of pgbench's log, whose third column is µs."""
    return [float(line.split()[2]) / 1e6 for line in lines]


def measure(args, host, port, directory):
    words = command(args, host, port, "-t", str(FIRST))
    status, _, errors = tool(words, 30)
    if status and "does not exist" in errors:
        fill(host, port)
        status, _, errors = tool(words, 30)
    if status:
        sys.exit(f"pgbench: {errors.strip()}")
    log = f"{directory}/transactions"
    output = drive(
        command(args, host, port, "-T", str(args["seconds"]), "-l", f"--log-prefix={log}"), args["seconds"]
    )
    found = translate(output)
    found["app.requests"] += FIRST * args["connections"]
    lines = []
    for path in glob.glob(f"{log}.*"):
        with open(path) as file:
            lines += file.readlines()
    each = latencies(lines)
    return {**found, "app.latency.p50": percentile(each, 0.5), "app.latency.p99": percentile(each, 0.99)}


def main():
    args = arguments({
        "role": "both", "address": "", "cpu": -1, "server_cpu": -1,
        "script": "tpcb-like", "connections": 4, "fsync": False, "seconds": 1,
    })  # fmt: skip
    run(args, serve, measure)


if __name__ == "__main__":
    main()
