"""The boot layer on the sandbox image: what makes a virtual machine of it."""

from __future__ import annotations

from bench.bootlayer.early import initrd
from bench.bootlayer.harness import harness
from bench.bootlayer.layer import Boot, BootLayer, build, command_line, default_cache, find, layers, remove
from bench.bootlayer.vagrantbox import box, catalog, version

__all__ = [
    "Boot", "BootLayer", "box", "build", "catalog", "command_line", "default_cache", "find", "harness",
    "initrd", "layers", "remove", "version",
]  # fmt: skip
