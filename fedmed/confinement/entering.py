"""Going into the cell, for good: what a new process does with itself before it imports an app."""

from __future__ import annotations

import os
import pwd
import resource
import select
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fedmed.confinement import landlock, seccomp, syscalls
from fedmed.confinement.cell import DYNAMIC, FIRST_DYNAMIC, Cell

PLAIN_DEVICES = ("null", "zero", "full", "random", "urandom")
MOUNT_POINTS = ("/mnt", "/media", "/srv", "/opt", "/home", "/var")
"""Where the new root may be made; nobody but the app sees it."""
OWN_PROC = ("cpuinfo", "meminfo", "stat", "loadavg")
"""What of /proc is read where it cannot be the app's own."""
SCRATCH = Path("/tmp")
NAMESPACES = syscalls.NEWNS | syscalls.NEWNET | syscalls.NEWIPC | syscalls.NEWPID | syscalls.NEWUTS | syscalls.NEWCGROUP
OPEN_FILES = 4096
SIGNALLED = 128
"""Added to a signal's number where it is an exit code, as shells do."""


@dataclass
class Entered:
    """How it went."""

    lacks: dict[str, str] = field(default_factory=dict)
    """Means that could not be had, and why."""
    fault: str = ""
    """Why the app cannot work in there all the same."""


def enter(cell: Cell, control: int) -> Entered:
    """Fork a process that is in the cell, and return in it; this one waits for it, and ends it when its own stdin closes.

    Of one thread, with `control` as the one descriptor beside 0 to 2 that the app's process keeps.
    """
    entered = Entered()
    was_root, user = os.geteuid() == 0, cell.user or FIRST_DYNAMIC + os.getpid() % DYNAMIC
    is_apart = _in_namespaces(entered, was_root)
    child = os.fork()
    if child:
        os.close(control)
        _guard(child)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    os.setsid()
    if is_apart:
        try:
            _see_only(cell, was_root)
        except OSError as error:
            entered.lacks["namespaces"] = _why(error)
            is_apart = False
    _be_nobody(cell, user, was_root, is_apart, entered)
    _limit(cell, was_root or is_apart)
    _lock(cell, is_apart, entered)
    return entered


def _in_namespaces(entered: Entered, is_root: bool) -> bool:
    user, group = os.geteuid(), os.getegid()
    try:
        syscalls.unshare(NAMESPACES if is_root else NAMESPACES | syscalls.NEWUSER)
        if not is_root:
            for name, said in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
                Path(f"/proc/self/{name}").write_text(said)
    except OSError as error:
        entered.lacks["namespaces"] = _why(error)
        return False
    return True


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _guard(child: int) -> None:
    """Ends with the child, and the child with whoever holds the other end of this process's stdin."""
    handle = os.pidfd_open(child)
    waiting = select.poll()
    for each in (handle, 0):
        waiting.register(each, select.POLLIN)
    if handle not in [number for number, _ in waiting.poll()]:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else SIGNALLED - code)


def _see_only(cell: Cell, is_root: bool) -> None:
    """A root of its own, in memory, in which what may be read is shown, read-only."""
    os.umask(0o022)
    syscalls.mount("none", Path("/"), "none", syscalls.RECURSIVE | syscalls.PRIVATE)
    places = cell.places()
    root = _mount_point(places)
    syscalls.mount("tmpfs", root, "tmpfs", syscalls.NOSUID | syscalls.NODEV, "mode=0755,size=1m")
    scratch = _inside(root, SCRATCH)
    scratch.mkdir()
    room = f"mode=1777,size={cell.scratch_bytes},nr_inodes=4096"
    syscalls.mount("tmpfs", scratch, "tmpfs", syscalls.NOSUID | syscalls.NODEV | syscalls.NOEXEC, room)
    shown: list[Path] = []
    for path in places:
        if not any(path.is_relative_to(each) and path.resolve().is_relative_to(each.resolve()) for each in shown):
            _show(path, root)
            shown.append(path)
    for device in (*(Path("/dev") / name for name in PLAIN_DEVICES), *cell.devices):
        _show(device, root, is_device=True)
    (root / "dev" / "shm").symlink_to(SCRATCH)
    (root / "proc").mkdir(exist_ok=True)
    with suppress(OSError):  # within some containers no new one may be mounted; libraries do without
        syscalls.mount("proc", root / "proc", "proc", syscalls.NOSUID | syscalls.NODEV | syscalls.NOEXEC)
    kept = 0 if is_root else syscalls.NOSUID | syscalls.NODEV
    syscalls.mount("none", root, "none", syscalls.REMOUNT | syscalls.BIND | syscalls.RDONLY | syscalls.NOSUID | kept)
    syscalls.pivot_root(root)


def _mount_point(places: list[Path]) -> Path:
    for path in map(Path, MOUNT_POINTS):
        if path.is_dir() and not any(each.is_relative_to(path) for each in places):
            return path
    raise FileNotFoundError(f"no folder among {', '.join(MOUNT_POINTS)} that holds nothing of what the app reads")


def _inside(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _show(path: Path, root: Path, is_device: bool = False) -> None:
    if not path.exists():
        return
    target = _inside(root, path)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    if path.is_dir():
        target.mkdir(exist_ok=True, mode=0o755)
    else:
        target.touch(exist_ok=True)
    syscalls.bind(path, target, is_device)


def _be_nobody(cell: Cell, user: int, was_root: bool, is_apart: bool, entered: Entered) -> None:
    """Another user where there may be one; then no capability, whoever it is."""
    if was_root:
        try:
            os.setgroups(sorted({path.stat().st_gid for path in cell.devices} - {0}))
            group = group_of(user)
            os.setresgid(group, group, group)
            os.setresuid(user, user, user)
        except OSError as error:
            entered.lacks["user"] = _why(error)
    elif not is_apart:
        entered.lacks["user"] = "the daemon is not root, and makes no user namespace"
    syscalls.drop_capabilities()
    for path in (Path(sys.executable), *cell.readable):
        if not os.access(path, os.R_OK):
            entered.fault = f"user {os.getuid()} may not read {path}; give it the right to (chmod o+rX, or setfacl)"


def group_of(user: int) -> int:
    """The group of a user; for one without a name, the same number."""
    try:
        return pwd.getpwuid(user).pw_gid
    except KeyError:
        return user


def _limit(cell: Cell, is_counted_alone: bool) -> None:
    os.umask(0o077)
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: cell.answer_bytes, resource.RLIMIT_NOFILE: OPEN_FILES}
    if is_counted_alone:
        limits[resource.RLIMIT_NPROC] = cell.threads
    for kind, most in limits.items():
        hard = resource.getrlimit(kind)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))
    with suppress(OSError):  # the app goes first when memory runs out
        Path("/proc/self/oom_score_adj").write_text("1000")


def _lock(cell: Cell, is_apart: bool, entered: Entered) -> None:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    own = Path("/proc/self").resolve()  # by the number that this /proc knows it by
    proc = [Path("/proc")] if is_apart else [own, *(Path("/proc") / name for name in OWN_PROC)]
    writable = [SCRATCH] if is_apart else []
    devices = [*(Path("/dev") / name for name in PLAIN_DEVICES), *cell.devices]
    os.chdir(SCRATCH if is_apart else "/")
    try:
        landlock.restrict([*cell.places(), *proc], writable, devices)
    except OSError as error:
        entered.lacks["landlock"] = _why(error)
    try:
        seccomp.restrict(is_apart)
    except OSError as error:
        entered.lacks["seccomp"] = _why(error)
