"""What is asked: suites, experiments, cases, arms with the policy that judges them, and the plan of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Scalar = bool | int | float | str

ENTRY, GRACE = "entry", "grace"
"""Params of an experiment that stops by SIGTERM: how the sandbox is entered, and seconds until SIGKILL."""
ENTRIES = ("exec", "shell")
"""The first process is the payload, through `exec` of a shell; or the shell, which waits for the payload."""

FACTORS = ("network", "concurrency", "residents", "cache", "attach")
"""Params of an experiment on what changes a start: the sandbox's network, how many are requested at once, how
many idle ones are there already, whether the image's files are in the page cache, and whether the kernel has
just let another process into a control group."""
NETWORK, CONCURRENCY, RESIDENTS, CACHE, ATTACH = FACTORS
NETWORKS = ("none", "bridge", "port")
"""No link; a link to a bridge of the run's own; the same with a port published on 127.0.0.1."""
CACHES = ("warm", "cold")
ATTACHES = ("first", "next")
"""Nobody has entered a control group just before; or somebody has, so that the kernel need not wait again."""
PORT = 8080
"""The TCP port inside on which the payload listens as well, where the network is a factor."""
HOOKS = "hooks"
"""Param of an experiment that has hooks of the OCI runtime stamp moments, or not: true and false."""
UNSHARED = "unshared"
"""Param of an experiment that has the namespace runtime unshare single kinds of namespaces and do no more."""
KINDS = ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time")
"""The kinds of namespaces, as in /proc/PID/ns. `UNSHARED` is "none", one, or several joined by "+"."""
PLACE = "place"
"""Param of an experiment on where the files of its work lie: one of `bench.places.PLACES`."""
INSTANCES = "instances"
"""Param of an experiment on density: how many idle sandboxes of one kind are opened, one after the other."""
LAYER = "layer"
"""The need of an experiment that is told how large the writable layer of a container became."""
APPLICATIONS = "applications"
"""The need of the layer of applications on the sandbox image."""
MARKERS = "markers"
"""The need of an experiment whose tenants look for what the host planted."""

VICTIM, AGGRESSOR, CONTROL, PLACEMENT = AXES = ("victim", "aggressor", "control", "placement")
"""Params of an experiment on neighbours, each a name; the first two are the names of its tenants as well."""

MODE = "mode"
"""Param of an experiment whose one tenant visits a server: the name of the way there, see `bench.modes`."""

AGAIN = "again"
"""Param of the case that repeats the baseline at the end of its part of a block, in a suite of rungs."""

