"""TOML → Suite. Pure: reads one file, checks every key, and says where a mistake is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from bench import factors, modes, neighbours, places, policies, rungs
from bench import limits as units
from bench.errors import SuiteError, UsageError
from bench.limits import nearest
from bench.model import (
    APPLICATIONS,
    ENTRIES,
    ENTRY,
    GRACE,
    INSTANCES,
    LAYER,
    MARKERS,
    Experiment,
    Judgement,
    Scalar,
    Suite,
    TenantSpec,
)

SHIPPED = Path(__file__).parent / "suites"

_COUNTS = ("blocks", "max_blocks", "quick_blocks", "warmup")
_SUITE_KEYS = {"title", "question", "kind", "runtimes", "experiment", "gate", "control", "rung", *_COUNTS}
_EXPERIMENT_KEYS = {
    "name", "section", "title", "question", "claim", "workload", "args", "limits", "tenant", "params",
    "needs", "runtimes", "named", "settle", "deadline", "quick", "verdict", "blocks", "budget", "full",
}  # fmt: skip
_MATRIX_KEYS = (_EXPERIMENT_KEYS - {"workload", "limits", "tenant", "full"}) | {"slice"}
_TENANT_KEYS = {"name", "workload", "args", "limits"}
_QUICK_KEYS = {"skip", "limits", "args", "params", "blocks", "budget"}
_NEEDS = {"disk", "swap", "peer", MARKERS, LAYER, APPLICATIONS}
_KINDS = ("limits", "starts", "primitives", "isolation", rungs.KIND, "layers", "density")
_PARTS = {"primitives": "primitive", "layers": "probe"}
"""By kind, the param of an experiment without tenants that names what is measured in their place."""
_PAIRS = {
    "rule": {"two-sided", "at-most", "at-least", "fact"},
    "scale": {"relative", "absolute"},
    "event_rule": {"some", "few", "none"},
    "exit": {"completed", "oom", "slowed", "any"},
}


def names() -> list[str]:
    """Names of the suites that ship with the program."""
    return sorted(f.stem for f in SHIPPED.glob("*.toml"))


def load(name: str) -> Suite:
    """A shipped suite by name, or any file by path. Raises UsageError or SuiteError."""
    if name.endswith(".toml"):
        file = Path(name)
        if not file.exists():
            raise UsageError(f"there is no suite file {name}", fix="bench list suites")
    elif name in names():
        file = SHIPPED / f"{name}.toml"
    else:
        raise UsageError(
            f"unknown suite '{name}'{nearest(name, names())}", fix=f"the suites are: {', '.join(names())}"
        )
    return parse(file.read_text(encoding="utf-8"), file.stem, str(file))


def parse(text: str, name: str, source: str) -> Suite:
    """The suite in `text`; `source` is what error messages call it."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(f"{source}: {error}") from error
    reader = _Reader(text, source)
    reader.keys(document, _SUITE_KEYS, "suite")
    kind = document.get("kind", "limits")
    if kind not in _KINDS:
        raise reader.fail(f"unknown kind '{kind}'{nearest(str(kind), _KINDS)}", "kind",
                          f"one of: {', '.join(_KINDS)}")  # fmt: skip
    written = document.get("experiment", [])
    experiments = tuple(
        reader.experiment(one, kind)
        for raw in written
        for one in reader.cells(raw, document.get("control", {}))
    )
    if not experiments:
        raise SuiteError(f"{source}: a suite needs at least one [[experiment]]")
    repeated = {e.name for e in experiments if [x.name for x in experiments].count(e.name) > 1}
    if repeated:
        raise SuiteError(f"{source}: experiment '{repeated.pop()}' is there twice")
    ladder = rungs.read(document.get("rung", []), kind, reader.fail)
    tables = document.get("gate", {}).items()
    gates = {metric: policies.read(metric, raw, reader.fail) for metric, raw in tables}
    suite = Suite(
        name=name,
        kind=kind,
        gate={metric: of.pop("") for metric, of in gates.items()},
        gates={metric: of for metric, of in gates.items() if of},
        title=reader.text_of(document, "title"),
        question=reader.text_of(document, "question"),
        experiments=experiments,
        runtimes=tuple(r.runtime for r in ladder)
        or tuple(document.get("runtimes", ("process", "cgroup", "namespace", "docker"))),
        rungs=ladder,
        **{k: reader.count(document, k) for k in _COUNTS if k in document},
    )
    if suite.max_blocks < suite.blocks:
        raise SuiteError(f"{source}: max_blocks is below blocks")
    return suite


