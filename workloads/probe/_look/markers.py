"""What the host planted: whether it is found, read, changed or signalled. Nothing else is touched."""

import os
import signal
import socket

from _look.answers import changed, failed, field, holds, libc, own, planted, read, shared, text_of, writable


def marked(host):
    """The PID of the planted process as /proc shows it, None where it does not; and how many it shows."""
    pids = [name for name in os.listdir("/proc") if name.isdecimal()]
    name = planted(host, "name")
    return next((int(p) for p in pids if text_of(f"/proc/{p}/comm") == name), None), len(pids)


def process_seen(host):
    pid, number = marked(host)
    return shared(f"PID {pid} in /proc") if pid else own(f"none of the {number} processes in /proc")


def process_signal(host):
    """Only the planted process is ever signalled: its name and its PID must agree on both ways to it."""
    pid, name = planted(host, "pid"), planted(host, "name")
    if text_of(f"/proc/{pid}/comm") != name:
        return own(f"PID {pid} is not that process here")
    try:
        fd = os.pidfd_open(pid)
    except OSError as error:
        return failed(error)
    try:
        if field(f"/proc/self/fdinfo/{fd}", "Pid") != str(pid):
            return own(f"PID {pid} is another process to system calls than to /proc")
        signal.pidfd_send_signal(fd, 0)
        signal.pidfd_send_signal(fd, signal.SIGURG)  # ignored by whoever does not ask for it
    except OSError as error:
        return failed(error)
    finally:
        os.close(fd)
    return shared("SIGURG was delivered")


def user_seen(host):
    uid = planted(host, "uid")
    pid, _ = marked(host)
    if not pid:
        return own("none of its processes is seen")
    found = (field(f"/proc/{pid}/status", "Uid") or "?").split()[0]
    return shared(f"its process runs as {found}") if found == str(uid) else own(f"{uid} is shown as {found}")


def file_read(host):
    return holds(host, planted(host, "file"))


def file_change(host):
    return changed(host, planted(host, "file"))


def user_file(host):
    return changed(host, planted(host, "user_file"))


def posix_read(host):
    return holds(host, f"/dev/shm/{planted(host, 'posix')}")


def posix_change(host):
    return changed(host, f"/dev/shm/{planted(host, 'posix')}")


def mount(name):
    def look(host):
        path = planted(host, name)
        points = [line.split()[4] for line in read("/proc/self/mountinfo").splitlines()]
        return shared("it is in the mount table") if path in points else own(f"none of {len(points)} mounts")

    return look


def sysv(host, write):
    """Attach the planted segment, compare the token, and put a byte behind it where `write`."""
    key, token = planted(host, "sysv"), host["token"].encode()
    ctypes, library = libc()
    number = library.shmget(key, 0, 0)
    address = library.shmat(number, None, 0 if write else 0o10000) if number >= 0 else None
    if number < 0 or address == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        return failed(OSError(code, os.strerror(code)))
    try:
        if ctypes.string_at(address, len(token)) != token:
            return own("another content")
        if write:
            ctypes.memset(address + len(token), ord("!"), 1)
    finally:
        library.shmdt(address)
    return shared("a byte was written behind it" if write else f"segment {number} was read")


def answers(host, family, address):
    """Whether the planted process answers at that address with its token."""
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        try:
            connection.connect(address)
            said = connection.recv(64).decode(errors="replace")
        except OSError as error:
            return failed(error)
    return shared("it answered") if said == host["token"] else own("somebody else answered")


def socket_abstract(host):
    return answers(host, socket.AF_UNIX, "\0" + planted(host, "abstract"))


def socket_path(host):
    return answers(host, socket.AF_UNIX, planted(host, "socket"))


def socket_tcp(host):
    return answers(host, socket.AF_INET, ("127.0.0.1", planted(host, "port")))


def cgroup_path(host):
    group, text = planted(host, "group"), read("/proc/self/cgroup").strip()
    paths = sorted({line.split(":", 2)[2] for line in text.splitlines()}, key=len)
    evidence = paths[-1] if paths else "none at all"
    return shared(evidence) if any(group in path for path in paths) else own(evidence)


def marked_group(host):
    """The directory of the planted group in some cgroup mount, None where none shows it."""
    path = planted(host, "cgroup")
    for line in read("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        root, point = left.split()[3:5]
        inside = path[len(root) :] if root != "/" and path.startswith(root + "/") else path
        if right.startswith("cgroup") and os.path.isdir(point + inside):
            return point + inside
    return None


def cgroup_seen(host):
    found = marked_group(host)
    return shared(f"at {found}") if found else own("in none of the cgroup mounts here")


def cgroup_write(host):
    found = marked_group(host)
    if not found:
        return own("it is not seen")
    return writable(host, f"{found}/cgroup.procs")


LOOKS = {
    "process.seen": process_seen,
    "process.signal": process_signal,
    "user.seen": user_seen,
    "user.file": user_file,
    "file.read": file_read,
    "file.change": file_change,
    "mount.seen": mount("mount"),
    "mount.late": mount("late"),
    "shm.sysv.read": lambda host: sysv(host, write=False),
    "shm.sysv.change": lambda host: sysv(host, write=True),
    "shm.posix.read": posix_read,
    "shm.posix.change": posix_change,
    "socket.abstract": socket_abstract,
    "socket.path": socket_path,
    "socket.tcp": socket_tcp,
    "cgroup.path": cgroup_path,
    "cgroup.seen": cgroup_seen,
    "cgroup.write": cgroup_write,
}
