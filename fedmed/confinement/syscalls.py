"""System calls that the standard library of Python 3.11 lacks, each raising OSError as its own do."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from fedmed.confinement.numbers import PROCESSORS, Processor

NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 4, 24, 38, 47
CAP_AMBIENT_CLEAR_ALL, LAST_CAP = 4, 63
AT_FDCWD, AT_RECURSIVE = -100, 0x8000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def processor() -> Processor:
    """This machine's. Raises OSError for one whose system calls are not known here."""
    machine = os.uname().machine
    if machine not in PROCESSORS:
        raise OSError(f"system calls of {machine} are not known to fedmed; known are {', '.join(PROCESSORS)}")
    return PROCESSORS[machine]


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """One system call; addresses are bytes or buffers, everything else a whole number."""
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    made = int(_libc.syscall(ctypes.c_long(processor().calls[name]), *given))
    if made < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return made


def unshare(flags: int) -> None:
    """Go on in new namespaces."""
    call("unshare", flags)


def mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    """mount(2)."""
    call("mount", source.encode(), os.fsencode(target), kind.encode(), flags, options.encode())


def bind(source: Path, target: Path, is_device: bool = False) -> None:
    """Show `source` at `target`, with what is mounted in it, to be read alone; a device may be written."""
    mount(os.fspath(source), target, "none", BIND | RECURSIVE)
    wanted = NOSUID if is_device else RDONLY | NOSUID | NODEV
    try:
        attributes = (wanted).to_bytes(8, "little") + bytes(24)
        call("mount_setattr", AT_FDCWD, os.fsencode(target), AT_RECURSIVE, attributes, len(attributes))
    except OSError:  # before Linux 5.12; what is mounted within stays as it is
        kept = os.statvfs(target).f_flag & (NOSUID | NODEV | NOEXEC)
        mount("none", target, "none", REMOUNT | BIND | wanted | kept)


def pivot_root(root: Path) -> None:
    """Make `root`, a mount point, all that this process sees."""
    os.chdir(root)
    call("pivot_root", b".", b".")  # the old root lies upon the new one, pivot_root(2) "pivot_root(".", ".")"
    call("umount2", b".", DETACH)
    os.chdir("/")


def prctl(option: int, *arguments: int) -> None:
    """prctl(2) with whole numbers."""
    call("prctl", option, *(*arguments, 0, 0, 0, 0)[:4])


def drop_capabilities() -> None:
    """Every one of them, for good."""
    for number in range(LAST_CAP + 1):
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError:  # this kernel has fewer, or they may not be dropped: then there are none to drop
            break
    prctl(PR_CAP_AMBIENT, CAP_AMBIENT_CLEAR_ALL)
    version = (0x20080522).to_bytes(4, "little") + bytes(4)  # _LINUX_CAPABILITY_VERSION_3, for this process
    call("capset", version, bytes(24))
