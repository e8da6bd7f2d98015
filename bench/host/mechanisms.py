"""The mechanisms a container is made of: a bundle's `config.json` with some of them and no other; pure.

Source: opencontainers/runtime-spec 1.0, config-linux.md; capabilities(7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import SandboxError, UsageError
from bench.limits import nearest
from bench.model import Missing

NS, NET, USER, OVERLAY, CAPS, SECCOMP, MASKS = MECHANISMS = (
    "ns", "net", "user", "overlay", "caps", "seccomp", "masks",
)  # fmt: skip
"""In the order in which a ladder adds them."""
MEANING: Mapping[str, str] = {
    NS: "PID, mount, UTS and IPC namespaces",
    NET: "a network namespace with a veth to a bridge",
    USER: "a user namespace",
    OVERLAY: "an overlay as root, with a layer to write to",
    CAPS: "capabilities dropped, Docker's default ones kept",
    SECCOMP: "Docker's default system call filter",
    MASKS: "a cgroup namespace, masked paths, device rules, no new privileges",
}
KINDS: Mapping[str, tuple[str, ...]] = {
    NS: ("pid", "mount", "uts", "ipc"), NET: ("network",), USER: ("user",), MASKS: ("cgroup",),
}  # fmt: skip
"""The namespaces that come with a mechanism, as an OCI runtime calls them."""
MAPPED = 65536
"""Users and groups of a user namespace. Each is itself outside, so that the files keep their owners."""
DOCKER_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
)  # fmt: skip
"""What Docker leaves to a container that is not privileged."""
# By their numbers, from 0 on.
CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT",
    "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE",
    "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
    "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip


def is_named(variant: str) -> bool:
    """Whether the words of a variant are mechanisms, or meant to be: "ns+net", and not "crun"."""
    return variant.partition("+")[0] == NS or "+" in variant


def chosen(variant: str) -> tuple[str, ...]:
    """The mechanisms in "ns+net+caps", in the order of a ladder; UsageError for words that are none."""
    words = variant.split("+")
    for word in words:
        if word not in MECHANISMS:
            raise UsageError(f"runc:{variant}: '{word}' is no mechanism{nearest(word, MECHANISMS)}",
                             fix=f"they are: {', '.join(MECHANISMS)}, joined by +")  # fmt: skip
    if NS not in words:
        raise UsageError(f"runc:{variant}: a bundle has namespaces in any case", fix=f"runc:ns+{variant}")
    return tuple(m for m in MECHANISMS if m in words)


def lacking(words: Sequence[str], root: Path = Path("/")) -> Missing | None:
    """What this kernel does not have of them, if so."""
    if OVERLAY in words and "overlay" not in (root / "proc/filesystems").read_text().split():
        return Missing("overlay", "this kernel has no overlay yet", "modprobe overlay")
    if USER in words and not (root / "proc/self/ns/user").exists():
        return Missing("user", "this kernel has no user namespaces")
    if SECCOMP in words and "Seccomp:" not in (root / "proc/self/status").read_text():
        return Missing("seccomp", "this kernel has no system call filters")
    return None


def configured(
    full: Mapping[str, Any],
    words: Sequence[str],
    *,
    held: Sequence[str],
    root: Path | None = None,
    seccomp: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`config.json` of a bundle with those mechanisms and no other.

    `full` is what `oci.configuration` makes; `held` are the capabilities of this process, all of which a
    bundle without `CAPS` keeps; `root` is the overlay; `seccomp` the filter. SandboxError where a
    mechanism was chosen and what it needs is not given.
    """
    if (OVERLAY in words and root is None) or (SECCOMP in words and seccomp is None):
        raise SandboxError(f"of {'+'.join(words)} the overlay or the filter is missing")
    kinds = [kind for word in words for kind in KINDS.get(word, ())]
    linux = dict(full["linux"])
    linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] in kinds]
    mounts = list(full["mounts"])
    if USER in words:
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": MAPPED}]
        # A new sysfs belongs to the network namespace, and that may be of the user namespace outside.
        mounts = [_bound(m) if m["type"] == "sysfs" else m for m in mounts]
    kept = [c for c in held if CAPS not in words or c in DOCKER_CAPABILITIES]
    powers = dict.fromkeys(("bounding", "effective", "permitted"), kept)
    process = {**full["process"], "noNewPrivileges": MASKS in words, "capabilities": powers}
    if MASKS not in words:
        linux |= {"maskedPaths": [], "readonlyPaths": []}
        linux["resources"] = {**linux["resources"], "devices": [{"allow": True, "access": "rwm"}]}
    if SECCOMP in words:
        linux["seccomp"] = seccomp
    place = {"path": str(root), "readonly": False} if root and OVERLAY in words else full["root"]
    return {**full, "root": place, "process": process, "mounts": mounts, "linux": linux}


def _bound(mount: Mapping[str, Any]) -> dict[str, Any]:
    """The host's own in the place of a new sysfs."""
    return {**mount, "type": "bind", "source": "/sys", "options": ["rbind", "ro"]}


def held(status: str) -> tuple[str, ...]:
    """The capabilities that process may use, from the text of its /proc/PID/status."""
    bits = next(int(s.split()[1], 16) for s in status.splitlines() if s.startswith("CapEff:"))
    return tuple(name for number, name in enumerate(CAPABILITIES) if bits >> number & 1)
