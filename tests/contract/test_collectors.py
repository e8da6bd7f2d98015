"""Every collector in the registry, third-party ones included, keeps the contract."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from bench import collectors
from bench.collectors import Collector, Counter, metric_units
from bench.model import Missing

NAMES = collectors.names()
UNITS = {"s", "B", "1", "Hz", "B/s", "1/s", "cores"}


@pytest.mark.parametrize("name", NAMES)
def test_a_collector_says_who_it_is_and_what_it_gives(name):
    collector = collectors.load(name)
    assert isinstance(collector, Collector)
    assert collector.name == name
    assert collector.title
    assert collector.scope in ("tenant", "host")
    ticks = collector.interval / 0.1
    assert ticks == pytest.approx(round(ticks)) and ticks >= 1
    assert collector.metrics
    for metric, counter in collector.metrics.items():
        assert isinstance(counter, Counter) and counter.title
        assert counter.unit in UNITS, metric
        assert counter.kind in ("counter", "gauge", "peak")
        assert metric == metric.lower() and "." in metric


@pytest.mark.parametrize("name", NAMES)
def test_requirements_come_with_a_cause_and_a_fix(name):
    for missing in collectors.load(name).requires():
        assert isinstance(missing, Missing)
        assert missing.what and missing.cause and missing.fix


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_gives_its_metrics_as_numbers_or_none_and_closes_twice(name):
    collector = collectors.load(name)
    if collector.requires():
        pytest.skip(f"{name}: {collector.requires()[0].cause}")
    bare = SimpleNamespace(cgroup=None, pids=lambda: [os.getpid()])
    reader = collector.open(bare if collector.scope == "tenant" else None)
    if reader is None:
        return
    before = reader.read()
    after = reader.read()
    for raw in (before, after):
        found = reader.parse(raw)
        assert set(found) <= set(collector.metrics)
        assert all(v is None or (isinstance(v, (int, float)) and v >= 0) for v in found.values())
    for metric, counter in collector.metrics.items():
        first, second = reader.parse(before).get(metric), reader.parse(after).get(metric)
        if counter.kind in ("counter", "peak") and first is not None and second is not None:
            assert second >= first, metric
    reader.close()
    reader.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_host_collector_needs_no_sandbox_and_a_tenant_one_opens_nothing_without(name):
    collector = collectors.load(name)
    if collector.requires():
        pytest.skip(f"{name}: {collector.requires()[0].cause}")
    reader = collector.open(None)
    assert (reader is None) == (collector.scope == "tenant")
    if reader is not None:
        reader.close()


def test_a_metric_that_two_collectors_give_has_one_unit():
    units = metric_units()
    for name in NAMES:
        for metric, counter in collectors.load(name).metrics.items():
            assert units[metric] == counter.unit, metric


def test_no_metric_is_given_by_two_collectors():
    given = [metric for name in NAMES for metric in collectors.load(name).metrics]
    assert len(given) == len(set(given))
