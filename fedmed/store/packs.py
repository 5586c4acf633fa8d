"""Many samples of one shape in one file, mapped into memory: as fast as the file can be read, every byte checked once.

A pack is a safetensors file: `x (N, ...)`, `sha256 (N, 32)` of each sample, and what else is known of them (keys, labels,
patients, splits, scanner's spacing and orientation, classes, pipeline) as JSON in `about`. It holds no masks: those go into
shards. It is written once, beside its place, synced and renamed.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import ConfigError, DataError, StoreError
from fedmed.wire import tensors as wire
from fedmed.wire.canonical import canonical
from fedmed.wire.samples import NO_LAYOUT, Layout, Sample, layout_of, refuse_key

HEADER_BYTES = 4096  # kept free for the header, which is written last: how many samples come is known then
MAX_SAMPLES = 100_000_000


@dataclass
class About:
    """The texts of a pack; one entry a sample, and what holds for all."""

    pipeline: dict[str, Any]
    """The record of what made the samples."""
    keys: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    spacings_mm: list[Sequence[float | None] | None] = field(default_factory=list)
    orientations: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    """Labels in the order of their class index; empty where nobody said."""
    layout: dict[str, Any] = field(default_factory=dict)
    """The fields of `fedmed.wire.samples.Layout`."""

    def complete(self) -> bool:
        """Whether there is an entry of each kind a sample; packs of before had no spacings and no orientations."""
        count = len(self.keys)
        self.spacings_mm = self.spacings_mm or [None] * count
        self.orientations = self.orientations or [""] * count
        columns = (self.labels, self.patients, self.splits, self.spacings_mm, self.orientations)
        return all(len(column) == count for column in columns)


def write_pack(
    path: Path,
    samples: Iterable[Sample],
    pipeline: Mapping[str, Any] | None = None,
    classes: Sequence[str] = (),
    layout: Layout = NO_LAYOUT,
) -> int:
    """Write `samples` (ascending keys, one shape and type) as the pack `path`; returns how many there are.

    Raises ConfigError for samples with masks, DataError for one that does not fit or where there is none, StoreError where
    the disk refuses.
    """
    about = About(dict(pipeline or {}), classes=list(classes), layout=asdict(layout))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            count = _fill(file, samples, about)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        return count
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror or error}); make room or name another disk") from error
    finally:
        temporary.unlink(missing_ok=True)


def _fill(file: BinaryIO, samples: Iterable[Sample], about: About) -> int:
    file.seek(8 + HEADER_BYTES)
    first: NDArray[np.generic] | None = None
    digests = bytearray()
    for sample in samples:
        refuse_key(sample.key, about.keys[-1] if about.keys else "")
        if sample.mask is not None:
            raise ConfigError(f"sample {sample.key!r} has a mask, and a pack holds none; name a folder, for shards, instead")
        first = sample.array if first is None else first
        if (sample.array.shape, sample.array.dtype) != (first.shape, first.dtype):
            raise DataError(
                f"sample {sample.key!r} is {sample.array.dtype} of shape {sample.array.shape}, the first one "
                f"{first.dtype} of {first.shape}; a pack holds one kind"
            )
        data = wire.raw(sample.array.astype(sample.array.dtype.newbyteorder("<"), copy=False))
        digests += hashlib.sha256(data).digest()
        file.write(data)
        about.keys.append(sample.key)
        about.labels.append(sample.label)
        about.patients.append(sample.patient)
        about.splits.append(sample.split)
        about.spacings_mm.append(sample.spacing_mm)
        about.orientations.append(sample.orientation)
    if first is None:
        raise DataError("there are no samples to pack")
    sizes = {"x": (first.dtype.name, (len(about.keys), *first.shape), len(about.keys) * first.nbytes)}
    text = canonical(asdict(about))
    for name, content, shape in (("sha256", bytes(digests), (len(about.keys), 32)), ("about", text, (len(text),))):
        file.write(content)
        sizes[name] = ("uint8", shape, len(content))
    _head(file, sizes)
    return len(about.keys)


def _head(file: BinaryIO, sizes: dict[str, tuple[str, tuple[int, ...], int]]) -> None:
    entries: dict[str, object] = {}
    offset = 0
    for name, (dtype, shape, size) in sizes.items():
        if dtype not in wire.CODES:
            raise DataError(f"samples are {dtype}; allowed are {', '.join(wire.CODES)}")
        entries[name] = {"dtype": wire.CODES[dtype], "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    file.seek(0)
    file.write(HEADER_BYTES.to_bytes(8, "little") + json.dumps(entries).encode().ljust(HEADER_BYTES))


class Pack:
    """An open pack. A sample's bytes are checked against their digest when they are first read in this process."""

    def __init__(self, path: Path) -> None:
        """Raises DataError where the file is missing or is no pack."""
        self.path = path
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} cannot be opened as a pack ({error}); give a file that `fedmed data pack` wrote"
            ) from error
        found = wire.view(mapped, str(path))
        try:
            self.x, self._sha256 = found["x"], found["sha256"]
            self.about = About(**json.loads(found["about"].tobytes()))
            self.layout = layout_of(self.about.layout)
            count = len(self.x)
            sound = self.about.complete() and len(self.about.keys) == count <= MAX_SAMPLES
            sound = sound and self._sha256.shape == (count, 32)
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise DataError(f"{path} is not a pack ({type(error).__name__}: {error})") from error
        if not sound:
            raise DataError(f"{path} is damaged: its parts hold different numbers of samples")
        self._checked = np.zeros(len(self.x), np.bool_)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> NDArray[np.generic]:
        """Sample `row`, a read-only view of the mapped file. Raises StoreError where a byte of it is wrong."""
        sample: NDArray[np.generic] = self.x[row]
        if not self._checked[row]:
            if hashlib.sha256(wire.raw(sample)).digest() != self._sha256[row].tobytes():
                raise StoreError(
                    f"{self.path}: sample {self.about.keys[row]!r} does not have the digest it was written with; "
                    "pack the set anew"
                )
            self._checked[row] = True
        return sample

    def batch(self, rows: NDArray[np.integer]) -> NDArray[np.generic]:
        """Samples `rows` in a new array `(len(rows), ...)`. Raises StoreError where a byte of one is wrong."""
        for row in rows[~self._checked[rows]]:
            self[int(row)]
        gathered: NDArray[np.generic] = self.x[rows]
        return gathered

    def samples(self) -> Iterable[Sample]:
        """Every sample in order."""
        about = self.about
        for row, key in enumerate(about.keys):
            spacing = about.spacings_mm[row]
            yield Sample(
                key,
                self[row],
                about.labels[row],
                about.patients[row],
                about.splits[row],
                spacing_mm=None if spacing is None else tuple(spacing),
                orientation=about.orientations[row],
            )
