"""Which system calls an app's process may make: a program of classic BPF that the kernel runs before each of them.

A list of what is refused, not of what is allowed: PyTorch and drivers of GPUs use most of what there is, and change with
each version. Refused is all that reaches another process, the network, the kernel's keys, or code of the kernel that has
often been broken. The process stays one: it makes threads, and no processes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct

from fedmed.confinement import syscalls
from fedmed.confinement.numbers import Processor

REFUSED = (
    # another process, and new ones
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "pidfd_open"),
    *("pidfd_getfd", "pidfd_send_signal", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"),
    *("fork", "vfork", "execve", "execveat"),
    # the network, and every other way to be heard
    *("socket", "connect", "bind", "listen", "shmget", "shmat", "semget", "msgget", "mq_open"),
    # what is mounted, namespaces, names of files that lead round them
    *("mount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr", "move_mount", "fsopen", "fsconfig"),
    *("fsmount", "fspick", "mount_setattr", "unshare", "setns", "name_to_handle_at", "open_by_handle_at"),
    *("quotactl", "quotactl_fd"),
    # the kernel: keys, programs, events, modules, its own log
    *("keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter"),
    *("io_uring_register", "fanotify_init", "lookup_dcookie", "syslog", "kexec_load", "kexec_file_load", "init_module"),
    *("finit_module", "delete_module", "modify_ldt", "personality"),
    # the machine
    *("acct", "swapon", "swapoff", "reboot", "sethostname", "setdomainname", "settimeofday", "clock_settime", "adjtimex"),
    *("clock_adjtime", "iopl", "ioperm", "vhangup"),
)  # fmt: skip
REFUSED_AMONG_OTHERS = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "file_setattr"),
    *("utime", "utimes", "futimesat", "utimensat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
    *("removexattr", "lremovexattr", "fremovexattr", "removexattrat", "inotify_add_watch"),
    *("setpriority", "ioprio_set", "sched_setparam", "sched_setscheduler", "sched_setattr"),
)  # fmt: skip
"""Where the app has no namespaces: Landlock watches who opens a file, not who changes its mode, owner or times."""
CLONE_THREAD = 0x00010000
LOAD, EQUAL, AT_LEAST, HAS_BIT, RETURN, AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
NUMBER, AUDIT, ARGUMENTS = 0, 4, 16
"""Where struct seccomp_data has them, in octets."""
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
SET_MODE_FILTER = 1
Step = tuple[int, int, int, int]
"""Code, how far to jump if so and if not, operand: struct sock_filter."""


def program(processor: Processor, pid: int, is_apart: bool) -> list[Step]:
    """The filter for the process `pid`, as its own namespace numbers it; `is_apart`: it sees no files but its own."""
    allow, refuse = (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERRNO | errno.EPERM)
    steps = [(LOAD, 0, 0, AUDIT), (EQUAL, 1, 0, processor.audit), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    if processor.other_calls is not None:
        steps += [(AT_LEAST, 0, 1, processor.other_calls), refuse]
    for name in REFUSED if is_apart else (*REFUSED, *REFUSED_AMONG_OTHERS):
        if name in processor.calls:
            steps += [(EQUAL, 0, 1, processor.calls[name]), refuse]
    # its arguments lie in memory, where a filter cannot see; a C library that is told so uses clone
    steps += [(EQUAL, 0, 1, processor.calls["clone3"]), (RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    own = [(EQUAL, 1, 0, pid), refuse, allow]
    rules: dict[str, list[Step]] = {
        "clone": [_argument(0), (HAS_BIT, 1, 0, CLONE_THREAD), refuse, allow],
        "kill": [_argument(0), *own],
        "tgkill": [_argument(0), *own],
        "prlimit64": [_argument(0), (EQUAL, 2, 0, 0), *own],
        "prctl": [_argument(0), *_refuses(syscalls.PR_SET_PDEATHSIG), *_refuses(syscalls.PR_SET_DUMPABLE), allow],
        # a pair of datagram sockets could send to anybody's name
        "socketpair": [
            *(_argument(0), (EQUAL, 1, 0, socket.AF_UNIX), refuse),
            *(_argument(1), (AND, 0, 0, 0xF), (EQUAL, 1, 0, socket.SOCK_STREAM), refuse, allow),
        ],
    }
    for name, rule in rules.items():
        steps += [(EQUAL, 0, len(rule), processor.calls[name]), *rule]
    return [*steps, allow]


def _argument(index: int) -> Step:
    return (LOAD, 0, 0, ARGUMENTS + 8 * index)  # the low half: these arguments are ints, little-endian


def _refuses(value: int) -> list[Step]:
    return [(EQUAL, 0, 1, value), (RETURN, 0, 0, ERRNO | errno.EPERM)]


def restrict(is_apart: bool) -> None:
    """Put the filter on this process, which must have no other thread and no_new_privs. Raises OSError."""
    put(program(syscalls.processor(), os.getpid(), is_apart))


def put(steps: list[Step]) -> None:
    """Put any filter on this process, for good. Raises OSError."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    syscalls.call("seccomp", SET_MODE_FILTER, 0, struct.pack("@HP", len(steps), ctypes.addressof(code)))
