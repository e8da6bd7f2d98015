#!/usr/bin/python3 -IS
# /// bench
# title   = "what the tenant believes it has"
# area    = "probe"
# needs   = ["python3"]
# args    = {}
# [metrics."visible.cpus.online"]
# unit = "1"
# [metrics."visible.cpus.affinity"]
# unit = "1"
# [metrics."visible.nproc"]
# unit = "1"
# [metrics."visible.memory.total"]
# unit = "bytes"
# [metrics."visible.memory.available"]
# unit = "bytes"
# [metrics."visible.cgroup.mounted"]
# unit = "1"
# [metrics."visible.cgroup.memory.max"]
# unit = "bytes"
# [metrics."visible.cgroup.cpu.max"]
# unit = "cores"
# [metrics."visible.cgroup.path"]
# unit = "1"
# [metrics."visible.pids"]
# unit = "1"
# ///
"""Reports what a program inside sees of the machine and of its own limits, as programs look it up.

`visible.cgroup.*.max` is the smallest limit among the own cgroup and its visible ancestors;
`visible.cgroup.path` is 1 for each line of /proc/self/cgroup, with the path as a label.
"""

import json
import os
import signal
import subprocess
import sys

UNLIMITED = 1 << 62  # v1 shows "no limit" as the largest multiple of the page size


def say(metric, value, unit, reason="", **labels):
    fact = {"metric": metric, "value": value, "unit": unit}
    if labels:
        fact["labels"] = labels
    if value is None:
        fact["reason"] = reason
    os.write(1, json.dumps(fact).encode() + b"\n")


def read(path):
    """Text of a file, or None where it is not there or may not be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def nproc():
    """(what the nproc program prints, why not)."""
    try:
        done = subprocess.run(["nproc"], stdout=subprocess.PIPE, text=True, timeout=10)
        return int(done.stdout), ""
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return None, f"nproc: {error}"


def meminfo(text):
    """Bytes by field of /proc/meminfo."""
    rows = (line.split() for line in text.splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) == 3 and row[2] == "kB"}


def mounts(text):
    """Cgroup mounts of /proc/self/mountinfo as (controllers or None for v2, root, mount point)."""
    found = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, _, *options) = left.split(), right.split()
        if kind == "cgroup2":
            found.append((None, fields[3], fields[4]))
        elif kind == "cgroup":
            found.append((set(options[-1].split(",")) if options else set(), fields[3], fields[4]))
    return found


def paths(text):
    """Own cgroup path by controller of /proc/self/cgroup; the key of v2 is the empty string."""
    found = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def directories(controller, own, mounted):
    """(directory, mount point, whether v2) of the own cgroup wherever it is visible."""
    for controllers, root, point in mounted:
        v2 = controllers is None
        if not v2 and controller not in controllers:
            continue
        path = own.get("" if v2 else controller, "/")
        inside = path[len(root.rstrip("/")) :] if path.startswith(root) else ""
        directory = point + inside.rstrip("/")
        yield (directory if os.path.isdir(directory) else point), point, v2


def memory_limit(directory, v2):
    """Bytes, None for no limit here; OSError or ValueError where the file is not as expected."""
    with open(f"{directory}/{'memory.max' if v2 else 'memory.limit_in_bytes'}") as file:
        text = file.read().strip()
    return None if text == "max" or int(text) >= UNLIMITED else int(text)


def cpu_limit(directory, v2):
    """Cores, None for no limit here; OSError or ValueError where the file is not as expected."""
    if v2:
        with open(f"{directory}/cpu.max") as file:
            quota, period = file.read().split()
    else:
        with open(f"{directory}/cpu.cfs_quota_us") as file:
            quota = file.read().strip()
        with open(f"{directory}/cpu.cfs_period_us") as file:
            period = file.read()
    return None if quota in ("max", "-1") else int(quota) / int(period)


def smallest(controller, limit, own, mounted):
    """(the smallest limit from the own cgroup up to the mount point, why there is none)."""
    seen, values = False, []
    for directory, point, v2 in directories(controller, own, mounted):
        while directory.startswith(point):
            try:
                values.append(limit(directory, v2))
                seen = True
            except (OSError, ValueError):
                pass  # the root has no such file, nor has a level without the controller
            if directory == point:
                break
            directory = os.path.dirname(directory)
    bounds = [value for value in values if value is not None]
    if bounds:
        return min(bounds), ""
    return None, "unlimited" if seen else f"no cgroup with the {controller} controller is visible"


def report_cgroups():
    mountinfo, cgroup = read("/proc/self/mountinfo"), read("/proc/self/cgroup")
    hidden = "/proc is not readable"
    mounted, own = mounts(mountinfo or ""), paths(cgroup or "")
    say("visible.cgroup.mounted", None if mountinfo is None else int(bool(mounted)), "1", hidden)
    if not own:
        say("visible.cgroup.path", None, "1", hidden if cgroup is None else "/proc/self/cgroup is empty")
    for controllers, path in own.items():
        say("visible.cgroup.path", 1, "1", controller=controllers or "v2", path=path)
    for metric, controller, limit, unit in (
        ("visible.cgroup.memory.max", "memory", memory_limit, "bytes"),
        ("visible.cgroup.cpu.max", "cpu", cpu_limit, "cores"),
    ):
        value, reason = smallest(controller, limit, own, mounted)
        say(metric, value, unit, reason)


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if sys.argv[1:]:
        sys.exit(f"{sys.argv[0]}: takes no arguments")
    say("visible.cpus.online", os.cpu_count(), "1", "the C library does not tell")
    say("visible.cpus.affinity", len(os.sched_getaffinity(0)), "1")
    count, reason = nproc()
    say("visible.nproc", count, "1", reason)
    memory = meminfo(read("/proc/meminfo") or "")
    for name, field in (("total", "MemTotal"), ("available", "MemAvailable")):
        say(f"visible.memory.{name}", memory.get(field), "bytes", f"no {field} in /proc/meminfo")
    report_cgroups()
    try:
        say("visible.pids", sum(entry.isdecimal() for entry in os.listdir("/proc")), "1")
    except OSError as error:
        say("visible.pids", None, "1", f"/proc: {error.strerror}")


if __name__ == "__main__":
    main()
