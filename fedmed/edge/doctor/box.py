"""Checks of the machine itself: Python and packages, room, disk, key, memory, sensors."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys

from fedmed.clock import Clock
from fedmed.config.edge import Edge
from fedmed.edge.doctor.configuration import Subject
from fedmed.edge.doors import token_in
from fedmed.errors import FedmedError
from fedmed.health.readers import lines, read_all, readers
from fedmed.operation.doctor import disk, machine
from fedmed.operation.doctor.finding import Finding, fail, ok, skipped, warn
from fedmed.operation.doctor.running import Seen
from fedmed.privacy import keys
from fedmed.report.formats import data_size
from fedmed.store.spool.envelope import Envelope
from fedmed.store.spool.opening import NAME, why_not_its_key
from fedmed.store.standing import is_serving
from fedmed.wire.visible import visible

LEAST_PYTHON = (3, 10)
LIGHT = ("numpy", "pydicom", "pynetdicom", "onnxruntime", "highdicom", "grpc", "tuf", "securesystemslib", "uvicorn")
"""Modules of the light install."""
FULL = ("torch",)
"""What training needs on top."""
_BUILDS = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu")}
MEMORY = {"light": 512 * 10**6, "full": 4 * 10**9}
"""Bytes that are to be available: the agent, and beside it the process in which a release is tried; of training, PyTorch."""
LEAST_FREE = 10**9
"""Bytes of disk, below which not even a release has room."""


def python(_: Seen) -> Finding:
    """Its version."""
    got, allowed = f"{platform.python_version()} at {sys.executable}, {platform.machine()}", "3.10 or newer"
    if sys.version_info[:2] < LEAST_PYTHON:
        return fail("python", got, allowed, "install fedmed with a newer Python; edge_agents/README.md has a table of boxes")
    return ok("python", got, allowed)


def packages(seen: Seen) -> Finding:
    """What the light install has, and what training needs where it is configured."""
    subject: Subject | None = seen.get("subject")
    trains = subject is not None and subject.config.training is not None
    there = {name for name in (*LIGHT, *FULL) if importlib.util.find_spec(name) is not None}
    kind = "full" if there >= {*FULL} else "light"
    missing = [name for name in (*LIGHT, *(FULL if trains else ())) if name not in there]
    if missing:
        extra = "edge,fl,imaging" if trains else "edge"
        todo = f"pip install 'fedmed[{extra}]'; on a Jetson as edge_agents/README.md says"
        return fail("packages", f"not installed: {', '.join(missing)}", "all of them", todo)
    told = ", ".join(
        f"{name} {_version(name)}" for name in ("onnxruntime", "numpy", "pynetdicom", *(FULL if trains else ()))
    )
    return ok("packages", f"the {kind} install; {told}")


def _version(module: str) -> str:
    for name in _BUILDS.get(module, (module,)):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of an unknown version"


class Box:
    """Checks that time something."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def writing(self, seen: Seen) -> Finding:
        """How the disk writes and syncs: each image is on it before it is acknowledged."""
        return disk.writing(machine.write(seen["subject"].folder, self._clock.now))


def room(seen: Seen) -> Finding:
    """What is free, against what may wait here."""
    subject: Subject = seen["subject"]
    found = machine.room(subject.folder)
    if found.free is None:
        return fail("room", f"{found.place}: {found.fault}", "a folder that can be entered", "mend it, or name another")
    kept, database = int(subject.config.keep.gigabytes * 10**9), subject.folder / "spool" / NAME
    rest = max(0, kept - (database.stat().st_size if database.is_file() else 0))
    allowed = f"{data_size(rest)}, what `keep` may still take, and {data_size(LEAST_FREE)}"
    got, todo = f"{data_size(found.free)} free at {found.place}", "make room, or lower keep.gigabytes in edge.yaml"
    if found.free < LEAST_FREE:
        return fail("room", got, allowed, todo)
    if found.free < rest + LEAST_FREE:
        return warn("room", f"{got}: the disk is full before the quota is", allowed, todo)
    return ok("room", got, allowed)


def spool(seen: Seen) -> Finding:
    """Whether the key can be had, and is the one that the spool was made with. Nothing is opened for writing."""
    subject: Subject = seen["subject"]
    if subject.joined is None:
        return skipped("spool", "there is none before joining")
    allowed = "the key that it was made with"
    try:
        key = subject.joined.key()
        check = Envelope(key).check
    except FedmedError as error:
        return fail("spool", visible(str(error)), allowed, "put the key back, or mend `key` in edge.yaml")
    if is_serving(subject.folder):
        return ok("spool", f"the agent has it open, its key comes from {subject.config.key}")
    if why := why_not_its_key(subject.folder / "spool", check):
        todo = "put the key back; without it what waits cannot be read, and the agent does not start"
        return fail("spool", why, allowed, todo)
    begun = (subject.folder / "spool" / NAME).is_file()
    return ok("spool", f"{'opens with' if begun else 'none yet; there is'} the key from {subject.config.key}")


def secrets(seen: Seen) -> Finding:
    """The key of pseudonyms and the token of STOW-RS, where the configuration names them."""
    subject: Subject = seen["subject"]
    if subject.joined is None:
        return skipped("keys", "none are needed before joining")
    config, read = subject.config, list[str]()
    try:
        if config.deidentify is not None:
            keys.read(subject.folder / config.deidentify)
            read.append(f"pseudonyms by {config.deidentify}")
        if config.stow is not None and config.stow.token is not None:
            token_in(subject.folder / config.stow.token)
            read.append(f"STOW's token in {config.stow.token}")
    except FedmedError as error:
        todo = "put the clinic's own key there (`fedmed data key` makes it, once), or mend `deidentify`, `stow.token`"
        return fail("keys", visible(str(error)), "files that the agent can read", todo)
    return ok("keys", "; ".join(read) or "none are named: no copies go to the clinic")


def memory(seen: Seen) -> Finding:
    """What is available, beside the agent where it is up."""
    config: Edge = seen["subject"].config
    kind = "light" if config.training is None else "full"
    found, needed = machine.memory(), MEMORY[kind]
    if found is None:
        return ok("memory", "not told by this system", data_size(needed))
    if found < needed:
        todo = "end other programs, raise MemoryMax of the service, or add memory"
        return warn("memory", f"{data_size(found)} available", data_size(needed), todo)
    return ok("memory", f"{data_size(found)} available", data_size(needed))


def sensors(seen: Seen) -> Finding:
    """What can be read of GPU, temperature and power; what cannot is unsupported, which is no fault."""
    among = readers(data=seen["subject"].folder)
    found = read_all(among)
    cards = sorted({each.device for each in found if each.device.startswith("gpu")})
    unread = sorted({each.name.replace("_", " ") for each in found if each.value is None})
    gpu = f"GPU: {', '.join(cards)}" if cards else "GPU: unsupported, none is found"
    rest = f"; unsupported: {', '.join(unread)}" if unread else ""
    return ok("sensors", f"{gpu}; {'; '.join(lines(among))}{rest}")
