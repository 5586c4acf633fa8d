"""A package: the folder in which a model is released to devices. Nothing in it is used before all of it was checked.

    card.json            what it is, and the SHA-256 of every other file
    model.onnx           fp32
    model.u8s8.onnx      int8 for processors: activations unsigned, weights signed
    model.s8s8.onnx      int8 for TensorRT: both signed and symmetric
    golden.safetensors   inputs, and the logits that each of the models made of them where the package was made

The digest on the card names the package; what vouches for the digest is a signed release (`fedmed.releases`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import DataError, PackageRefused
from fedmed.serving.card import CARD, Card, File, read_card
from fedmed.serving.card import MAX_BYTES as MAX_CARD_BYTES
from fedmed.serving.graph import FLOAT, Graph, read_graph
from fedmed.store.disk import Disk, replace_file
from fedmed.wire import tensors

FP32, U8S8, S8S8, GOLDEN = "model.onnx", "model.u8s8.onnx", "model.s8s8.onnx", "golden.safetensors"
REQUIRED = (FP32, GOLDEN)
MAX_BYTES = {FP32: 1 << 30, U8S8: 1 << 30, S8S8: 1 << 30, GOLDEN: 1 << 26}
"""The files a package may hold beside its card, each with its cap in bytes."""
INPUTS, LOGITS = "inputs", "logits"
QUANTISED = {U8S8: "logits.u8s8", S8S8: "logits.s8s8"}
"""Golden logits of the int8 models, by file."""
LEAST_GOLDEN, MOST_GOLDEN = 1, 256

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Golden:
    """Inputs `(N, *inputs)` and what they became where the package was made `(N, *outputs)`; all float32.

    A device is held to what its own file made: whether int8 is good enough is not for drawn inputs to say (`ladder`).
    """

    inputs: Floats
    logits: Floats
    """Of PyTorch."""
    quantised: Mapping[str, Floats]
    """Of ONNX Runtime, by the name of the int8 file."""

    def expected(self, name: str) -> Floats:
        """The logits of one of the package's files."""
        return self.quantised.get(name, self.logits)

    def pack(self) -> bytes:
        """The golden cases as a safetensors file."""
        told = {QUANTISED[name]: logits for name, logits in self.quantised.items()}
        return packed({INPUTS: self.inputs, LOGITS: self.logits, **told})


@dataclass(frozen=True)
class Package:
    """A package whose every file was checked; the content is kept, so that what runs is what was checked."""

    folder: Path
    card: Card
    models: Mapping[str, bytes]
    """ONNX files by name."""
    golden: Golden

    @classmethod
    def load(cls, folder: Path, only: Collection[str] | None = None) -> Package:
        """Read and check all of it, or the card, the golden cases and the models of `only`, so as to hold no more.

        Raises PackageRefused, naming the file, for a wrong digest, a missing or additional file, one over its cap, weights
        that are NaN or in other files, operators that a device does not run, and shapes that are not those of the card.
        """
        card = read_card_of(folder)
        _refuse_other_files(folder, card)
        wanted = card.files.keys() if only is None else {*only, GOLDEN}
        content = {name: _checked(folder, name, file) for name, file in card.files.items() if name in wanted}
        models = {name: data for name, data in content.items() if name != GOLDEN}
        for name, data in models.items():
            _refuse_misfit(read_graph(data, name), card, name)
        return cls(folder, card, models, _golden(content[GOLDEN], card))


def read_card_of(folder: Path) -> Card:
    """The card alone, of a package that was checked before. Raises PackageRefused."""
    return read_card(_read(folder, CARD, MAX_CARD_BYTES))


def write_package(folder: Path, card: Card, content: Mapping[str, bytes]) -> Package:
    """Write a package, or what is new in one, the card last; returns it as a device would load it.

    Raises PackageRefused where it could not be loaded, OSError where the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    disk = Disk()
    for name, data in content.items():
        card = card.with_file(name, File(tensors.sha256(data), len(data)))
        replace_file(disk, folder / name, data)
    replace_file(disk, folder / CARD, card.write())
    return Package.load(folder)


def _read(folder: Path, name: str, most: int) -> bytes:
    """A plain file's content; links are not followed."""
    path = folder / name
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or status.st_size > most:
                raise PackageRefused(f"{path} has {status.st_size} bytes; allowed: a plain file of at most {most}")
            return file.read(most + 1)
    except OSError as error:
        raise PackageRefused(f"{path} cannot be read ({error.strerror}); get the package anew") from error


