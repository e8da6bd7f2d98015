"""Cgroup trees as ordinary files: what /proc and the mount points of three kinds of host look like."""

from __future__ import annotations

from pathlib import Path

V1_FILES = {
    "cpu": {
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "-1",
        "cpu.shares": "1024",
        "cpu.stat": "nr_periods 12\nnr_throttled 7\nthrottled_time 1500000000\n",
    },
    "cpuacct": {
        "cpuacct.usage": "2500000000",
        "cpuacct.usage_user": "2000000000",
        "cpuacct.usage_sys": "500000000",
    },
    "cpuset": {"cpuset.cpus": "0-3", "cpuset.mems": "0", "cpuset.effective_cpus": "0-3"},
    "memory": {
        "memory.limit_in_bytes": "9223372036854771712",
        "memory.memsw.limit_in_bytes": "9223372036854771712",
        "memory.usage_in_bytes": "4096",
        "memory.max_usage_in_bytes": "8192",
        "memory.failcnt": "5",
        "memory.memsw.failcnt": "2",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        "memory.use_hierarchy": "1",
        "memory.kmem.usage_in_bytes": "512",
        "memory.stat": "cache 1\nrss 2\ntotal_cache 40960\ntotal_rss 20480\ntotal_shmem 4096\ntotal_swap 0\n",
    },
    "blkio": {
        "blkio.throttle.read_bps_device": "",
        "blkio.throttle.write_bps_device": "",
        "blkio.throttle.read_iops_device": "",
        "blkio.throttle.write_iops_device": "",
        "blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\n7:1 Read 5\n"
        "7:1 Write 0\nTotal 35\n",
        "blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\nTotal 3\n",
        "blkio.bfq.weight": "100",
        "blkio.bfq.io_service_bytes": "Total 0\n",
    },
    "pids": {"pids.max": "max", "pids.current": "4", "pids.peak": "9", "pids.events": "max 6\n"},
    "freezer": {"freezer.state": "THAWED"},
}
V2_FILES = {
    "cgroup.controllers": "cpuset cpu io memory pids\n",
    "cgroup.subtree_control": "cpuset cpu io memory pids\n",
    "cpu.max": "max 100000\n",
    "cpu.weight": "100\n",
    "cpu.stat": "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 12\nnr_throttled 7\n"
    "throttled_usec 1500000\n",
    "cpuset.cpus": "\n",
    "cpuset.cpus.effective": "0-3\n",
    "memory.max": "max\n",
    "memory.high": "max\n",
    "memory.swap.max": "max\n",
    "memory.swap.current": "0\n",
    "memory.current": "4096\n",
    "memory.peak": "8192\n",
    "memory.events": "low 0\nhigh 11\nmax 5\noom 2\noom_kill 1\noom_group_kill 0\n",
    "memory.stat": "anon 20480\nfile 40960\nkernel 512\nshmem 4096\npgfault 5\n",
    "pids.max": "max\n",
    "pids.current": "4\n",
    "pids.peak": "9\n",
    "pids.events": "max 6\n",
    "io.max": "",
    "io.weight": "default 100\n",
    "io.bfq.weight": "default 100\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n7:1 rbytes=5 wbytes=0 rios=0 wios=0\n",
    "cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1250000\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n",
}
PRESSURE_ONLY = {n: t for n, t in V2_FILES.items() if n.endswith("pressure")} | {"cgroup.controllers": "\n"}


def _write(directory: Path, files: dict[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in ({"cgroup.procs": ""} | files).items():
        (directory / name).write_text(text)


class Tree:
    """A fake root. `add` makes a group the way the kernel would, with all its files, in every hierarchy."""

    def __init__(self, root: Path, kind: str, own: str = "/") -> None:
        self.root = root
        self.kind = kind
        top = "/sys/fs/cgroup"
        lines, member = ["22 27 0:21 / /proc rw,relatime - proc proc rw"], []
        self.places: list[tuple[Path, dict[str, str]]] = []
        if kind in ("v1", "hybrid"):
            for n, (name, files) in enumerate(V1_FILES.items(), 1):
                lines.append(f"{30 + n} 31 0:{n} / {top}/{name} rw,relatime - cgroup cgroup rw,{name}")
                member.append(f"{n}:{name}:{own}")
                self.places.append((root / top[1:] / name, files))
        if kind in ("v2", "hybrid"):
            mount = top if kind == "v2" else f"{top}/unified"
            lines.append(f"60 31 0:60 / {mount} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate")
            member.append(f"0::{own}")
            self.places.append((root / mount[1:], V2_FILES if kind == "v2" else PRESSURE_ONLY))
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/mountinfo").write_text("\n".join(lines) + "\n")
        (root / "proc/self/cgroup").write_text("\n".join(member) + "\n")
        self.add("")

    def add(self, path: str) -> None:
        for mount, files in self.places:
            _write(mount / path, files)

    def scheduler(self, disk: str, text: str) -> None:
        queue = self.root / "sys/block" / disk / "queue"
        queue.mkdir(parents=True, exist_ok=True)
        (queue / "scheduler").write_text(text)
