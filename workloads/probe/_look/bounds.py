"""The boundary itself: namespaces, names, users, capabilities, filters."""

import fcntl
import os
import socket
import struct

from _look.answers import UnknownError, field, foreign, of_kernel, own, restricted, shared, text_of, told

NAMES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable "
    "net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot "
    "sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease "
    "audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read "
    "perfmon bpf checkpoint_restore"
)
CAPABILITIES = NAMES.split()  # the place of each is its number in <linux/capability.h>
SIOCGIFHWADDR = 0x8927


def namespace(kind):
    def look(host):
        theirs = told(host, "namespaces").get(kind)
        if theirs is None:
            raise UnknownError(f"the host's kernel has no {kind} namespaces")
        try:
            number = os.stat(f"/proc/self/ns/{kind}").st_ino
        except OSError as error:
            if not foreign(host):
                raise
            return own(f"another kernel, which shows none: {error.strerror}")
        text = f"inode {number}"
        return of_kernel(host, text) if number == theirs else own(f"{text}, the host's is {theirs}")

    return look


def capabilities(kind, line):
    def look(host):
        text = field("/proc/self/status", line)
        if text is None:
            raise UnknownError(f"no {line} in /proc/self/status")
        mask, full = int(text, 16), (1 << len(CAPABILITIES)) - 1
        theirs = int(host["capabilities"][kind], 16) if host else full
        held = [name for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1]
        lacking = [name for bit, name in enumerate(CAPABILITIES) if not mask >> bit & 1]
        named = " ".join(held) if len(held) <= len(lacking) else f"all but {' '.join(lacking)}"
        named = named if lacking else "all"
        evidence = f"{len(held)} of {len(CAPABILITIES)}: {named}"
        if foreign(host):
            return own(evidence + ", of another kernel")
        if host and os.stat("/proc/self/ns/user").st_ino != host["namespaces"]["user"]:
            return own(evidence + ", over a user namespace of its own")
        return restricted(evidence) if theirs & ~mask else shared(evidence)

    return look


def seccomp(host):
    mode = field("/proc/self/status", "Seccomp")
    if mode is None:
        raise UnknownError("no Seccomp in /proc/self/status")
    return of_kernel(host, "mode 0, no filter") if mode == "0" else restricted(f"mode {mode}, a filter")


def privileges(host):
    flag = field("/proc/self/status", "NoNewPrivs")
    if flag is None:
        raise UnknownError("no NoNewPrivs in /proc/self/status")
    return of_kernel(host, "no_new_privs is 0") if flag == "0" else restricted("no_new_privs is 1")


def lsm(host):
    for path in ("/proc/self/attr/apparmor/current", "/proc/self/attr/current"):
        label = (text_of(path) or "").rstrip("\0\n")
        if label:
            free = label.startswith("unconfined") or ":unconfined_t:" in label
            return of_kernel(host, label) if free else restricted(label)
    raise UnknownError("no security module labels processes here")


def user_root(host):
    for line in (text_of("/proc/self/uid_map") or "").splitlines():
        inside, outside, count = map(int, line.split())
        if inside == 0:
            text = f"0 is {outside} outside, {count} numbers are mapped"
            return of_kernel(host, text) if outside == 0 else own(text)
    return own("no root is mapped") if host else restricted("no root is mapped")


def address_of(name):
    """The hardware address of an interface as hexadecimal text."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            found = fcntl.ioctl(any_socket, SIOCGIFHWADDR, struct.pack("256s", name.encode()))
        except OSError:
            return ""
    return found[18:24].hex()


def interfaces(host):
    theirs = told(host, "interfaces", "the host has no interface but lo")
    names = [name for _, name in socket.if_nameindex()]
    same = [name for name in names if name in theirs and address_of(name) == theirs[name]]
    return shared(f"{len(same)} of the host's {len(theirs)}") if same else own(" ".join(names) or "none")


def hostname(host):
    name = os.uname().nodename
    same = name == told(host, "hostname")
    return of_kernel(host, "the host's own name") if same else own(f"it is called {name}")


LOOKS = {
    "user.root": user_root,
    "interfaces": interfaces,
    "hostname": hostname,
    **{f"ns.{k}": namespace(k) for k in ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time")},
    "caps.effective": capabilities("effective", "CapEff"),
    "caps.bounding": capabilities("bounding", "CapBnd"),
    "seccomp": seccomp,
    "privileges": privileges,
    "lsm": lsm,
}
