"""Single kinds of namespaces: the command that makes them, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.model import KINDS
from bench.sandboxes import unshared

CHOICES = st.lists(st.sampled_from(KINDS), min_size=1, unique=True)


def test_nothing_is_wrapped_where_nothing_is_unshared():
    assert unshared.command("none", "a") == [] and unshared.kinds("none") == ()


@given(CHOICES)
def test_exactly_the_kinds_that_were_asked_for_are_unshared(chosen):
    argv = unshared.command("+".join(chosen), "a")
    flags = {word for word in argv[: argv.index("--")] if word.startswith("--")}
    long = {"--mount" if kind == "mnt" else f"--{kind}" for kind in chosen}
    others = {"--fork", "--kill-child", "--mount-proc", "--map-root-user", f"--boottime={unshared.OFFSET}"}
    assert flags - others == long


@given(CHOICES)
def test_what_only_a_child_is_in_is_forked_for(chosen):
    argv = unshared.command("+".join(chosen), "a")
    assert ("--fork" in argv) == bool({"pid", "time"} & set(chosen))
    assert ("--mount-proc" in argv) == ({"pid", "mnt"} <= set(chosen))


def test_a_copied_name_is_replaced_so_that_the_namespace_shows():
    assert unshared.command("uts", "tenant")[-1] == "tenant"
    assert "sh" not in unshared.command("net", "tenant")


@pytest.mark.parametrize("text", ["disk", "pid+disk", "", "none+pid", "Pid"])
def test_a_word_that_is_no_kind_is_refused_and_the_kinds_are_named(text):
    with pytest.raises(UsageError, match="is no kind of namespace") as error:
        unshared.kinds(text)
    assert "mnt" in str(error.value.fix)


def test_a_kernel_without_a_kind_says_so(tmp_path):
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    missing = unshared.lacking("time", tmp_path)
    assert missing is not None and "no time namespaces" in missing.cause
    assert unshared.lacking("none", tmp_path) is None
