"""What is done about a fault, as a table: each symptom has one action of ours and one thing for a person to do.

The tree has four branches (GPU, network, storage, software). `diagnosed` finds the leaf of an error's text by words that the
libraries themselves write; an unknown text has no leaf, and nothing is guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

MOST_TEXT = 20_000
"""Characters of an error's text that are looked at: its end, where the error itself stands."""


class Branch(Enum):
    """Where a fault lies."""

    GPU = "gpu"
    NETWORK = "network"
    STORAGE = "storage"
    SOFTWARE = "software"


class Remedy(Enum):
    """What fedmed does by itself."""

    NEXT_RUNG = "the task is started again with a smaller batch or a lower precision"
    RESTART = "the task is started again from its progress, on another node where there is one"
    ISOLATE = "the node takes no tasks until a person restores it"
    WAIT = "the work stays on the disk and is tried again, ever more rarely"
    STOP_TAKING = "nothing new is taken before there is room; what is kept is kept"
    PARK = "the task waits for a person"


@dataclass(frozen=True)
class Leaf:
    """One fault."""

    branch: Branch
    symptom: str
    signs: tuple[str, ...]
    """Regular expressions, of which one stands in the error's text; case does not matter."""
    remedy: Remedy
    person: str
    """What a person does."""


TREE = (
    Leaf(
        Branch.GPU,
        "out of memory",
        (r"cuda out of memory", r"OutOfMemoryError", r"CUDA_ERROR_OUT_OF_MEMORY", r"failed to allocate memory .*BFCArena"),
        Remedy.NEXT_RUNG,
        "Where it comes back on the last rung: give the task a smaller model, or a node with more memory.",
    ),
    Leaf(
        Branch.GPU,
        "ECC error",
        (r"uncorrectable ECC", r"double.bit ECC", r"CUDA_ERROR_ECC_UNCORRECTABLE", r"Xid.{0,40}: (48|63|64|94|95)\b"),
        Remedy.ISOLATE,
        "Read `nvidia-smi -q -d ECC,ROW_REMAPPER`, restart, restore the node; have the card replaced if it returns.",
    ),
    Leaf(
        Branch.GPU,
        "GPU is lost",
        (r"GPU is lost", r"fallen off the bus", r"NVMLError_GpuIsLost", r"Xid.{0,40}: 79\b"),
        Remedy.ISOLATE,
        "Look at power, heat and the slot; restart the machine; restore the node.",
    ),
    Leaf(
        Branch.GPU,
        "driver does not fit",
        (r"driver version is insufficient", r"no kernel image is available", r"Driver/library version mismatch"),
        Remedy.ISOLATE,
        "Install the driver and the libraries of one release (`fedmed doctor` names them); restart; restore the node.",
    ),
    Leaf(
        Branch.GPU,
        "CUDA error",
        (r"CUDA error", r"CUDA_ERROR_", r"cudaError", r"CUBLAS_STATUS_", r"CUDNN_STATUS_"),
        Remedy.RESTART,
        "Where it comes back on one node alone: run the driver's diagnosis there. Where everywhere: report the error.",
    ),
    Leaf(
        Branch.NETWORK,
        "collective timed out",
        (r"NCCL.{0,200}time[d ]*out", r"Watchdog caught collective", r"ncclSystemError", r"ncclRemoteError"),
        Remedy.RESTART,
        "See which of its nodes was lost or slow in `fedmed edge status`; look at the line between them.",
    ),
    Leaf(
        Branch.NETWORK,
        "disconnected",
        (r"connection (refused|reset|aborted)", r"no route to host", r"network is unreachable", r"StatusCode\.UNAVAILABLE"),
        Remedy.WAIT,
        "Look at the line, the firewall and the hub; nothing is lost meanwhile.",
    ),
    Leaf(
        Branch.NETWORK,
        "name not found",
        (r"name or service not known", r"temporary failure in name resolution", r"nodename nor servname"),
        Remedy.WAIT,
        "Look at the name in the configuration and at the machine's resolver.",
    ),
    Leaf(
        Branch.NETWORK,
        "too slow",
        (r"StatusCode\.DEADLINE_EXCEEDED", r"operation timed out", r"connection timed out", r"read timed out"),
        Remedy.WAIT,
        "Compare the line's speed with what a round needs; set a cap on bandwidth or quiet hours.",
    ),
    Leaf(
        Branch.STORAGE,
        "full",
        (r"no space left on device", r"disk quota exceeded", r"database or disk is full"),
        Remedy.STOP_TAKING,
        "Make room, or raise the quota; what was dropped by the quota's policy is in the audit log.",
    ),
    Leaf(
        Branch.STORAGE,
        "read or write error",
        (r"input/output error", r"disk I/O error", r"read-only file system", r"stale file handle"),
        Remedy.ISOLATE,
        "Look at the disk (`dmesg`, `smartctl -a`), replace it where it fails; restore the node.",
    ),
    Leaf(
        Branch.STORAGE,
        "damaged",
        (r"database disk image is malformed", r"digest .{0,80}(differs|does not match)", r"checksum mismatch"),
        Remedy.PARK,
        "Restore the folder from its backup, or fetch the package again; then let the task be tried again.",
    ),
    Leaf(
        Branch.STORAGE,
        "missing",
        (r"no such file or directory", r"FileNotFoundError", r"NoSuchKey"),
        Remedy.PARK,
        "Put the data where the configuration says, or correct the configuration; then let the task be tried again.",
    ),
    Leaf(
        Branch.SOFTWARE,
        "version does not fit",
        (
            r"VersionRefused",
            r"ModuleNotFoundError",
            r"cannot import name",
            r"undefined symbol",
            r"Unsupported model IR version",
        ),
        Remedy.PARK,
        "Install the release that the federation uses; `fedmed doctor` names both.",
    ),
    Leaf(
        Branch.SOFTWARE,
        "memory leaks",
        (r"Out of memory: Killed process", r"oom-kill", r"MemoryError", r"Cannot allocate memory"),
        Remedy.RESTART,
        "Where the memory that it takes grows from start to start: report it with the task's name and its readings.",
    ),
    Leaf(
        Branch.SOFTWARE,
        "stands still",
        (r"task steps stands at", r"main loop has not turned", r"deadlock", r"database is locked"),
        Remedy.RESTART,
        "Where it comes back: take the stacks of its threads (`py-spy dump`) before the next start, and report them.",
    ),
)
"""The more special leaf stands before the more general one of its branch: the first that fits counts."""


def diagnosed(text: str) -> Leaf | None:
    """The leaf of an error's text; None where no sign is known."""
    end = text[-MOST_TEXT:]
    return next((leaf for leaf in TREE for sign in leaf.signs if re.search(sign, end, re.IGNORECASE)), None)


def told(leaf: Leaf) -> str:
    """The leaf in two lines: what fedmed does, what a person does."""
    return f"{leaf.branch.value}: {leaf.symptom}; {leaf.remedy.value}.\n{leaf.person}"
