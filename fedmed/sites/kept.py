"""Finished tensors of volumes, found again by their files without a decoder, or by their pixels without a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.instance import Instance
from fedmed.dicom.stacks import Stack
from fedmed.dicom.volume import Volume
from fedmed.store.tensors import Key, TensorStore
from fedmed.wire.canonical import digest

REMEMBERED = "which tensor a volume's files became"
"""Name of the entries that spare decoding a volume whose tensor is kept already."""


@dataclass(frozen=True)
class Kept:
    """A tensor that is there already."""

    image: NDArray[np.float32]
    stored: str
    """Type of the stored values that it was made of."""


@dataclass(frozen=True)
class Shelf:
    """The tensors of one site's survey under one pipeline; empty, and it stays so, without a store."""

    store: TensorStore | None
    pipeline: str
    """Its fingerprint."""
    instances: Sequence[Instance]

    def remembered(self, stack: Stack) -> Kept | None:
        """What the same files became before."""
        if self.store is None or stack.refusal is not None:
            return None
        entry = self.store.get(self._stamp(stack))
        if entry is None or "stored" not in entry:
            return None
        image = self.found(entry["pixels"].tobytes().decode("ascii"))
        return None if image is None else Kept(image, entry["stored"].tobytes().decode("ascii"))

    def found(self, pixels: str) -> NDArray[np.float32] | None:
        """What the same pixels became before."""
        entry = self.store.get(Key(self.pipeline, pixels)) if self.store and pixels else None
        return None if entry is None else np.asarray(entry["image"], np.float32)

    def named(self, volume: Volume) -> str:
        """Digest of all that decides about the tensor but the pipeline: pixels, how to read them, where they lie."""
        if self.store is None:
            return ""
        scales = [volume.slope.tolist(), volume.intercept.tolist(), volume.padding]
        return digest([volume.pixel_sha256, scales, volume.affine.tolist()])

    def keep(self, pixels: str, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Put a tensor under the name of its pixels; what is there already, made elsewhere meanwhile, is taken."""
        if self.store is None:
            return image
        return np.asarray(self.store.get_or_make(Key(self.pipeline, pixels), lambda: {"image": image})["image"], np.float32)

    def remember(self, stack: Stack, pixels: str, stored: str) -> None:
        """Put which pixels the stack's files hold."""
        if self.store is not None:
            self.store.put(self._stamp(stack), {"pixels": _bytes(pixels), "stored": _bytes(stored)})

    def _stamp(self, stack: Stack) -> Key:
        """Path, size and time of every file, and which of its frames: what changes when a file does."""
        found: list[list[object]] = []
        for index, frame in stack.frames:
            source = self.instances[index].source
            path, member = source.place or (source.name, "")
            found.append([path, member, source.size, Path(path).stat().st_mtime_ns, frame])
        return Key(REMEMBERED, digest([self.pipeline, stack.subject, found]))


def _bytes(text: str) -> NDArray[np.generic]:
    return np.frombuffer(text.encode("ascii"), np.uint8)
