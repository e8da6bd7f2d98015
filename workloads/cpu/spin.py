#!/usr/bin/python3 -IS
# /// bench
# title   = "spinning processes"
# area    = "cpu"
# needs   = ["python3"]
# args    = { threads = 2, seconds = 2.0, busy = 0.0, idle = 0.0, warm = 0.3 }
# [metrics]
# "cpu.delivered" = { unit = "cores", better = "higher" }
# "cpu.iterations" = { unit = "1", better = "higher" }
# "cpu.stall.longest" = { unit = "s", better = "lower" }
# "cpu.stall.median" = { unit = "s", better = "lower" }
# "cpu.stall.count" = { unit = "1", better = "lower" }
# "cpu.lateness.p50" = { unit = "s", better = "lower" }
# "cpu.lateness.p99" = { unit = "s", better = "lower" }
# "cpu.lateness.longest" = { unit = "s", better = "lower" }
# "cpu.seconds_on" = { unit = "s" }
# "self.cpu" = { unit = "s", better = "lower" }
# ///
"""Processes that use all the CPU they get, or a duty cycle of it, and say what they got.

`threads` processes (forked, so that no interpreter lock couples them) spin for `seconds`, after
`warm` seconds of the same load. With `busy` and `idle` above 0 each runs for `busy` seconds every
`busy + idle` seconds, on a schedule that does not slip when a period runs late.

A stall is a stretch in which none of the processes ran: the intersection of their gaps. Gaps below
1 ms are not seen; the median and the count are over stalls above 5 ms.
"""

import marshal
import mmap
import os
import signal
import struct
import sys
import time

GAP = 1_000_000  # ns; shorter gaps are the loop's own jitter
STALL = 5_000_000  # ns
SAMPLE = 10_000_000  # ns
MAX_GAPS = 4096
MAX_LATENESS = 65536


def arguments(defaults):
    for word in sys.argv[1:]:
        key, equals, text = word.partition("=")
        name = key[2:]
        if not key.startswith("--") or not equals or name not in defaults:
            sys.exit(f"{sys.argv[0]}: unknown argument {word!r}; known: {', '.join(defaults)}")
        defaults[name] = type(defaults[name])(text)
    return defaults


def emit(metric, value, unit, extra=""):
    text = "null" if value is None else repr(value)
    os.write(1, f'{{"metric": "{metric}", "value": {text}, "unit": "{unit}"{extra}}}\n'.encode())


def missing(metric, unit, reason):
    emit(metric, None, unit, f', "reason": "{reason}"')


def cpu_reader():
    """A function that returns the CPU this process is on."""
    try:
        import ctypes

        getcpu = ctypes.CDLL(None).sched_getcpu
        if getcpu() >= 0:
            return getcpu
    except (ImportError, OSError, AttributeError):
        pass
    stat = os.open("/proc/self/stat", os.O_RDONLY)
    return lambda: int(os.pread(stat, 4096, 0).rpartition(b")")[2].split()[36])


class Recorder:
    """What one process saw of its own running, between t0 and t1 (ns of the monotonic clock)."""

    def __init__(self, t0, t1, stop, parent):
        self.t0, self.t1, self.stop, self.parent = t0, t1, stop, parent
        self.gaps, self.lateness, self.seconds_on = [], [], {}
        self.iterations = 0
        self.cpu_at_t0 = self.cpu_at_t1 = None
        self.getcpu = cpu_reader()
        self.last_cpu = time.process_time()

    def gap(self, start, end):
        start, end = max(start, self.t0), min(end, self.t1)
        if end - start > GAP:
            self.gaps.append((start, end))
            if len(self.gaps) >= 2 * MAX_GAPS:
                self.gaps = sorted(sorted(self.gaps, key=lambda g: g[0] - g[1])[:MAX_GAPS])

    def sample(self, now):
        """Attribute CPU time to a CPU; True once the window is over and the parent has said so."""
        used = time.process_time()
        if self.cpu_at_t0 is None and now >= self.t0:
            self.cpu_at_t0 = self.last_cpu = used
        if self.cpu_at_t0 is not None and self.cpu_at_t1 is None:
            cpu = self.getcpu()
            self.seconds_on[cpu] = self.seconds_on.get(cpu, 0.0) + used - self.last_cpu
            self.last_cpu = used
            if now >= self.t1:
                self.cpu_at_t1 = used
        if os.getppid() != self.parent:
            os._exit(1)
        # Until the parent has printed "end", the load goes on: the host sees only that line.
        return self.cpu_at_t1 is not None and (self.stop[0] == 1 or now > self.t1 + 2_000_000_000)

    def spin(self):
        clock, t0, t1 = time.monotonic_ns, self.t0, self.t1
        last, due, count, done = clock(), 0, 0, False
        while not done:
            now = clock()
            if now - last > GAP:
                self.gap(last, now)
                due = 0
            if now >= due:
                done = self.sample(now)
                edge = t0 if now < t0 else t1 if now < t1 else now + SAMPLE
                due = min(now + SAMPLE, edge)
            last = now
            if t0 <= now < t1:
                count += 1
        self.iterations = count

    def pulse(self, busy, period):
        """Run for `busy` ns every `period` ns; the periods are counted from t0.

        Time in gaps is not running time. The CPU clock would say the same, but gVisor's has steps of
        10 ms, longer than many a pulse.
        """
        clock, t0, t1 = time.monotonic_ns, self.t0, self.t1
        intended, done = t0 - (t0 - clock()) // period * period, False
        while not done:
            now = clock()
            while now < intended and not done:
                edge = t1 if now < t1 else now + SAMPLE
                time.sleep((min(intended, edge) - now) / 1e9)
                now = clock()
                done = now >= t1 and self.sample(now)
            if t0 <= intended < t1 and len(self.lateness) < MAX_LATENESS:
                self.lateness.append(now - intended)
            done = self.sample(now) or self.burn(now, busy)
            intended += period

    def burn(self, now, busy):
        """Run for `busy` ns; True once the load is over."""
        clock, t0, t1 = time.monotonic_ns, self.t0, self.t1
        last, ran, done = now, 0, False
        edge = t0 if now < t0 else t1 if now < t1 else now + SAMPLE
        while ran < busy and not done:
            now = clock()
            if now - last <= GAP:
                ran += now - last
            last = now
            self.iterations += t0 <= now < t1
            if now >= edge:
                done = self.sample(now)
                edge = t1 if now < t1 else now + SAMPLE
        return self.sample(clock()) or done

    def result(self):
        used = self.cpu_at_t1 - self.cpu_at_t0
        return marshal.dumps((used, self.iterations, self.gaps, self.lateness, self.seconds_on))


