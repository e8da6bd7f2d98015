"""What a kernel has, told by what it shows."""

from __future__ import annotations

import os

import pytest

from bench.host import modules

SYMBOLS = "ffffffff81df5d10 t macvlan_hash_lookup\nffffffff81000000 T _stext\n"
LISTED = "kernel/net/macvlan.ko.xz: kernel/net/x.ko.xz\nkernel/drivers/vhost-net.ko:\n"


@pytest.mark.parametrize(
    ("symbols", "listed", "name", "expected"),
    [
        (SYMBOLS, None, "macvlan", True),
        (SYMBOLS, "", "macvlan", True),
        ("0 T _stext\n", LISTED, "macvlan", True),
        (None, LISTED, "macvlan", True),
        ("0 T _stext\n", LISTED, "vhost_net", True),
        ("0 T _stext\n", LISTED, "vlan", False),
        (SYMBOLS, LISTED, "ipvlan", False),
        (SYMBOLS, None, "ipvlan", None),
        (None, None, "macvlan", None),
    ],
)
def test_built_in_loaded_loadable_absent_or_unknown(tmp_path, symbols, listed, name, expected):
    if symbols is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/kallsyms").write_text(symbols)
    if listed is not None:
        directory = tmp_path / "lib/modules" / os.uname().release
        directory.mkdir(parents=True)
        (directory / "modules.dep").write_text(listed)
    assert modules.has(name, tmp_path) is expected
