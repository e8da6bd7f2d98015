#!/usr/bin/python3 -IS
# /// bench
# title   = "an idle program that holds memory"
# area    = "memory"
# needs   = ["python3"]
# args    = { bytes = 52428800, hold = 86400.0 }
# [metrics]
# "memory.touched" = { unit = "bytes" }
# ///
"""Writes to every page of `bytes` of private memory once, prints how many, and waits for `hold` seconds.

Its content differs from page to page and from program to program: no two pages can be merged into one.
"""

import os
import sys
import time

BLOCK = 1 << 20


def arguments(defaults):
    for word in sys.argv[1:]:
        key, equals, text = word.partition("=")
        name = key[2:]
        if not key.startswith("--") or not equals or name not in defaults:
            sys.exit(f"{sys.argv[0]}: unknown argument {word!r}; known: {', '.join(defaults)}")
        defaults[name] = type(defaults[name])(text)
    return defaults


def main():
    args = arguments({"bytes": 52428800, "hold": 86400.0})
    size = args["bytes"]
    held = bytearray(size)
    for offset in range(0, size, BLOCK):
        end = min(offset + BLOCK, size)
        held[offset:end] = os.urandom(end - offset)
    os.write(1, b'{"metric": "memory.touched", "value": %d, "unit": "bytes"}\n' % len(held))
    os.write(1, b'{"event": "listening"}\n')
    time.sleep(args["hold"])


if __name__ == "__main__":
    main()
