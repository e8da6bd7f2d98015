#!/usr/bin/python3 -IS
# /// bench
# title   = "what the tenant can see and touch"
# area    = "probe"
# needs   = ["python3"]
# args    = {}
# [metrics]
# "look.process.seen" = { unit = "1" }
# "look.process.signal" = { unit = "1" }
# "look.user.seen" = { unit = "1" }
# "look.user.file" = { unit = "1" }
# "look.user.root" = { unit = "1" }
# "look.file.read" = { unit = "1" }
# "look.file.change" = { unit = "1" }
# "look.mount.seen" = { unit = "1" }
# "look.mount.late" = { unit = "1" }
# "look.shm.sysv.read" = { unit = "1" }
# "look.shm.sysv.change" = { unit = "1" }
# "look.shm.posix.read" = { unit = "1" }
# "look.shm.posix.change" = { unit = "1" }
# "look.socket.abstract" = { unit = "1" }
# "look.socket.path" = { unit = "1" }
# "look.socket.tcp" = { unit = "1" }
# "look.interfaces" = { unit = "1" }
# "look.hostname" = { unit = "1" }
# "look.cgroup.path" = { unit = "1" }
# "look.cgroup.seen" = { unit = "1" }
# "look.cgroup.write" = { unit = "1" }
# "look.ns.mnt" = { unit = "1" }
# "look.ns.pid" = { unit = "1" }
# "look.ns.net" = { unit = "1" }
# "look.ns.ipc" = { unit = "1" }
# "look.ns.uts" = { unit = "1" }
# "look.ns.user" = { unit = "1" }
# "look.ns.cgroup" = { unit = "1" }
# "look.ns.time" = { unit = "1" }
# "look.caps.effective" = { unit = "1" }
# "look.caps.bounding" = { unit = "1" }
# "look.seccomp" = { unit = "1" }
# "look.privileges" = { unit = "1" }
# "look.lsm" = { unit = "1" }
# "look.kernel.release" = { unit = "1" }
# "look.kernel.boot" = { unit = "1" }
# "look.kernel.uptime" = { unit = "1" }
# "look.kernel.sysctl" = { unit = "1" }
# "look.kernel.memory" = { unit = "1" }
# "look.kernel.symbols" = { unit = "1" }
# "look.kernel.log" = { unit = "1" }
# "look.hardware.cpus" = { unit = "1" }
# "look.hardware.memory" = { unit = "1" }
# "look.hardware.model" = { unit = "1" }
# "look.hardware.disks" = { unit = "1" }
# "look.hardware.pci" = { unit = "1" }
# "look.hardware.dmi" = { unit = "1" }
# "look.devices" = { unit = "1" }
# "look.docker" = { unit = "1" }
# ///
"""Looks around inside a sandbox: for what the host planted, and for what it shares with the host.

The host says in `BENCH_SCRATCH`/look.json what it planted and what it is like itself. A property is 1 where
the tenant sees, reads, changes or signals it, or shares it with the host, and 0 where not. The label `state`
says which: "shared"; "own", where the tenant has another one in its place; "restricted", where it has none
or is refused. The label `evidence` is what was read. Only what was planted is touched; what else could be
written is opened for writing, and nothing is written.
"""

import json
import os
import signal
import sys

sys.dont_write_bytecode = True  # the programs may lie on a read-only mount, or in somebody's checkout
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "_shared")]

from _look import answers, bounds, kernel, markers  # noqa: E402
from _program import await_gate  # noqa: E402

LOOKS = {**markers.LOOKS, **bounds.LOOKS, **kernel.LOOKS}


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if sys.argv[1:]:
        sys.exit(f"{sys.argv[0]}: takes no arguments")
    await_gate()
    text = answers.text_of(os.path.join(os.environ.get("BENCH_SCRATCH", "."), "look.json"))
    host = json.loads(text) if text else {}
    os.write(1, b'{"event": "start"}\n')
    for name, look in LOOKS.items():
        fact = {"metric": f"look.{name}", "unit": "1", "value": None}
        try:
            fact["value"], state, evidence = look(host)
            fact["labels"] = {"state": state, "evidence": evidence}
        except answers.UnknownError as reason:
            fact["reason"] = str(reason)
        except (OSError, ValueError, KeyError, AttributeError, IndexError) as error:
            fact["reason"] = f"the look failed: {error!r}"
        os.write(1, json.dumps(fact).encode() + b"\n")
    os.write(1, b'{"event": "end"}\n')


if __name__ == "__main__":
    main()
