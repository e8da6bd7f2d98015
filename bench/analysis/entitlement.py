"""How much CPU a victim is entitled to beside its neighbour, and how much it asks for.

Only where the CPU is what the two compete for, and only from what was asked of the runtime: a limit that is
not in force takes nothing away from what the victim was promised.
"""

from __future__ import annotations

from bench.analysis.effects import fair_loss
from bench.limits import parse_cpus
from bench.model import AGGRESSOR, VICTIM, Case, Scalar, Tenant

CPU_BOUND = ("cpu", "cache", "membw", "syscall", "spawn")
"""Victims that keep one CPU busy for the share `load` of the time."""


def fair(case: Case, cpus: int) -> tuple[float | None, str]:
    """D_fair of a case on a host of so many CPUs, or None and why it is not defined."""
    tenants = {t.name: t for t in case.tenants}
    victim, aggressor = tenants.get(VICTIM), tenants.get(AGGRESSOR)
    if victim is None or aggressor is None or cpus < 1:
        return None, "the case names no two tenants" if cpus else "the number of CPUs is not known"
    name = victim.workload.rpartition("/")[2]
    if name not in CPU_BOUND:
        return None, f"{name} asks for more than CPU, of which no share is due"
    if "load" not in victim.args:
        return None, "the plan does not say what the victim asks for"
    demand = float(victim.args["load"])
    if demand <= 0:
        return None, "the victim asks for nothing"
    return fair_loss(entitled(victim, aggressor, str(case.params.get("placement", "")), cpus), demand), ""


def entitled(victim: Tenant, aggressor: Tenant, placement: str, cpus: int) -> float:
    """CPUs the victim may count on while both want all they can get.

    The CPUs that both may use are divided by weight, or by halves; what the aggressor's ceiling leaves over
    is the victim's as well; and its own ceiling bounds it. Each has its own CPU where placement says so.
    """
    mine, shared = _pools(victim, aggressor, placement, cpus)
    weights = [float(t.limits.get("cpu.weight", 100)) for t in (victim, aggressor)]
    share = shared * weights[0] / sum(weights)
    ceiling = aggressor.limits.get("cpu")
    if ceiling is not None:
        share = max(share, shared - float(ceiling))
    own = mine + share
    return min(own, float(victim.limits["cpu"])) if "cpu" in victim.limits else own


def _pools(victim: Tenant, aggressor: Tenant, placement: str, cpus: int) -> tuple[float, float]:
    """CPUs of the victim alone, and those it shares with the aggressor."""
    sets = [_cpus(t.limits.get("cpuset"), cpus) for t in (victim, aggressor)]
    if sets[0] != sets[1]:
        return float(len(sets[0] - sets[1])), float(len(sets[0] & sets[1]))
    if placement.startswith("same"):
        return 0.0, 1.0
    if placement.startswith("other"):
        return 1.0, 0.0
    return 0.0, float(len(sets[0]))


def _cpus(listed: Scalar | None, cpus: int) -> frozenset[int]:
    """The CPUs of a list such as "0-1,3"; all of them where there is no list."""
    return frozenset(range(cpus) if listed is None else parse_cpus(str(listed)))
