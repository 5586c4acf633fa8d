"""What an app's process may have, in plain values, and what this machine can hold it to."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from fedmed.errors import ConfigError, MissingPart

GIB = 2**30
FIRST_DYNAMIC, DYNAMIC = 61184, 4336
"""Users that nobody has: the range that systemd keeps for services."""
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/sys/devices/system")
"""Libraries that every program loads, the zone of its clock, and how many processors there are."""
OF_GPUS = ("/sys", "/etc/nv_tegra_release", "/etc/OpenCL")
"""Read by drivers where there is a GPU."""
GPUS = ("nvidia*", "nvidia-caps/*", "nvhost*", "nvmap", "nvgpu/*", "nvsciipc", "dri/render*")
"""Nodes below /dev of NVIDIA's drivers, on PCs and on Jetsons."""
TODO = {
    "user": "run the daemon as root, which gives the app a user of its own, or let users make namespaces",
    "namespaces": (
        "set user.max_user_namespaces above 0, kernel.unprivileged_userns_clone to 1 and "
        "kernel.apparmor_restrict_unprivileged_userns to 0 where there are such settings; or run the daemon as root; in a "
        "container, let it call unshare and mount (docker run --security-opt seccomp=unconfined --cap-add SYS_ADMIN)"
    ),
    "landlock": "Linux 6.2 with landlock in the list that its parameter `lsm` gives",
    "seccomp": "a kernel with CONFIG_SECCOMP_FILTER, on x86-64 or aarch64",
}
"""The means there are, and how to get each."""
NEEDED = ("user", "namespaces", "seccomp")
"""What `strict` asks for; Landlock is a second lock on files that the app does not see anyway."""
Lacks = Mapping[str, str]
"""Means that cannot be had, and why."""


@dataclass(frozen=True)
class Cell:
    """One app's process: without network, keys or policy files, its data read-only.

    What each rung gives. Where the daemon is root, the app has namespaces of its own (it sees the files named here and
    nothing else, no other process, no network) and a user of its own, so that even a hole in one of them leaves it with
    nobody's rights. Where it is not, the same namespaces within a user namespace: the kernel still counts the app as the
    daemon's own user, and what separates them is what the app sees. Both have Landlock and the filter of system calls
    besides. Where namespaces cannot be had, these two and, under root, the other user remain: files that are not named stay
    closed, though not unseen (their names and sizes can be guessed at), no socket and no process is made, and the app may
    write nothing at all, since nothing would limit it. None of this holds against a hole in the kernel or in a GPU's driver.
    Memory is not limited: the app goes first when there is none left.
    """

    readable: tuple[Path, ...] = ()
    """The data set, and more folders that the app may read."""
    hidden: tuple[Path, ...] = ()
    """Keys, policy and approvals: refused where one of them lies within what may be read."""
    policy: Literal["strict", "as-available"] = "strict"
    """Whether an app is started where something of `NEEDED` lacks."""
    user: int | None = None
    """The user (uid) that a daemon which is root gives the app; None: an unused number, other for each process."""
    scratch_bytes: int = GIB // 4
    """Room, in memory, for files of the app's own; gone with its process."""
    answer_bytes: int = 4 * GIB
    """An answer of the app at most."""
    threads: int = 1024
    """Threads of the app at most, where it is the only one who is counted."""
    devices: tuple[Path, ...] = field(default_factory=lambda: gpus())
    """Nodes that it may use: those of GPUs."""

    def check(self) -> None:
        """Raises ConfigError where the app would see what it must not, or where what it may read is not there."""
        for path in self.readable:
            if not path.is_absolute() or not path.exists():
                raise ConfigError(f"the app may read {path}, which is not there; name a folder that is, from / on")
        for shown in (path.resolve() for path in (*self.readable, *system())):
            for path in self.hidden:
                if path.resolve().is_relative_to(shown):
                    raise ConfigError(
                        f"{path} must stay hidden from the app, and lies in {shown}, which it may read; move one of them"
                    )

    def refuse(self, lacks: Lacks) -> None:
        """Raises MissingPart where the policy is strict and something needed lacks."""
        missing = [name for name in NEEDED if name in lacks]
        if self.policy == "strict" and missing:
            told = "; ".join(f"{name}: {lacks[name]}; to get it: {TODO[name]}" for name in missing)
            raise MissingPart(
                f"this machine cannot confine an app as `confinement: strict` asks. {told}. Or write as-available there"
            )

    def places(self) -> list[Path]:
        """All that may be read, each by the name that it goes by and the one it is really at, outer folders first."""
        of_gpus = [Path(path) for path in OF_GPUS if self.devices]
        named = {path for each in (*system(), *self.readable, *of_gpus) for path in (each.absolute(), each.resolve())}
        return sorted((path for path in named if path.exists()), key=str)

    def said(self) -> str:
        """As text for `heard`; the app sees it, and is not told where anything is hidden."""
        return json.dumps({**asdict(self), "hidden": ()}, default=str)


def heard(text: str) -> Cell:
    """The cell that `said` put into words."""
    told: dict[str, Any] = json.loads(text)
    paths = {name: tuple(map(Path, told[name])) for name in ("readable", "hidden", "devices")}
    return Cell(**{**told, **paths})


def system() -> list[Path]:
    """The interpreter, its packages, this library, and the system's own libraries."""
    own = str(Path(__file__).resolve().parents[1])
    packages = [str(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return [Path(path) for path in (*SYSTEM, sys.prefix, sys.base_prefix, *packages, own)]


def user_for(place: Path, wished: int | None = None) -> int | None:
    """The user (uid) for apps that work below `place`: the one wished, or always the same of those that systemd keeps free.

    None where the daemon is not root, and no other user may be had.
    """
    if os.geteuid() != 0:
        return None
    return FIRST_DYNAMIC + zlib.crc32(str(place.resolve()).encode()) % DYNAMIC if wished is None else wished


def gpus() -> tuple[Path, ...]:
    """The nodes of this machine's GPUs, without the folders that some of them are in."""
    found = {path for pattern in GPUS for path in Path("/dev").glob(pattern) if path.is_char_device()}
    return tuple(sorted(found))
