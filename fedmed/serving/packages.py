"""A package: the folder in which a model is released to devices. Nothing in it is used before all of it was checked.

    card.json            what it is, and the SHA-256 of every other file
    model.onnx           fp32
    model.u8s8.onnx      int8 for processors: activations unsigned, weights signed
    model.s8s8.onnx      int8 for TensorRT: both signed and symmetric
    golden.safetensors   inputs, and the logits that the model has to make of them

The digest on the card names the package; what vouches for the digest is a signed release (`fedmed.releases`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
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
LEAST_GOLDEN, MOST_GOLDEN = 1, 256

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Golden:
    """Inputs `(N, *inputs)` and the logits `(N, *outputs)` that PyTorch made of them; all float32."""

    inputs: Floats
    logits: Floats


@dataclass(frozen=True)
class Package:
    """A package whose every file was checked; the content is kept, so that what runs is what was checked."""

    folder: Path
    card: Card
    models: Mapping[str, bytes]
    """ONNX files by name."""
    golden: Golden

    @classmethod
    def load(cls, folder: Path) -> Package:
        """Read and check all of it.

        Raises PackageRefused, naming the file, for a wrong digest, a missing or additional file, one over its cap, weights
        that are NaN or in other files, operators that a device does not run, and shapes that are not those of the card.
        """
        card = read_card(_read(folder, CARD, MAX_CARD_BYTES))
        _refuse_other_files(folder, card)
        content = {name: _checked(folder, name, file) for name, file in card.files.items()}
        models = {name: data for name, data in content.items() if name != GOLDEN}
        for name, data in models.items():
            _refuse_misfit(read_graph(data, name), card, name)
        return cls(folder, card, models, _golden(content[GOLDEN], card))


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
    if held.keys() != {INPUTS, LOGITS}:
        raise PackageRefused(f"{GOLDEN}: got {', '.join(sorted(held))[:200]}; allowed: {INPUTS}, {LOGITS}")
    count = held[INPUTS].shape[:1]
    for name, shape in ((INPUTS, card.inputs), (LOGITS, card.outputs)):
        value = held[name]
        if value.dtype != np.float32 or value.shape != (*count, *shape) or not np.isfinite(value).all():
            raise PackageRefused(
                f"{GOLDEN}: {name} are {value.dtype} of shape {value.shape}; needed are finite float32 of {list(shape)} each"
            )
    if not LEAST_GOLDEN <= count[0] <= MOST_GOLDEN:
        raise PackageRefused(f"{GOLDEN}: {count[0]} cases; allowed: {LEAST_GOLDEN} to {MOST_GOLDEN}")
    return Golden(held[INPUTS].astype(np.float32), held[LOGITS].astype(np.float32))