class _Reader:
    """Reads parts of one document; every complaint names the file, the key and, where found, the line."""

    def __init__(self, text: str, source: str) -> None:
        self._lines = text.splitlines()
        self._source = source
        self._where = ""

    def fail(self, message: str, key: str = "", fix: str | None = None) -> SuiteError:
        start = 0
        if self._where:
            start = next((i for i, s in enumerate(self._lines) if f'"{self._where}"' in s), 0)
        bare = re.compile(rf'(^|[\s.{{"]){re.escape(key)}(["\s]*[=.\]])') if key else None
        line = next(
            (i + 1 for i in range(start, len(self._lines)) if bare and bare.search(self._lines[i])), 0
        )
        place = f"{self._source}:{line}" if line else self._source
        inside = f" in experiment '{self._where}'" if self._where else ""
        return SuiteError(f"{place}: {message}{inside}", fix=fix)

    def keys(self, raw: Mapping[str, Any], known: set[str], noun: str) -> None:
        for key in raw:
            if key not in known:
                raise self.fail(
                    f"unknown key '{key}'{nearest(key, known)}",
                    key,
                    f"a {noun} has: {', '.join(sorted(known))}",
                )

    def text_of(self, raw: Mapping[str, Any], key: str, default: str | None = None) -> str:
        value = raw.get(key, default)
        if not isinstance(value, str):
            raise self.fail(f"'{key}' must be a text", key)
        return value

    def count(self, raw: Mapping[str, Any], key: str) -> int:
        value = raw[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.fail(f"'{key}' must be a whole number of at least 1", key)
        return value

    def seconds(self, raw: Mapping[str, Any], key: str, default: float) -> float:
        value = raw.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise self.fail(f"'{key}' must be a number of seconds", key)
        return float(value)

    def experiment(self, raw: Mapping[str, Any], kind: str) -> Experiment:
        self._where = ""
        self._where = self.text_of(raw, "name")
        self.keys(raw, _EXPERIMENT_KEYS, "experiment")
        unknown = set(raw.get("needs", ())) - _NEEDS
        if unknown:
            raise self.fail(
                f"unknown need '{unknown.pop()}'", "needs", f"the needs are: {', '.join(sorted(_NEEDS))}"
            )
        tenants: tuple[TenantSpec, ...] = ()
        if kind == "primitives" or (kind == "layers" and "workload" not in raw):
            self.parts(raw, kind)
        elif "tenant" in raw:
            tenants = tuple(self.tenant(t, self.text_of(t, "name")) for t in raw["tenant"])
        else:
            tenants = (self.tenant({k: raw[k] for k in ("workload", "args", "limits") if k in raw}, "a"),)
        if "verdict" not in raw:
            raise self.fail("no [experiment.verdict]: what would be judged?")
        experiment = Experiment(
            name=self._where,
            title=self.text_of(raw, "title"),
            question=self.text_of(raw, "question"),
            claim=self.text_of(raw, "claim", ""),
            section=self.text_of(raw, "section", self._where),
            tenants=tenants,
            verdict=self.judgement(raw["verdict"]),
            params={k: tuple(v) if isinstance(v, list) else (v,) for k, v in raw.get("params", {}).items()},
            needs=tuple(raw.get("needs", ())),
            runtimes=tuple(raw["runtimes"]) if "runtimes" in raw else None,
            named=tuple(raw.get("named", ())),
            settle=self.seconds(raw, "settle", 0.0),
            deadline=self.seconds(raw, "deadline", 60.0),
            quick=self.quick(raw["quick"]) if "quick" in raw else None,
            blocks=self.count(raw, "blocks") if "blocks" in raw else None,
            budget=self.seconds(raw, "budget", 0.0) if "budget" in raw else None,
            full=bool(raw.get("full", False)),
        )
        entry, grace = experiment.params.get(ENTRY, ()), experiment.params.get(GRACE, ())
        if entry and not set(entry) <= set(ENTRIES):
            raise self.fail(f"'{ENTRY}' is one of: {', '.join(ENTRIES)}", ENTRY)
        for room in (factors, places, modes):
            if complaint := room.complaint(experiment.params):
                raise self.fail(complaint[1], complaint[0])
        count = experiment.params.get(INSTANCES, ())
        if (kind == "density") is not bool(count) or not all(type(n) is int and n >= 3 for n in count):
            wanted = f"an experiment on density, and no other, has '{INSTANCES}', at least 3"
            raise self.fail(wanted, INSTANCES)
        if entry and not (grace and all(type(g) in (int, float) and float(g) > 0 for g in grace)):
            raise self.fail(f"'{ENTRY}' needs '{GRACE}', in seconds above 0", ENTRY, f"{GRACE} = [10]")
        self._where = ""
        return experiment

    def cells(self, raw: Mapping[str, Any], controls: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The experiment itself, or those of a matrix of neighbours."""
        if not neighbours.is_matrix(raw):
            return [raw]
        self._where = str(raw.get("name", ""))
        self.keys(raw, _MATRIX_KEYS, "matrix of neighbours")
        return list(neighbours.expanded(raw, controls, self.fail))

    def parts(self, raw: Mapping[str, Any], kind: str) -> None:
        """Check that an experiment on primitives or probes names them, and no workload."""
        other, param = {"tenant", "workload", "args", "limits"} & set(raw), _PARTS[kind]
        if other or not raw.get("params", {}).get(param):
            raise self.fail(f"{param}s are named by params.{param}, and have no workload",
                            other.pop() if other else "params")  # fmt: skip

    def tenant(self, raw: Mapping[str, Any], name: str) -> TenantSpec:
        self.keys(raw, _TENANT_KEYS, "tenant")
        args = raw.get("args", {})
        if not all(isinstance(v, (bool, int, float, str)) for v in args.values()):
            raise self.fail("args must be numbers or texts", "args")
        return TenantSpec(name, self.text_of(raw, "workload"), dict(args), self.limits(raw.get("limits", {})))

    def limits(self, raw: Mapping[str, Any]) -> dict[str, tuple[Scalar, ...]]:
        result: dict[str, tuple[Scalar, ...]] = {}
        for name, value in _flatten(raw).items():
            values = value if isinstance(value, list) else [value]
            try:
                result[name] = tuple(units.parse(name, v) for v in values)
            except UsageError as error:
                raise self.fail(error.message, name.split(".")[0], error.fix) from error
        return result

    def quick(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        self.keys(raw, _QUICK_KEYS, "quick table")
        quick = dict(raw)
        if "blocks" in raw:
            self.count(raw, "blocks")
        if "budget" in raw:
            quick["budget"] = self.seconds(raw, "budget", 0.0)
        if "limits" in raw:
            quick["limits"] = {}
            for name, value in _flatten(raw["limits"], leaves=set(units.LIMITS)).items():
                per_tenant = value if isinstance(value, dict) else {"": value}
                quick["limits"][name] = {t: list(self.limits({name: v})[name]) for t, v in per_tenant.items()}
        return quick

    def judgement(self, raw: Mapping[str, Any]) -> Judgement:
        known = {f.name for f in fields(Judgement)}
        self.keys(raw, known, "verdict")
        for key, allowed in _PAIRS.items():
            if key in raw and raw[key] not in allowed:
                raise self.fail(
                    f"unknown {key} '{raw[key]}'{nearest(str(raw[key]), allowed)}",
                    key,
                    f"one of: {', '.join(allowed)}",
                )
        values = dict(raw)
        if "limit" in values:
            try:
                units.known(values["limit"])
            except UsageError as error:
                raise self.fail(error.message, "limit", error.fix) from error
        if "tolerance" in values:
            low_high = values["tolerance"]
            if not (isinstance(low_high, list) and len(low_high) == 2 and low_high[0] <= low_high[1]):
                raise self.fail("tolerance must be [low, high] with low ≤ high", "tolerance")
            values["tolerance"] = (float(low_high[0]), float(low_high[1]))
        if values.get("headroom") is False:
            values["headroom"] = None
        values["evidence"] = tuple(values.get("evidence", ()))
        try:
            return Judgement(**values)
        except TypeError as error:
            raise self.fail(f"a verdict needs 'measure' and 'metric' ({error})", "verdict") from error


def _flatten(raw: Mapping[str, Any], leaves: set[str] | None = None, prefix: str = "") -> dict[str, Any]:
    """`limits.cpu.weight = 1` arrives as nested tables; the names of limits are dotted."""
    result: dict[str, Any] = {}
    for key, value in raw.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, dict) and name not in (leaves or ())
        result.update(_flatten(value, leaves, f"{name}.") if nested else {name: value})
    return result
