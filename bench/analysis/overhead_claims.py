"""P11 to P14: what others say of computing, system calls and files inside a boundary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.analysis.claims import MACHINES, Cited, Evaluated
from bench.analysis.ladder import Ladder
from bench.analysis.ladder_claims import Rule, judged
from bench.analysis.ratios import Wanted
from bench.published import rows

if TYPE_CHECKING:
    from bench.frames import Run

GVISOR = "docker:runsc"
BUNDLE = "runc:ns+net+overlay+caps+seccomp+masks"
"""The bundle that has all that Docker gives a container."""


def contained(runtime: str) -> bool:
    """Whether it is a whole container on the host's kernel: of an engine, or the bundle of one."""
    name = runtime.partition(":")[0]
    return runtime in ("runc", "runc:crun", BUNDLE) or (name in ("docker", "podman") and not gvisor(runtime))


def gvisor(runtime: str) -> bool:
    """Whether system calls are answered by gVisor."""
    return runtime.endswith(":runsc")


def virtual(runtime: str) -> bool:
    """Whether it is a machine."""
    return runtime.startswith(MACHINES)


def _sandboxed(runtime: str) -> bool:
    return contained(runtime) or gvisor(runtime) or runtime in ("runc:ns", "namespace")


_CPU = Cited(
    rows("FEL-04 FEL-01 SHA-01 MOR-01 ANJ-09 GVD-15"),
    (("FEL-04", ""), ("FEL-01", ""), ("MOR-01", "")),  # GVD-15 is over runc
)
_KVM_CPU = Cited(rows("SHA-02 FEL-05..06 FCS-03"), (("FEL-06", ""), ("FCS-03", "")))
_CALL = Cited(rows("YOU-06..07 OPS-01 GVD-01"), (("YOU-07", ""), ("OPS-01", "")))
_CALL_GVISOR = Cited(rows("YOU-08..13 GVD-02..03"), (("YOU-11", ""), ("YOU-12", "")))
_OPEN = Cited(rows("YOU-17..18 KER-25"), (("YOU-18", ""),))
_OPEN_GVISOR = Cited(rows("YOU-20"), (("YOU-20", ""),), severity="era")
RULES = (
    Rule("P11", "computing in {here} is within 3 % of {there}", "a container", "primes", _sandboxed, _CPU,
         Wanted(within=0.03, rate=True)),
    Rule("P12", "computing in {here} is within 5 % of {there}", "a machine", "primes", virtual, _KVM_CPU,
         Wanted(within=0.05, rate=True)),
    Rule("P13", "a system call in {here} takes at most 1.4 times as long as in {there}", "a container",
         "syscalls", contained, _CALL, Wanted(most=1.4)),
    # On the platform KVM both orders have been published, so nothing is claimed of it.
    Rule("P13", "a system call in {here} takes at least 10 times as long as in {there} (said of the platform "
         "ptrace)", "gVisor", "syscalls", gvisor, _CALL_GVISOR, Wanted(least=10),
         platform="ptrace"),
    Rule("P14", "opening and closing a file in {here} takes at most 1.3 times as long as in {there} (said of "
         "a tmpfs; here a file of the image)", "a container", "open", contained, _OPEN, Wanted(most=1.3)),
    Rule("P14", "opening and closing a file that gVisor asks the host for takes in {here} at least 5 times "
         "as long as in {there}", "gVisor", "open", gvisor, _OPEN_GVISOR, Wanted(least=5),
         against=("docker", BUNDLE, "runc"), there="a container"),
    Rule("P14", "opening a file of gVisor’s own tmpfs lies in between", "gVisor", "", gvisor,
         Cited(rows("YOU-19"))),
)  # fmt: skip


def evaluate(run: Run, ladders: Sequence[Ladder]) -> list[Evaluated]:
    """Every claim on every rung it is about, in order; [] for a run without a ladder."""
    return judged(RULES, run, ladders)
