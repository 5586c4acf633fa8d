"""Which files a process may open, and that it opens no connection, by Linux' Landlock: needs no right at all.

Source: include/uapi/linux/landlock.h of Linux 6.18; numbers behind the rights are the ABI that has them first.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from fedmed.confinement import syscalls

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL = 1 << 14, 1 << 15
FIRST_RIGHTS, RIGHTS = 13, {2: 14, 3: 15, 5: 16}
"""How many bits of rights on files there are, at first and from these ABIs on."""
NETWORK, NETWORK_ABI = 0b11, 4
"""To bind and to connect TCP."""
SCOPES, SCOPES_ABI = 0b11, 6
"""Abstract sockets and signals do not leave the process's own domain."""
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL
GET_VERSION, PATH_BENEATH = 1, 1
NEEDED_ABI = 3
"""Without a right to truncate, what may not be written could still be emptied."""


def abi() -> int:
    """The kernel's version of Landlock. Raises OSError where it has none, or it is switched off."""
    return syscalls.call("landlock_create_ruleset", None, 0, GET_VERSION)


def restrict(readable: Iterable[Path], writable: Iterable[Path], devices: Iterable[Path]) -> None:
    """For good: what is named may be read, what is writable also made, changed and removed; all else may not be opened.

    Nothing may be executed. What is not there is left out. Needs no_new_privs. Raises OSError.
    """
    version = abi()
    if version < NEEDED_ABI:
        raise OSError(f"Landlock's ABI is {version}; {NEEDED_ABI} is needed (Linux 6.2)")
    every = (1 << max([FIRST_RIGHTS, *(bits for since, bits in RIGHTS.items() if version >= since)])) - 1
    attributes = struct.pack("=QQQ", every, NETWORK if version >= NETWORK_ABI else 0, SCOPES if version >= SCOPES_ABI else 0)
    known = 8 if version < NETWORK_ABI else 16 if version < SCOPES_ABI else 24
    rules = syscalls.call("landlock_create_ruleset", attributes[:known], known, 0)
    try:
        for rights, paths in (
            (READ_FILE | READ_DIR, readable),
            (every & ~EXECUTE, writable),
            (every & (READ_FILE | WRITE_FILE | IOCTL), devices),
        ):
            for path in paths:
                with suppress(FileNotFoundError):
                    _allow(rules, path, rights)
        syscalls.call("landlock_restrict_self", rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not path.is_dir():
            rights &= OF_FILES
        syscalls.call("landlock_add_rule", rules, PATH_BENEATH, struct.pack("=Qi", rights, handle), 0)
    finally:
        os.close(handle)
