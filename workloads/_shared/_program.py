"""What a workload in Python begins with: arguments, lines of output, the gate, and where programs lie.

A program finds it by putting this directory on sys.path, before which it says that no byte code is to be
written: the programs may lie on a read-only mount, or in somebody's checkout.
"""

import json
import os
import signal
import sys
import time

FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def arguments(defaults):
    """The defaults with what the command line says, of the same types."""
    for word in sys.argv[1:]:
        key, equals, text = word.partition("=")
        name = key[2:]
        if not key.startswith("--") or not equals or name not in defaults:
            sys.exit(f"{sys.argv[0]}: unknown argument {word!r}; known: {', '.join(defaults)}")
        kind = type(defaults[name])
        defaults[name] = text == "1" if kind is bool else kind(text)
    return defaults


def size_of(text):
    """Bytes of "1048576" or "1MiB"."""
    digits = text.rstrip("BKMGi")
    return int(float(digits) * FACTORS[text[len(digits) :].rstrip("Bi")])


def end_on_signals():
    """SIGTERM ends the program through its `finally` blocks."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def say(fact):
    os.write(1, json.dumps(fact).encode() + b"\n")


def emit(metric, value, unit, reason="", labels=None):
    """One observation; `reason` says why there is no value."""
    fact = {"metric": metric, "value": value, "unit": unit}
    if labels:
        fact["labels"] = labels
    say(fact if value is not None else {**fact, "reason": reason})


def pin(cpu):
    """Run on that CPU alone, children included, where one is asked for; say whether it is so."""
    if cpu < 0:
        return
    labels = {"cpu": str(cpu)}
    try:
        os.sched_setaffinity(0, {cpu})
        emit("placement.pinned", 1, "1", labels=labels)
    except OSError as error:
        emit("placement.pinned", 0, "1", labels={**labels, "why": error.strerror})


def await_gate():
    """Say that the timed work could begin, and wait for the host's sign where it gives one."""
    gate = os.environ.get("BENCH_GATE")
    os.write(1, b'{"event": "ready"}\n')
    while gate and not os.path.exists(gate):
        time.sleep(0.001)


def put_down(process):
    """Kill a process that is still there, and wait for its end."""
    if process.poll() is None:
        process.kill()
        process.wait()


def tool(words, seconds):
    """(exit status, standard output, standard error) of a tool that may take that long.

    The program ends where there is no such tool.
    """
    import subprocess  # which takes longer to load than all the rest, and not every program has a tool

    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        process = subprocess.Popen(words, text=True, **pipes)
    except FileNotFoundError as error:
        sys.exit(f"{error.filename}: not found")
    try:
        output, errors = process.communicate(timeout=seconds)
    finally:
        put_down(process)
    return process.returncode, output, errors
