#!/usr/bin/python3 -IS
# /// bench
# title   = "first and second write-open of files of the image"
# area    = "layers"
# needs   = ["python3"]
# args    = { top = "/usr", sizes = "65536,1048576,4194304,8388608,33554432" }
# [metrics]
# "copyup.first" = { unit = "s", better = "lower" }
# "copyup.second" = { unit = "s", better = "lower" }
# ///
"""Opens files of its own image for writing, twice each, and prints how long each open took.

For each of `sizes` the file below `top` with the nearest size is taken, each file once. All are read first:
no open waits for a file to be read. Nothing is written: opening is enough to copy a file up in a layered file
system.
"""

import json
import os
import stat
import sys
import time


def arguments(defaults):
    for word in sys.argv[1:]:
        key, equals, text = word.partition("=")
        name = key[2:]
        if not key.startswith("--") or not equals or name not in defaults:
            sys.exit(f"{sys.argv[0]}: unknown argument {word!r}; known: {', '.join(defaults)}")
        defaults[name] = type(defaults[name])(text)
    return defaults


def files(top):
    """Path by size of every file below `top` that has one name only and is no program, which may run."""
    found = {}
    for directory, _, names in os.walk(top):
        for name in names:
            path = os.path.join(directory, name)
            seen = os.lstat(path)
            if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1 and not seen.st_mode & 0o111:
                found.setdefault(seen.st_size, path)
    return found


def chosen(found, sizes):
    """The files nearest to the sizes, by ratio."""
    taken = {}
    for size in sizes:
        left = [n for n in found if n > 0 and n not in taken]
        if not left:
            break
        nearest = min(left, key=lambda n: max(n, size) / min(n, size))
        taken[nearest] = found[nearest]
    return sorted(taken.items())


def opened(path):
    began = time.monotonic_ns()
    os.close(os.open(path, os.O_WRONLY))
    return (time.monotonic_ns() - began) / 1e9


def emit(metric, value, size):
    fact = {"metric": metric, "value": value, "unit": "s", "labels": {"bytes": str(size)}}
    os.write(1, json.dumps(fact).encode() + b"\n")


def main():
    args = arguments({"top": "/usr", "sizes": "65536,1048576,4194304,8388608,33554432"})
    wanted = chosen(files(args["top"]), [int(size) for size in args["sizes"].split(",")])
    for _, path in wanted:
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass
    gate = os.environ.get("BENCH_GATE")
    os.write(1, b'{"event": "ready"}\n')
    while gate and not os.path.exists(gate):
        time.sleep(0.001)
    os.write(1, b'{"event": "start"}\n')
    for size, path in wanted:
        emit("copyup.first", opened(path), size)
        emit("copyup.second", opened(path), size)
    os.write(1, b'{"event": "end"}\n')


if __name__ == "__main__":
    main()
