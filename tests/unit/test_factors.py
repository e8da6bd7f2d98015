"""What changes a start, as params: which are refused, what they take, and who does not offer them."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import factors, suite
from bench import plan as planning
from bench.errors import SuiteError
from bench.model import Case, Tenant

STARTUP = suite.load("startup")
TEXT = suite.SHIPPED.joinpath("startup.toml").read_text()


def a_case(runtime="docker", **params):
    return Case("c", "e", runtime, (Tenant("a", "start/ready", {}, {}),), params)


def a_host(tmp_path, total, available):
    (tmp_path / "proc").mkdir()
    text = f"MemTotal: {total >> 10} kB\nMemAvailable: {available >> 10} kB\n"
    (tmp_path / "proc/meminfo").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"network": ["none", "host"]}, "none, bridge, port"),
        ({"cache": ["lukewarm"]}, "warm, cold"),
        ({"attach": ["last"]}, "first, next"),
        ({"concurrency": [0]}, "from 1 to"),
        ({"concurrency": [2.5]}, "whole number"),
        ({"residents": [-1]}, "from 0 to"),
        ({"residents": [True]}, "whole number"),
        ({"residents": [1000]}, "to 64"),
        ({"residents": [1], "cache": ["warm"]}, "to an experiment"),
        ({"residents": [1], "entry": ["exec"]}, "to an experiment"),
    ],
)
def test_a_level_that_means_nothing_is_refused(params, says):
    _, why = factors.complaint(params)
    assert says in why


def test_a_suite_with_such_a_level_is_refused_with_its_line():
    with pytest.raises(SuiteError, match=r"startup.toml:\d+: 'cache' is one of"):
        suite.parse(TEXT.replace('cache = ["warm", "cold"]', 'cache = ["hot"]'), "startup", "startup.toml")


def test_what_the_shipped_suite_asks_for_is_accepted_and_start_stays_first():
    assert STARTUP.experiments[0].name == "start" and not STARTUP.experiments[0].params
    varied = [e for e in STARTUP.experiments if factors.factor(e.params)]
    assert [factors.factor(e.params) for e in varied] == [
        "network",
        "concurrency",
        "residents",
        "cache",
        "attach",
    ]
    assert all(e.claim and e.blocks for e in varied)


def test_a_quick_run_has_fewer_levels_and_blocks():
    made = planning.make(
        replace(STARTUP, warmup=0), ["docker"], seed=1, quick=True, baseline=lambda r: r == "process",
        lacking=lambda runtime, case: None,
    )  # fmt: skip
    levels = {next(iter(c.params.items())) for c in made.cases if factors.factor(c.params)}
    assert levels == {
        ("network", "none"), ("network", "bridge"), ("network", "port"), ("concurrency", 1),
        ("concurrency", 4), ("residents", 0), ("residents", 5), ("cache", "warm"), ("cache", "cold"),
        ("attach", "first"), ("attach", "next"),
    }  # fmt: skip
    per_case = {c.id: sum(t.case == c.id for t in made.trials) for c in made.cases}
    assert {per_case[c.id] for c in made.cases if factors.factor(c.params)} == {3}


def test_the_estimate_counts_every_sandbox_of_a_trial():
    made = planning.make(
        STARTUP, ["docker"], seed=1, baseline=lambda r: False, lacking=lambda runtime, case: None,
        cost=lambda runtime: 1.0,
    )  # fmt: skip
    assert {
        (c.params.get("concurrency", 1), c.params.get("residents", 0)): c.overhead
        for c in made.cases
        if c.experiment in ("concurrency", "residents")
    } == {(1, 0): 1, (2, 0): 2, (4, 0): 4, (8, 0): 8, (1, 5): 6, (1, 20): 21}


@pytest.mark.parametrize(
    ("params", "networks", "own_kernel", "says"),
    [
        ({"network": "bridge"}, set(), False, "not its own"),
        ({"network": "port"}, {"none", "bridge"}, False, "only none and bridge"),
        ({"network": "bridge"}, {"none", "bridge"}, False, None),
        ({"residents": 5}, set(), True, "of its own"),
        ({"residents": 5}, set(), False, None),
        ({}, set(), True, None),
        ({"entry": "exec", "grace": 1}, set(), True, None),  # which has words of its own
    ],
)
def test_what_a_runtime_does_not_offer_has_its_reason(params, networks, own_kernel, says):
    runtime = SimpleNamespace(networks=frozenset(networks), own_kernel=own_kernel)
    why = factors.not_offered(a_case(**params), runtime)
    assert (why is None) == (says is None)
    assert says is None or says in why


def test_residents_that_do_not_fit_into_the_memory_are_refused_with_the_numbers(tmp_path):
    host = a_host(tmp_path, 2**30, 2**28)
    assert factors.crowded(a_case(residents=4), host) is None
    short = factors.crowded(a_case(residents=5), host)
    assert short is not None and "160 MiB" in short.cause and "128 MiB may be taken" in short.cause


@given(st.integers(0, 64), st.integers(0, 2**40), st.integers(0, 2**40))
def test_more_memory_never_refuses_what_less_allows(tmp_path_factory, residents, one, other):
    less, more = sorted((one, other))
    roots = [a_host(tmp_path_factory.mktemp("host"), 2**40, available) for available in (less, more)]
    refused = [factors.crowded(a_case(residents=residents), root) is not None for root in roots]
    assert refused[0] or not refused[1]
    assert not (residents == 0 and any(refused))


def test_a_plan_skips_the_levels_of_a_real_runtime_with_its_name_and_reason():
    from bench.feasible import Host
    from bench.host import cgroups
    from bench.runtimes.libvirt import Runtime as Libvirt
    from bench.runtimes.process import Runtime as Process

    host = Host({"process": Process(), "libvirt": Libvirt()}, None, cgroups.detect(), 2, 2**34, root=True)
    process = host.why_not("process", a_case("process", network="bridge"))
    assert (process.verdict, process.cause) == (
        "not offered", "raw process: its network is not its own, and cannot be chosen"
    )  # fmt: skip
    assert host.why_not("process", a_case("process", cache="cold")) is None
    assert host.why_not("libvirt", a_case("libvirt", residents=5)).verdict == "not offered"