def _checked(folder: Path, name: str, file: File) -> bytes:
    if file.bytes > MAX_BYTES[name]:
        raise PackageRefused(f"{folder / name}: the card tells {file.bytes} bytes; allowed are {MAX_BYTES[name]}")
    content = _read(folder, name, MAX_BYTES[name])
    found = tensors.sha256(content)
    if (len(content), found) != (file.bytes, file.sha256):
        raise PackageRefused(
            f"{folder / name}: got {len(content)} bytes with SHA-256 {found}, the card tells {file.bytes} with "
            f"{file.sha256}; it was altered or cut off, get the package anew"
        )
    return content


def _refuse_other_files(folder: Path, card: Card) -> None:
    if unknown := sorted(card.files.keys() - MAX_BYTES.keys()):
        raise PackageRefused(f"{CARD}: unknown files {', '.join(unknown)[:200]}; allowed: {', '.join(MAX_BYTES)}")
    if missing := [name for name in REQUIRED if name not in card.files]:
        raise PackageRefused(f"{CARD}: {', '.join(missing)} not listed; a package needs {', '.join(REQUIRED)}")
    found = {path.name for path in folder.iterdir()}
    if differ := sorted(found ^ {CARD, *card.files}):
        raise PackageRefused(f"{folder}: missing or not on the card: {', '.join(differ)[:200]}; get the package anew")


def _refuse_misfit(graph: Graph, card: Card, name: str) -> None:
    if graph.opset != card.opset:
        raise PackageRefused(f"{name}: operators of set {graph.opset}, the card tells {card.opset}")
    for what, ports, shape in (("input", graph.inputs, card.inputs), ("output", graph.outputs, card.outputs)):
        if len(ports) != 1 or ports[0].dtype != FLOAT:
            raise PackageRefused(f"{name}: {len(ports)} {what}s; allowed is one of float32")
        if ports[0].shape != shape:
            raise PackageRefused(f"{name}: its {what} has the shape {list(ports[0].shape)}, on the card it is {list(shape)}")


def _golden(content: bytes, card: Card) -> Golden:
    try:
        held = tensors.view(content, GOLDEN)
    except DataError as error:
        raise PackageRefused(str(error)) from error
    wanted = {QUANTISED[name]: name for name in QUANTISED if name in card.files}
    if held.keys() != {INPUTS, LOGITS, *wanted}:
        allowed = ", ".join((INPUTS, LOGITS, *wanted))
        raise PackageRefused(f"{GOLDEN}: got {', '.join(sorted(held))[:200]}; needed: {allowed}")
    count = held[INPUTS].shape[:1]
    for name, value in held.items():
        shape = card.inputs if name == INPUTS else card.outputs
        if value.dtype != np.float32 or value.shape != (*count, *shape) or not np.isfinite(value).all():
            raise PackageRefused(
                f"{GOLDEN}: {name} are {value.dtype} of shape {value.shape}; needed are finite float32 of {list(shape)} each"
            )
    if not LEAST_GOLDEN <= count[0] <= MOST_GOLDEN:
        raise PackageRefused(f"{GOLDEN}: {count[0]} cases; allowed: {LEAST_GOLDEN} to {MOST_GOLDEN}")
    own = {name: np.array(value, np.float32) for name, value in held.items()}
    return Golden(own[INPUTS], own[LOGITS], {file: own[name] for name, file in wanted.items()})


def packed(values: tensors.Tensors) -> bytes:
    """Tensors as the bytes of a safetensors file."""
    buffer = bytearray(tensors.size_of(values))
    tensors.put(values, memoryview(buffer))
    return bytes(buffer)
