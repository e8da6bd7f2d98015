from __future__ import annotations

import pytest

from bench import suite
from bench.errors import SuiteError, UsageError

GOOD = """
title = "t"
question = "q?"
[[experiment]]
name = "one"
title = "One"
question = "q?"
workload = "cpu/spin"
limits.cpu = [0.5, 1]
[experiment.verdict]
measure = "rate"
metric = "cpu.usage"
limit = "cpu"
"""


def test_the_shipped_suites_parse():
    for name in suite.names():
        loaded = suite.load(name)
        assert loaded.experiments and loaded.question.endswith("?")


def test_the_cgroups_suite_has_the_eight_sections():
    sections = list(dict.fromkeys(e.section for e in suite.load("cgroups").experiments))
    assert sections == ["cpu", "weight", "cpuset", "memory", "pids", "io", "network", "visible"]


def test_an_unknown_suite_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'cgroups'"):
        suite.load("cgroup")


def test_a_toml_error_carries_its_line():
    with pytest.raises(SuiteError, match="line 2"):
        suite.parse("title = 'x'\nquestion = = 'q'", "s", "s.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("limits.cpu = [0.5, 1]", 'limits.cpu = ["half"]', r"s.toml:9: cpu=half.*in experiment 'one'"),
        ("limits.cpu", "limits.cpuu", r"s.toml:9: unknown limit 'cpuu'; did you mean 'cpu'"),
        ("workload =", "workloda =", r"s.toml:8: unknown key 'workloda'; did you mean 'workload'"),
        (
            'limit = "cpu"',
            'rule = "two sided"',
            r"s.toml:13: unknown rule 'two sided'; did you mean 'two-sided'",
        ),
        ('limit = "cpu"', "tolerance = [1, 0]", "tolerance must be"),
        ('metric = "cpu.usage"', "", "needs 'measure' and 'metric'"),
        ('title = "t"', "title = 3", "'title' must be a text"),
        ('title = "t"', 'title = "t"\nblocks = 0', "'blocks' must be a whole number"),
        ('title = "t"', 'title = "t"\nblocks = 9\nmax_blocks = 3', "max_blocks is below blocks"),
    ],
)
def test_a_mistake_names_file_line_and_key(old: str, new: str, message: str):
    assert old in GOOD
    with pytest.raises(SuiteError, match=message):
        suite.parse(GOOD.replace(old, new), "s", "s.toml")


def test_limits_become_si():
    text = GOOD.replace("limits.cpu = [0.5, 1]", 'limits.memory = "256MiB"\nlimits.io.write = "10MB/s"')
    tenant = suite.parse(text, "s", "s.toml").experiments[0].tenants[0]
    assert tenant.limits == {"memory": (268435456,), "io.write": (10_000_000.0,)}
