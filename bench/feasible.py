"""Which cases can run on this host, and for each that cannot: the cause and the command that fixes it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import applications, factors, layering, modes, neighbours, places, primitives
from bench import limits as units
from bench import workload as workloads
from bench.collectors import Collector
from bench.host import cgroups
from bench.image import Image
from bench.model import APPLICATIONS, ENTRY, MARKERS, UNSHARED, Case, Missing, Scalar, Skipped, Verdict
from bench.runtimes import Runtime
from bench.sandboxes import unshared

_IMAGE_FIX = "sudo bench image build"


@dataclass
class Host:
    """What the decision needs to know: runtimes, image, cgroups and plain sizes of this machine."""

    runtimes: Mapping[str, Runtime]
    image: Image | None
    groups: cgroups.Cgroups
    cpus: int
    memory: int
    root: bool
    applications: Image | None = None
    """The image with the layer of applications; None where that is not built."""
    lacking: dict[str, list[Missing]] = field(default_factory=dict)

    @classmethod
    def here(cls, runtimes: Mapping[str, Runtime], image: Image | None) -> Host:
        """The machine this runs on."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        layer = applications.find(image) if image else None
        return cls(runtimes, image, cgroups.detect(), os.cpu_count() or 1, memory, os.geteuid() == 0, layer)

    def missing(self, runtime: str) -> Sequence[Missing]:
        """What the runtime lacks here; asked once."""
        if runtime not in self.lacking:
            self.lacking[runtime] = list(self.runtimes[runtime].requires())
        return self.lacking[runtime]

    def offered(self, runtime: str, case: Case) -> Case:
        """A case of neighbours without the limits that the runtime cannot give; any other as it is."""
        if self.missing(runtime):
            return case
        plugin = self.runtimes[runtime]
        return neighbours.offered(case, plugin.controls, plugin.lacks)

    def why_not(self, runtime: str, case: Case) -> Skipped | None:
        """None where the case can run; otherwise its verdict, cause and fix."""
        plugin = self.runtimes[runtime]
        wanted = {name: value for t in case.tenants for name, value in t.limits.items()}
        for limit in wanted:
            if limit not in plugin.controls:
                return Skipped(case, "not offered", f"{plugin.title} has no control for '{limit}'")
        if ENTRY in case.params and not plugin.stops:
            cause = "a machine is powered down: it has no first process to send SIGTERM to"
            return Skipped(case, "not offered", f"{plugin.title}: {cause}")
        if why := factors.not_offered(case, plugin) or places.not_offered(case.params, plugin):
            return Skipped(case, "not offered", f"{plugin.title}: {why}")
        if why := modes.not_offered(case):
            return Skipped(case, "not offered", why)
        for need in self.missing(runtime):
            return _not_testable(case, need)
        if not case.tenants:
            named = layering.PARAM in case.params
            part = layering.find(case.params) if named else primitives.find(str(case.params["primitive"]))
            lacking = part.requires()
            return _not_testable(case, lacking) if lacking else None
        if UNSHARED in case.params and (short := unshared.lacking(str(case.params[UNSHARED]))):
            return _not_testable(case, short)
        if self.image is None and plugin.needs_image:
            return _not_testable(case, Missing("image", "there is no sandbox image yet", _IMAGE_FIX))
        for found in (plugin.lacks(limit) for limit in wanted):
            if found is not None:
                return _not_testable(case, found)
        for found in (plugin.refuses(tenant) for tenant in case.tenants):
            if found is not None:
                return _not_testable(case, found)
        for found in (*self._sizes(wanted), *self._fixtures(case), *self._programs(case, plugin)):
            return _not_testable(case, found)
        short = modes.lacking(case) or factors.crowded(case) or places.misplaced(case.params, plugin)
        return _not_testable(case, short) if short else None

    def _sizes(self, wanted: Mapping[str, Scalar]) -> list[Missing]:
        """Limits above the host's own size, or above what a parent of ours holds."""
        result = []
        sizes: dict[str, float] = {
            "cpu": self.cpus,
            "memory": self.memory // 2,
            "memory.high": self.memory // 2,
        }
        for name, value in wanted.items():
            if name in sizes and float(value) > sizes[name]:
                half = " for one trial (half of its memory)" if "memory" in name else ""
                asked, has = units.show(name, value), units.show(name, sizes[name])
                example = units.example(units.known(name))
                result.append(
                    Missing(
                        name, f"asked {asked}; this host has {has}{half}", f"ask less, e.g. {name}={example}"
                    )
                )
            if name == "cpuset":
                outside = set(units.parse_cpus(str(value))) - set(os.sched_getaffinity(0))
                if outside:
                    listed = units.format_cpus(outside)
                    result.append(
                        Missing(name, f"CPU {listed} is not available to this process", "nproc --all")
                    )
        return result

    def _fixtures(self, case: Case) -> list[Missing]:
        result = []
        if "disk" in case.needs and not self.root:
            result.append(Missing("disk", "a loop device of our own needs root", "run it with sudo"))
        if "disk" in case.needs and self.root and not Path("/dev/loop-control").exists():
            result.append(Missing("disk", "the kernel has no loop devices here", "modprobe loop"))
        scheduler = str(case.params.get("scheduler", "none"))
        offered = _schedulers()
        if "disk" in case.needs and self.root and offered and scheduler not in offered:
            cause = f"loop devices here offer {', '.join(sorted(offered))}, not {scheduler}"
            result.append(Missing("scheduler", cause, f"modprobe {scheduler}"))
        if APPLICATIONS in case.needs and self.applications is None:
            cause = "the layer of applications on the sandbox image is not built"
            result.append(Missing(APPLICATIONS, cause, _IMAGE_FIX))
        if "swap" in case.needs and not self.root:
            result.append(Missing("swap", "a swap file of our own needs root", "run it with sudo"))
        if "peer" in case.needs and not self.root and "net.egress" in case.tenants[0].limits:
            result.append(Missing("peer", "a network namespace for the peer needs root", "run it with sudo"))
        return result

    def _programs(self, case: Case, plugin: Runtime) -> list[Missing]:
        """Programs the workload drives, looked for where the runtime will look."""
        bare = MARKERS in case.needs and (UNSHARED in case.params or not plugin.needs_image)
        image = self.applications if APPLICATIONS in case.needs else self.image
        viewed = image is not None and (plugin.needs_image or self.root) and not bare
        tree = image.root if image and viewed else Path("/")
        result = []
        for tenant in case.tenants:
            for program in workloads.find(tenant.workload).needs:
                places = ("usr/bin", "usr/sbin", "bin", "sbin", "usr/local/bin")
                if not any((tree / place / program).exists() for place in places):
                    where = "the sandbox image" if tree != Path("/") else "this host"
                    result.append(Missing(program, f"{where} has no {program}", f"apt-get install {program}"))
        return result


def _schedulers(root: Path = Path("/")) -> set[str]:
    """IO schedulers that loop devices offer; empty where no loop device exists yet to ask."""
    for file in (root / "sys/block").glob("loop*/queue/scheduler"):
        return set(file.read_text().replace("[", "").replace("]", "").split())
    return set()


def _not_testable(case: Case, missing: Missing) -> Skipped:
    verdict: Verdict = "not testable"
    return Skipped(case, verdict, missing.cause, missing.fix)


def collectors_here(found: Sequence[Collector]) -> tuple[list[Collector], list[Missing]]:
    """Those collectors that can read here, and what the others lack."""
    usable: list[Collector] = []
    lacking: list[Missing] = []
    for collector in found:
        missing = list(collector.requires())
        lacking += missing
        if not missing:
            usable.append(collector)
    return usable, lacking