VERDICTS = ("pass", "fail", "not enforced", "not offered", "not testable", "inconclusive")
Role = Literal["candidate", "reference", "repeat", "raw", "raw repeat"]
"""`repeat` is a second copy of the reference (A/A); `raw` the bare process, and its second copy."""
Verdict = Literal["pass", "fail", "not enforced", "not offered", "not testable", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One number a workload can report: its unit and which direction is better."""

    name: str
    unit: str
    better: Literal["higher", "lower", "none"] = "none"


@dataclass(frozen=True, slots=True)
class Workload:
    """A program that runs inside a sandbox, as its own comment block describes it."""

    name: str
    title: str
    area: str
    interpreter: tuple[str, ...]
    needs: tuple[str, ...] = ()
    args: Mapping[str, Scalar] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    server: tuple[str, ...] = ()
    """The command of the server that a client of it visits, with {host} and {port} in it; () for the program
    itself, where it has a role."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How one number a trial becomes a verdict; read from `[experiment.verdict]` of a suite.

    `measure` is one of the measures in `bench.analysis.measures`; `metric` is what it reads.
    `tolerance` is (low, high) around the expected value, relative or absolute by `scale`.
    """

    measure: str
    metric: str
    limit: str | None = None
    rule: Literal["two-sided", "at-most", "at-least", "fact"] = "two-sided"
    expected: Scalar = "limit"
    factor: float = 1.0
    tolerance: tuple[float, float] = (-0.05, 0.05)
    scale: Literal["relative", "absolute"] = "relative"
    unit: str = ""
    headroom: float | None = 2.0
    event: str | None = None
    event_rule: Literal["some", "few", "none"] = "some"
    event_per: str | None = None
    event_bound: float = 0.0
    exit: Literal["completed", "oom", "slowed", "any"] = "completed"
    evidence: tuple[str, ...] = ()
    options: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TenantSpec:
    """One workload of an experiment with the values each of its limits takes."""

    name: str
    workload: str
    args: Mapping[str, Scalar] = field(default_factory=dict)
    limits: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Experiment:
    """One question as a matrix: tenants × limits × params × runtimes."""

    name: str
    title: str
    question: str
    tenants: tuple[TenantSpec, ...]
    verdict: Judgement
    section: str
    params: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    runtimes: tuple[str, ...] | None = None
    settle: float = 0.0
    deadline: float = 60.0
    quick: Mapping[str, Any] | None = None
    claim: str = ""
    blocks: int | None = None
    """At most so many blocks after the warm-up, which it skips, where a trial is too long for more."""
    budget: float | None = None
    """Seconds all trials of one case may take; a case that would take longer has fewer blocks."""
    full: bool = False
    """Left out of a run unless the whole suite is asked for."""
    named: tuple[str, ...] = ()
    """Further runtimes, besides `runtimes`, that take part where the user named them or asked for the whole
    suite."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When to stop measuring and what to say; fixed before the first start and kept with the result."""

    confidence: float = 0.99
    half_width: float = 0.013
    """Half-width of the interval of the log ratio at which measuring ends."""
    margin: float = 0.01
    """Relative slow-down that is tolerated; an absolute `floor` in the metric's unit may raise it."""
    equivalence: float = 0.05
    floor: float = 0.0
    minimum: int = 50
    """Blocks before the width is looked at for the first time; then every `batch` blocks."""
    batch: int = 25
    maximum: int = 1500
    seconds: float | None = None
    """Time budget; None for none."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the things started in turn: `runtime` is a spec such as "docker:crun" or "docker@app:new"."""

    name: str
    role: Role
    runtime: str
    image: str = ""
    """Digest of the image it has of its own; "" for the sandbox image, which all others share."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of a ladder: a runtime, and what it has more than the one it stands on."""

    runtime: str
    title: str
    adds: str
    below: str = ""
    """Runtime of the rung it stands on; "" for the one at the bottom."""
    group: str = ""
    """What rungs that follow each other have in common, in words."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A TOML file: a title, the question it answers, and a list of experiments."""

    name: str
    title: str
    question: str
    experiments: tuple[Experiment, ...]
    runtimes: tuple[str, ...]
    blocks: int = 5
    max_blocks: int = 10
    quick_blocks: int = 3
    warmup: int = 0
    """Blocks before the first that counts: carried out and kept, and left out of every finding."""
    kind: Literal["limits", "starts", "primitives", "isolation", "overhead", "layers", "density"] = "limits"
    """Whether workloads are watched under limits, starts are timed with nothing prepared ahead, primitives
    are made and unmade alone (then an experiment has no tenants and a param `primitive`), tenants look
    around and disturb each other, the same work is done on each rung of a ladder, layered file systems are
    measured (without tenants, where an experiment has a param `probe`), or idle sandboxes are added one by
    one (`instances` of them)."""
    rungs: tuple[Rung, ...] = ()
    """The ladder of a suite of kind "overhead", from the bottom up."""
    gate: Mapping[str, Policy] = field(default_factory=dict)
    """By metric, for a suite of starts: what a comparison is judged by."""
    gates: Mapping[str, Mapping[str, Policy]] = field(default_factory=dict)
    """By metric and name of a runtime: what takes the place of `gate` where such a runtime is compared."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One workload under the limits of one case. `limits` maps a name of `bench.limits` to SI."""

    name: str
    workload: str
    args: Mapping[str, Scalar]
    limits: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of an experiment's matrix, for one runtime.

    For a baseline runtime, which enforces nothing, `tenants[].limits` is empty and the one case
    stands as the control for every limit of its experiment.
    """

    id: str
    experiment: str
    runtime: str
    tenants: tuple[Tenant, ...]
    params: Mapping[str, Scalar] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    settle: float = 0.0
    deadline: float = 60.0
    seconds: float = 1.0
    overhead: float = 0.5
    """Seconds a trial takes beside its workload; like `seconds`, for estimates only."""
    blocks: int | None = None
    """At most so many blocks after the warm-up, which it skips, as all of them would exceed a budget."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A case that cannot run here, with the cause and the command that would fix it."""

    case: Case
    verdict: Verdict
    cause: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """One execution to come: its place in the run, its block and its case."""

    index: int
    block: int
    case: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run will do, decided before anything runs, reproducible from its seed."""

    suite: Suite
    seed: int
    quick: bool
    blocks: int
    runtimes: tuple[str, ...]
    cases: tuple[Case, ...]
    skipped: tuple[Skipped, ...]
    trials: tuple[PlannedTrial, ...]
    only: str | None = None
    overrides: tuple[str, ...] = ()
    """`NAME=VALUE` limits of the command line, so that a report can say how to run the same again."""
    emulated: tuple[str, ...] = ()
    """Runtimes whose machines have no hardware virtualisation here, as found when the plan was made."""
    arms: tuple[Arm, ...] = ()
    """What is compared, where this is a comparison: then every case is one arm."""
    full: bool = False
    """Whether the experiments that belong to the whole suite only are in it."""
