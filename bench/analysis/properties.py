"""What the probe looks at: every property, what it means, and which kind of namespace alone changes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.model import KINDS


@dataclass(frozen=True, slots=True)
class Property:
    """One row. `name` is the observation's without "look."; `meaning` says what a shared one lets happen.

    `kinds` are the kinds of namespace of which a new one, and nothing else, changes the row of a root process
    from shared; `depends` are those for which it depends on how the kernel is configured.
    """

    name: str
    group: str
    title: str
    meaning: str
    kinds: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()


PREFIX = "look."
STATE = "state"
"""Unit of findings whose value is 1 or 0, with one of `STATES` as evidence of that name."""
STATES = ("shared", "own", "restricted")
"""With the host; another one in its place; none at all, or refused."""
GROUPS: Mapping[str, str] = {
    "processes": "Processes and users",
    "files": "Files and mounts",
    "memory": "Shared memory",
    "network": "Network and names",
    "namespaces": "Namespaces",
    "groups": "Control groups",
    "privileges": "Privileges",
    "kernel": "Kernel",
    "hardware": "Hardware",
}
_OF_KIND = {
    "mnt": "Mounts made later, by either side, show on the other.",
    "pid": "Numbers of processes mean the same inside and outside.",
    "net": "Interfaces, addresses, ports and abstract sockets are those of the host.",
    "ipc": "System V shared memory, semaphores and message queues are those of the host.",
    "uts": "Host name and domain name are those of the host, for changing as well.",
    "user": "User numbers and capabilities count as they do on the host.",
    "cgroup": "The path of the own control group is shown from the root of the host's tree.",
    "time": "The clocks that count from the boot are those of the host.",
}

PROPERTIES: tuple[Property, ...] = (
    Property("process.seen", "processes", "Sees a process",
             "A tenant can read what runs on the host: names, and often command lines."),
    Property("process.signal", "processes", "Signals a process",
             "A tenant can stop or end what runs on the host.", ("pid", "user")),
    Property("user.seen", "processes", "Tells its user",
             "A number of a user means the same user inside and outside.", ("user",)),
    Property("user.root", "processes", "Root is root of the host",
             "Who breaks out as root is root of the host."),
    Property("file.read", "files", "Reads a file", "A tenant can read what the host stores."),
    Property("file.change", "files", "Changes a file", "A tenant can change what the host stores."),
    Property("user.file", "files", "Changes another user's file",
             "Root inside passes over the owners of files, as root of the host does.", ("user",)),
    Property("mount.seen", "files", "Sees a mount", "A tenant can tell which file systems the host uses."),
    Property("mount.late", "files", "Sees a mount made later",
             "What the host mounts while the tenant runs shows inside at once.", ("mnt",)),
    Property("shm.posix.read", "memory", "Reads a POSIX object",
             "A tenant can read what programs of the host exchange below /dev/shm."),
    Property("shm.posix.change", "memory", "Changes a POSIX object",
             "A tenant can change what programs of the host exchange below /dev/shm."),
    Property("shm.sysv.read", "memory", "Reads a System V segment",
             "A tenant can read what programs of the host exchange in segments.", ("ipc",)),
    Property("shm.sysv.change", "memory", "Changes a System V segment",
             "A tenant can change what programs of the host exchange in segments.", ("ipc",)),
    Property("socket.path", "network", "Reaches a socket in the file system",
             "A tenant can speak to a service of the host whose socket it finds as a file."),
    Property("socket.abstract", "network", "Reaches an abstract socket",
             "A tenant can speak to a service of the host that listens on a name without a file.", ("net",)),
    Property("socket.tcp", "network", "Reaches a port on 127.0.0.1",
             "A tenant can speak to services that the host means for itself alone.", ("net",)),
    Property("interfaces", "network", "Sees the interfaces",
             "A tenant sees the links of the host, and as root configures them.", ("net",)),
    Property("hostname", "network", "Has the host's name",
             "A tenant knows the name of the host, and as root changes it.", ("uts",)),
    Property("docker", "network", "Reaches the Docker socket",
             "Who may speak to the engine can have it do anything as root of the host."),
    *(Property(f"ns.{kind}", "namespaces", f"{kind} namespace of the host", _OF_KIND[kind], (kind,))
      for kind in KINDS),
    Property("cgroup.path", "groups", "Reads its place in the host's tree",
             "A tenant can tell how the host arranges its tenants.", ("cgroup",)),
    Property("cgroup.seen", "groups", "Sees another group",
             "A tenant can read limits and use of its neighbours."),
    Property("cgroup.write", "groups", "Could change another group",
             "A tenant could lift its own limits, or set those of others."),
    Property("caps.effective", "privileges", "Capabilities in force",
             "All that root of the host may do, a root process inside may do.", ("user",)),
    Property("caps.bounding", "privileges", "Capabilities to be had",
             "A program inside can gain every power of the host's root.", ("user",)),
    Property("seccomp", "privileges", "Every system call",
             "No filter stands before the kernel's entries, the rarely used ones included."),
    Property("privileges", "privileges", "Can gain privileges",
             "A set-uid program inside runs with the rights of its owner."),
    Property("lsm", "privileges", "Not confined by a security module",
             "No profile of AppArmor or SELinux bounds what the tenant may do."),
    Property("kernel.release", "kernel", "Kernel release",
             "A flaw of the host's kernel is a flaw of the boundary."),
    Property("kernel.boot", "kernel", "Boot id", "It is one and the same running kernel."),
    Property("kernel.uptime", "kernel", "Up since the host's boot",
             "A tenant can tell when the host was booted.", ("time",)),
    Property("kernel.sysctl", "kernel", "Could set kernel parameters",
             "A tenant could change how the host's kernel behaves, for everybody."),
    Property("kernel.memory", "kernel", "Could read the kernel's memory",
             "A tenant could read everything, keys of others included.", ("user",)),
    Property("kernel.symbols", "kernel", "Reads addresses in the kernel",
             "A tenant knows where in memory the kernel's functions are, as exploits need.", (), ("user",)),
    Property("kernel.log", "kernel", "Reads the kernel's log",
             "A tenant can read what the kernel says of the host and of others.", (), ("user",)),
    Property("hardware.cpus", "hardware", "Number of CPUs",
             "A program that sizes itself by it takes the whole host."),
    Property("hardware.memory", "hardware", "Size of the memory",
             "A program that sizes itself by it takes the whole host."),
    Property("hardware.model", "hardware", "CPU model",
             "A tenant knows what it runs on, as exploits of CPUs need."),
    Property("hardware.disks", "hardware", "List of disks",
             "A tenant knows the disks of the host by name and size."),
    Property("hardware.pci", "hardware", "List of PCI devices", "A tenant knows which devices the host has."),
    Property("hardware.dmi", "hardware", "Maker of the machine", "A tenant knows whose machine it is on."),
    Property("devices", "hardware", "Device nodes beyond the usual",
             "Root inside can open the host's devices, its disks among them."),
)  # fmt: skip
BY_NAME: Mapping[str, Property] = {p.name: p for p in PROPERTIES}


def changed_by(kind: str) -> frozenset[str]:
    """Names of the rows that a new namespace of that kind changes by itself, however the kernel is set."""
    return frozenset(p.name for p in PROPERTIES if kind in p.kinds)


def maybe_changed_by(kind: str) -> frozenset[str]:
    """Names of the rows for which that depends on the kernel's settings."""
    return frozenset(p.name for p in PROPERTIES if kind in p.depends)
