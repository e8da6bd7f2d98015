"""The answers a look can give, and how the kernel's files are read."""

import errno
import os

REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


class UnknownError(Exception):
    """There is no answer, for this reason."""


def shared(evidence):
    return 1, "shared", evidence


def own(evidence):
    return 0, "own", evidence


def restricted(evidence):
    return 0, "restricted", evidence


def failed(error, missing=own):
    """The answer that an error of the kernel is; `missing` where there simply is no such thing."""
    text = error.strerror or str(error)
    return restricted(text) if error.errno in REFUSED else missing(text)


def of_kernel(host, evidence):
    """Shared with the host, unless another kernel said so."""
    return own(f"{evidence}, of another kernel") if foreign(host) else shared(evidence)


def planted(host, name):
    """What the host says of a marker."""
    value = host.get(name)
    if value is None:
        raise UnknownError(host.get("missing", {}).get(name, "nothing was planted: run by hand"))
    return value


def told(host, name, none="the host itself has none"):
    """What the host says of itself."""
    if not host:
        raise UnknownError("no host to compare with: run by hand")
    if not host.get(name):
        raise UnknownError(none)
    return host[name]


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def text_of(path):
    """The same, None where it cannot be read."""
    try:
        return read(path).strip()
    except OSError:
        return None


def field(path, name):
    """The value of "NAME: value" in a file; None where there is none."""
    for line in (text_of(path) or "").splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == name:
            return value.strip()
    return None


def foreign(host):
    """Whether the kernel here is another one than the host's: the numbers of namespaces do not tell."""
    return bool(host) and text_of("/proc/sys/kernel/random/boot_id") != host["boot"]


def libc():
    try:
        import ctypes
    except ImportError as error:
        raise UnknownError("this Python has no ctypes") from error
    library = ctypes.CDLL(None, use_errno=True)
    library.shmat.restype = ctypes.c_void_p
    library.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
    library.shmdt.argtypes = (ctypes.c_void_p,)
    return ctypes, library


def holds(host, path):
    """The answer for a file that should hold the planted token."""
    try:
        text = read(path)
    except OSError as error:
        return failed(error)
    return shared(f"it was read at {path}") if text.startswith(host["token"]) else own("another content")


def changed(host, path):
    """The same for changing it: one byte is put behind the token."""
    if not (found := holds(host, path))[0]:
        return found
    try:
        with open(path, "ab") as file:
            file.write(b"!")
    except OSError as error:
        return failed(error)
    return shared("a byte was written behind it")


def writable(host, path):
    """Whether the file opens for writing; nothing is written."""
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        return failed(error, restricted)
    return of_kernel(host, "it opens for writing")
