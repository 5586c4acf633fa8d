"""A ClientApp that was approved, and tries whatever the order names; a plain module too, for the controls."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedmed.flower.arrays import borrow

app = ClientApp()
libc = ctypes.CDLL(None, use_errno=True)
TRIES: dict[str, Any] = {}


def a_try(function):
    TRIES[function.__name__] = function
    return function


def attempt(name: str, given: dict[str, Any]) -> str:
    """What came of it: `did ...`, or the name of the error."""
    try:
        return f"did {TRIES[name](**given)}"
    except (OSError, RuntimeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


@app.train()
def train(message: Message, context: Context) -> Message:
    order = json.loads(str(message.content["config"]["order"]))
    said = attempt(order["name"], order["given"])
    content = {"said": ConfigRecord({"said": said}), "arrays": borrow({"w": np.zeros((2, 2), np.float32)})}
    content["metrics"] = MetricRecord({"num-examples": 7, "loss": 0.25})
    if order["name"] == "smuggles":
        content["arrays"] = borrow({name: np.zeros(given, np.float32) for name, given in order["given"]["tensors"].items()})
        content["metrics"] = MetricRecord({"num-examples": 7, "loss": 0.25, **order["given"]["metrics"]})
    return Message(RecordDict(content), reply_to=message)


@a_try
def smuggles(tensors, metrics):
    return ""


def checked(made: int) -> int:
    if made < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return made


@a_try
def reads(path):
    with Path(path).open("rb") as file:
        return repr(file.read(40))


@a_try
def reads_of(pid, name):
    return reads(f"/proc/{pid}/{name}")


@a_try
def lists(path):
    return sorted(each.name for each in Path(path).iterdir())


@a_try
def writes(path):
    with Path(path).open("r+b") as file:
        return file.write(b"mine")


@a_try
def opens(path):
    os.close(os.open(path, os.O_RDWR | os.O_NOCTTY))


@a_try
def empties(path):
    return os.truncate(path, 0)


@a_try
def makes(path):
    return Path(path).write_bytes(b"new")


@a_try
def removes(path):
    return Path(path).unlink()


@a_try
def opens_to(path):
    return Path(path).chmod(0o777)


@a_try
def knows(variable):
    if variable not in os.environ:
        raise ValueError("no such variable")
    return os.environ[variable]


@a_try
def makes_socket(family, kind, protocol=0):
    socket.socket(family, kind, protocol).close()


@a_try
def makes_pair(kind):
    for each in socket.socketpair(socket.AF_UNIX, kind):
        each.close()


@a_try
def dials(port):
    socket.create_connection(("127.0.0.1", port), 5).close()


@a_try
def dials_unix(path):
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(path)


@a_try
def resolves(name):
    return socket.getaddrinfo(name, 80)[0][4]


@a_try
def signals(pid):
    os.kill(pid, signal.SIGURG)


@a_try
def signals_all():
    os.kill(-1, signal.SIGURG)


@a_try
def traces(pid):
    return checked(libc.ptrace(0x4206, pid, None, None))  # PTRACE_SEIZE


@a_try
def reads_memory(pid, address):
    data = ctypes.create_string_buffer(8)
    mine, theirs = (ctypes.c_size_t * 2)(ctypes.addressof(data), 8), (ctypes.c_size_t * 2)(address, 8)
    return checked(libc.process_vm_readv(pid, mine, 1, theirs, 1, 0))


@a_try
def opens_memory(pid):
    os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))


@a_try
def forks():
    if (child := os.fork()) == 0:
        os._exit(0)
    return os.waitpid(child, 0)[1]


@a_try
def spawns():
    return os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1]


@a_try
def executes():
    import subprocess

    return subprocess.run(["/bin/true"], check=True).returncode


@a_try
def clones():
    """A process by clone3, whose flags a filter cannot see."""
    arguments = (ctypes.c_uint64 * 11)()
    arguments[4] = signal.SIGCHLD
    child = checked(libc.syscall(435, ctypes.byref(arguments), ctypes.sizeof(arguments)))
    if child == 0:
        os._exit(0)
    return os.waitpid(child, 0)[1]


@a_try
def unshares():
    return checked(libc.unshare(0x10000000))


@a_try
def rings():
    """io_uring makes system calls that no filter sees."""
    parameters = ctypes.create_string_buffer(120)
    os.close(checked(libc.syscall(425, 1, parameters)))


@a_try
def keys():
    return checked(
        libc.syscall({"x86_64": 250, "aarch64": 219}[os.uname().machine], 0, -3, 0, 0, 0)
    )  # KEYCTL_GET_KEYRING_ID


@a_try
def opens_pid(pid):
    os.close(os.pidfd_open(pid))


@a_try
def threads(most):
    done = threading.Event()
    made = []
    try:
        for _ in range(most):
            made.append(threading.Thread(target=done.wait, daemon=True))
            made[-1].start()
    finally:
        done.set()
    return len(made)


@a_try
def fills(folder, most):
    block, written = bytes(2**20), 0
    with Path(folder, "hostile-full").open("wb", buffering=0) as file:
        while written < most:
            written += file.write(block)
    return written


@a_try
def clears_its_hold():
    """PR_SET_PDEATHSIG 0: so that it would outlive its owner."""
    return checked(libc.prctl(1, 0, 0, 0, 0))


@a_try
def dumps():
    return checked(libc.prctl(4, 1, 0, 0, 0))


@a_try
def names_descriptors():
    found = {}
    for number in range(64):
        try:
            found[number] = stat.filemode(os.fstat(number).st_mode)[0]
        except OSError:
            continue
    return found


@a_try
def is_user():
    return os.getuid(), os.getpid(), Path("/proc/self/status").read_text().split("CapEff:\t")[1][:16]


@a_try
def sleeps(seconds):
    time.sleep(seconds)


def control() -> socket.socket:
    for number in range(3, 64):
        try:
            return socket.socket(fileno=os.dup(number))
        except OSError:
            continue
    raise OSError("no socket")


def memory(content: bytes, seals: int, size: int | None = None) -> int:
    file = os.memfd_create("mine", os.MFD_ALLOW_SEALING)
    os.write(file, content)
    if size is not None:
        os.ftruncate(file, size)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    return file


@a_try
def says(how, number=1):
    """Answers by itself, on the socket that it found."""
    with control() as end:
        said = {"number": number, "reason": "" if how == "nothing" else "mine", "answer": None, "state": None, "asides": []}
        head = json.dumps(said).encode()
        whole = len(head).to_bytes(8, "little") + head + bytes(-(8 + len(head)) % 64) + (2).to_bytes(8, "little") + b"{}"
        every = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        deep = b"[" * 100_000
        made = {
            "raw": None,
            "unsealed": (whole, 0),
            "shrinkable": (whole, fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE),
            "writable": (whole, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW),
            "sparse": (whole, every, 2**19),
            "short": (b"x", every),
            "lying": ((2**60).to_bytes(8, "little") + bytes(100), every),
            "no json": ((64).to_bytes(8, "little") + b"\xff" * 64 + bytes(200), every),
            "deep": (len(deep).to_bytes(8, "little") + deep + bytes(200), every),
            "nothing": (whole, every),
            "another": (whole, every),
        }[how]
        if made is None:
            end.send(b"a raw reply")
        else:
            socket.send_fds(end, [b"\0"], [memory(*made)])
        time.sleep(60)


@a_try
def says_large(size):
    with control() as end:
        every = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        file = os.memfd_create("mine", os.MFD_ALLOW_SEALING)
        os.posix_fallocate(file, 0, size)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, every)
        socket.send_fds(end, [b"\0"], [file])
        time.sleep(60)


@a_try
def says_much():
    with control() as end:
        end.setblocking(False)
        for _ in range(100_000):
            socket.send_fds(end, [b"\0"], [0])


@a_try
def closes():
    os.closerange(3, 64)
    time.sleep(60)
