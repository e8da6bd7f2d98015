"""What every runtime promises, third-party ones included; needs no root and opens nothing."""

import inspect
import re

import pytest

from bench import places, runtimes
from bench.errors import UsageError
from bench.limits import LIMITS
from bench.model import NETWORKS, Missing, Tenant

NAMES = runtimes.names()


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture
def runtime(name) -> runtimes.Runtime:
    return runtimes.load(name)


def complete(missing: Missing) -> bool:
    """Whether it says what is missing, why, and what would fix it."""
    return all((missing.what.strip(), missing.cause.strip(), missing.fix.strip()))


def test_the_native_runtimes_are_registered():
    assert {"process", "cgroup", "namespace"} <= set(NAMES)


def test_it_fulfils_the_contract_and_is_named_after_its_module(name, runtime):
    assert isinstance(runtime, runtimes.Runtime)
    assert type(runtime).name == name
    assert type(runtime).title.strip()
    assert isinstance(type(runtime).baseline, bool)


def test_it_says_in_its_docstrings_what_it_is(runtime):
    assert inspect.getdoc(type(runtime))
    assert inspect.getdoc(inspect.getmodule(type(runtime)))


def test_its_controls_are_known_limits(runtime):
    assert isinstance(type(runtime).controls, frozenset)
    assert type(runtime).controls <= set(LIMITS)


def test_its_networks_are_known_ones_and_one_without_a_link_is_among_them(runtime):
    assert isinstance(runtime.networks, frozenset) and runtime.networks <= set(NETWORKS)
    assert not runtime.networks or "none" in runtime.networks


def test_its_places_for_files_are_known_ones_and_one_that_is_elsewhere_says_why(runtime):
    if not isinstance(runtime, places.Placing) or not runtime.places:
        pytest.skip("its files lie in one place")
    assert runtime.places <= set(places.PLACES)
    for place in runtime.places if not list(runtime.requires()) else ():
        elsewhere = runtime.misplaced(place)
        assert elsewhere is None or complete(elsewhere), elsewhere


def test_what_has_a_kernel_of_its_own_reads_no_tree_of_this_host(runtime):
    assert isinstance(type(runtime).own_kernel, bool)
    assert not runtime.own_kernel or list(runtime.trees(None)) == []


def test_a_baseline_limits_nothing_and_every_other_runtime_something(runtime):
    assert type(runtime).baseline == (not type(runtime).controls)


def test_there_is_a_baseline_to_compare_with():
    assert [n for n in NAMES if type(runtimes.load(n)).baseline] == ["process"]


def test_whatever_the_host_lacks_comes_with_cause_and_fix(runtime):
    for missing in runtime.requires():
        assert complete(missing), missing


def test_every_control_is_offered_or_says_why_not_and_what_would_help(runtime):
    for limit in type(runtime).controls:
        missing = runtime.lacks(limit)
        assert missing is None or complete(missing), missing


def test_where_it_can_run_it_tells_versions_of_what_carries_it_out(runtime):
    if not isinstance(runtime, runtimes.Versioned) or runtime.requires():
        pytest.skip("carried out by nobody else, or not available here")
    told = runtime.software()
    assert told and all(re.search(r"\d+\.\d+", version) for version in told.values()), told


def test_it_says_what_a_trial_costs(runtime):
    assert 0 < runtime.cost() < 600


def test_it_says_whether_its_cpu_is_emulated(runtime):
    if not list(runtime.requires()):
        assert isinstance(runtime.emulated(), bool)


def test_values_without_limits_are_refused_by_none(runtime):
    assert runtime.refuses(Tenant("a", "cpu/spin", {}, {})) is None


def test_it_takes_the_arguments_of_the_contract(runtime):
    assert list(inspect.signature(runtime.open).parameters) == ["tenant", "arena"]


def test_a_runtime_nobody_knows_is_a_usage_error_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'namespace'"):
        runtimes.load("namespaces")
