"""Where a directory lies: the file system that holds it, and the device under that, as seen from inside."""

import os
import re

UPPER = "upperdir="
KEPT_IN_MEMORY = ("tmpfs", "ramfs")


def unescaped(text):
    """A field of mountinfo with its octal escapes undone."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def holds(point, path):
    return path == point or path.startswith(point.rstrip("/") + "/")


def find(mountinfo, path):
    """Where an absolute path lies: type, device, mount point, number (MAJ:MIN) and directory (`root`) of the
    file system, and the layer that an overlay is written to (`upper`); None where no mount is known.

    Of several mounts the deepest counts, and of those on one point the last, which covers the others.
    """
    found = None
    for line in mountinfo.splitlines():
        front, dash, back = line.partition(" - ")
        fields, more = front.split(), back.split(" ")
        if not dash or len(fields) < 5 or len(more) < 2:
            continue
        point = unescaped(fields[4])
        if holds(point, path) and (found is None or len(point) >= len(found["mount"])):
            found = {
                "type": more[0], "device": unescaped(more[1]), "mount": point, "number": fields[2],
                "root": unescaped(fields[3]),
            }  # fmt: skip
            options = unescaped(more[2]) if len(more) > 2 else ""
            upper = [word[len(UPPER) :] for word in options.split(",") if word.startswith(UPPER)]
            found |= {"upper": upper[0]} if upper else {}
    return found


def of(directory):
    """The labels that say where a directory lies, or None where this kernel does not tell.

    `st_dev` is what stat(2) says of the directory itself. It is the number of its mount, except on file
    systems that number their parts (btrfs).
    """
    try:
        with open("/proc/self/mountinfo", errors="replace") as file:
            found = find(file.read(), os.path.realpath(directory))
        number = os.stat(directory).st_dev
    except OSError:
        return None
    return found and {**found, "st_dev": f"{os.major(number)}:{os.minor(number)}"}


def report(place, emit):
    """One observation, `io.place`: 1 with the labels, or none with a reason."""
    emit("io.place", 1 if place else None, "1", "this kernel does not tell its mounts", place)