def child(args, ready, start, results, stop, parent):
    os.write(ready, b".")
    plan = os.read(start, 16)  # one atomic record for each child; empty when the parent is gone
    if len(plan) != 16:
        os._exit(1)
    recorder = Recorder(*struct.unpack("qq", plan), stop, parent)
    busy, idle = int(args["busy"] * 1e9), int(args["idle"] * 1e9)
    if busy or idle:
        recorder.pulse(busy, busy + idle)
    else:
        recorder.spin()
    data = memoryview(recorder.result())
    while data:
        data = data[os.write(results, data) :]
    os._exit(0)


def launch(args, stop):
    """Fork the children, each blocked at the start; (pids, result pipes, start pipe)."""
    ready_r, ready_w = os.pipe()
    start_r, start_w = os.pipe()
    pids, results, parent = [], [], os.getpid()
    for _ in range(args["threads"]):
        result_r, result_w = os.pipe()
        pid = os.fork()
        if pid == 0:
            for fd in (*results, ready_r, start_w, result_r):
                os.close(fd)
            try:
                child(args, ready_w, start_r, result_w, stop, parent)
            finally:
                os._exit(1)
        os.close(result_w)
        pids.append(pid)
        results.append(result_r)
    os.close(ready_w)
    waiting = len(pids)
    while waiting:
        got = len(os.read(ready_r, waiting))
        if not got:
            sys.exit("a child died before it began")
        waiting -= got
    return pids, results, start_w


def read_all(fd):
    parts = []
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def intersect(left, right):
    """Stretches that lie in both of two sorted lists of (start, end)."""
    found, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if end > start:
            found.append((start, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return found


def quantile(ordered, q):
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def report_stalls(gaps_of_each):
    common = gaps_of_each[0]
    for gaps in gaps_of_each[1:]:
        common = intersect(common, gaps)
    lengths = sorted(end - start for start, end in common)
    emit("cpu.stall.longest", lengths[-1] / 1e9 if lengths else 0.0, "s")
    stalls = [length for length in lengths if length > STALL]
    emit("cpu.stall.count", len(stalls), "1")
    if stalls:
        middle = (stalls[(len(stalls) - 1) // 2] + stalls[len(stalls) // 2]) / 2
        emit("cpu.stall.median", middle / 1e9, "s")
    else:
        missing("cpu.stall.median", "s", "no stall above 5 ms")


def report(results, wall, pulsed):
    emit("cpu.delivered", sum(r[0] for r in results) / wall, "cores")
    emit("cpu.iterations", sum(r[1] for r in results), "1")
    if pulsed:
        late = sorted(value for r in results for value in r[3])
        for name, q in (("p50", 0.5), ("p99", 0.99), ("longest", 1.0)):
            if late:
                emit(f"cpu.lateness.{name}", quantile(late, q) / 1e9, "s")
            else:
                missing(f"cpu.lateness.{name}", "s", "no period began in the window")
    else:
        report_stalls([r[2] for r in results])
    seconds_on = {}
    for r in results:
        for cpu, seconds in r[4].items():
            seconds_on[cpu] = seconds_on.get(cpu, 0.0) + seconds
    for cpu in sorted(seconds_on):
        emit("cpu.seconds_on", seconds_on[cpu], "s", f', "labels": {{"cpu": "{cpu}"}}')


def await_gate():
    """Say that the timed work could begin, and wait for the host's sign where it gives one."""
    gate = os.environ.get("BENCH_GATE")
    os.write(1, b'{"event": "ready"}\n')
    while gate and not os.path.exists(gate):
        time.sleep(0.001)


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    args = arguments({"threads": 2, "seconds": 2.0, "busy": 0.0, "idle": 0.0, "warm": 0.3})
    stop = mmap.mmap(-1, mmap.PAGESIZE)
    pids, pipes, start = launch(args, stop)
    await_gate()
    t0 = time.monotonic_ns() + int(args["warm"] * 1e9)
    t1 = t0 + int(args["seconds"] * 1e9)
    os.write(start, struct.pack("qq", t0, t1) * len(pids))
    for when, event in ((t0, b"start"), (t1, b"end")):
        time.sleep(max(0, when - time.monotonic_ns()) / 1e9)
        os.write(1, b'{"event": "%b"}\n' % event)
    stop[0] = 1
    results = [read_all(pipe) for pipe in pipes]
    children = [os.wait4(pid, 0) for pid in pids]
    if not all(results):
        sys.exit("a child died before it reported")
    report([marshal.loads(r) for r in results], (t1 - t0) / 1e9, args["busy"] > 0 or args["idle"] > 0)
    emit("self.cpu", time.process_time() + sum(c[2].ru_utime + c[2].ru_stime for c in children), "s")


if __name__ == "__main__":
    main()
