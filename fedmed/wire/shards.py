"""WebDataset shards in and out: tar files whose members `KEY.npy`, `KEY.mask.npy`, `KEY.cls` and `KEY.json` make up samples.

(Aizman, Maltzahn, Breuel, "High Performance I/O for Large Scale Deep Learning", 2019; github.com/webdataset/webdataset.)
Written shards have the same bytes for the same samples. What is read may come from anybody: a sample that cannot be used
is reported with its shard, key and reason, and the others go on. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import DataError, StoreError
from fedmed.wire import npy
from fedmed.wire.canonical import canonical
from fedmed.wire.samples import KEY, NO_LAYOUT, Layout, Sample, refuse_key, refuse_mask
from fedmed.wire.shard_index import INDEX, index_of
from fedmed.wire.tar import BLOCK, MAX_TEXT_BYTES, Fault, Member, members

SHARD_BYTES = 256 * 1024**2
TEXTS = ("label", "patient", "split", "orientation")
MASK = "mask.npy"
MAX_MM = 1e6


@dataclass(frozen=True)
class Damage:
    """A sample that is left out."""

    shard: str
    key: str
    """Empty where not even that could be read."""
    reason: str

    def __str__(self) -> str:
        return f"{self.shard}: sample {self.key or '(unknown)'} is left out: {self.reason}"


def write_shards(
    folder: Path,
    samples: Iterable[Sample],
    classes: Sequence[str] = (),
    pipeline: Mapping[str, Any] | None = None,
    most: int = SHARD_BYTES,
    layout: Layout = NO_LAYOUT,
) -> dict[str, Any]:
    """Write `samples` (ascending keys) as `shard-000000.tar` ... of at most `most` bytes each; returns their index.

    A sample larger than `most` has a shard of its own. With `classes`, each sample has its index in them as `.cls`, too.
    `pipeline` is the record of what made the samples; the index carries it, and `layout`. All samples have a mask or none.
    Raises DataError for a sample that does not fit or where there is none, StoreError where the disk refuses.
    """
    index = index_of(classes, pipeline or {}, layout)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, (content, count) in enumerate(_filled(samples, classes, most, index)):
            name = f"shard-{number:06d}.tar"
            _replace(folder / name, content)
            index["shards"].append({"file": name, "samples": count, "sha256": hashlib.sha256(content).hexdigest()})
            index["samples"] += count
        if not index["samples"]:
            raise DataError("there are no samples to pack")
        _replace(folder / INDEX, canonical(index))  # last: a folder without it was not finished
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written ({error.strerror or error}); make room or name another disk"
        ) from error
    return index


def _filled(
    samples: Iterable[Sample], classes: Sequence[str], most: int, index: dict[str, Any]
) -> Iterator[tuple[bytes, int]]:
    content, count, before = bytearray(), 0, ""
    for sample in samples:
        refuse_key(sample.key, before)
        if index.setdefault("masks", sample.mask is not None) != (sample.mask is not None):
            raise DataError(f"sample {sample.key!r}: only some samples have a mask; give one to all or to none")
        before, encoded = sample.key, _encoded(sample, classes, index.get("spatial"))
        if count and len(content) + len(encoded) + 2 * BLOCK > most:
            yield bytes(content) + bytes(2 * BLOCK), count
            content, count = bytearray(), 0
        content += encoded
        count += 1
    if count:
        yield bytes(content) + bytes(2 * BLOCK), count


def _encoded(sample: Sample, classes: Sequence[str], spatial: int | None) -> bytes:
    array = npy.encode(sample.array)
    told: dict[str, Any] = {name: value for name in TEXTS if (value := getattr(sample, name))}
    told["sha256"] = hashlib.sha256(array).hexdigest()
    if sample.spacing_mm is not None:
        told["spacing_mm"] = list(sample.spacing_mm)
    parts = {"npy": array}
    if sample.mask is not None:
        try:
            refuse_mask(sample.array, sample.mask, spatial)
        except DataError as error:
            raise DataError(f"sample {sample.key!r}: {error}") from error
        parts[MASK] = npy.encode(sample.mask)
        told["mask_sha256"] = hashlib.sha256(parts[MASK]).hexdigest()
    parts["json"] = canonical(told)
    if classes and (sample.label or sample.mask is None):
        if sample.label not in classes:
            raise DataError(f"sample {sample.key!r} has the label {sample.label!r}; the classes are {', '.join(classes)}")
        parts["cls"] = str(list(classes).index(sample.label)).encode()
    return b"".join(_member(f"{sample.key}.{ending}", parts[ending]) for ending in sorted(parts))


def _member(name: str, content: bytes) -> bytes:
    header = tarfile.TarInfo(name)  # time, owner and group stay 0
    header.size = len(content)
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % BLOCK)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass
class _Group:
    """The members of one sample so far."""

    key: str
    parts: dict[str, memoryview] = field(default_factory=dict)
    fault: str = ""


def read_shard(path: Path) -> Iterator[Sample | Damage]:
    """The samples of one shard in their order; arrays are read-only views of the mapped file.

    Raises DataError where the file is missing or empty.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a shard ({error}); give a tar file") from error
    group = _Group("")
    for found in members(mapped):
        key, _, ending = found.name.partition(".")
        if isinstance(found, Fault) and not found.name:
            yield Damage(path.name, "", found.reason)
            continue
        if key != group.key:
            yield from _finished(path.name, group)
            group = _Group(key)
        _add(group, found, ending)
    yield from _finished(path.name, group)


def _add(group: _Group, found: Member | Fault, ending: str) -> None:
    if isinstance(found, Fault):
        group.fault = group.fault or found.reason
    elif ending in group.parts:
        group.fault = group.fault or f"it has two members .{ending}"
    else:
        group.parts[ending] = found.data


def _finished(shard: str, group: _Group) -> Iterator[Sample | Damage]:
    if not group.key and not group.parts and not group.fault:
        return
    try:
        if group.fault:
            raise DataError(group.fault)
        yield _sample(group)
    except DataError as error:
        yield Damage(shard, group.key if KEY.fullmatch(group.key) else "", str(error))


def _sample(group: _Group) -> Sample:
    """Raises DataError, in words that follow the sample's name, for one that cannot be used."""
    if not KEY.fullmatch(group.key):
        raise DataError("its key is not of letters, digits, '_' and '-'")
    arrays = [ending for ending in group.parts if ending.split(".")[-1] == "npy" and ending != MASK]
    if len(arrays) != 1:
        raise DataError(f"it has {len(arrays)} arrays (.npy); one is needed")
    told = _told(group.parts.get("json"))
    content = group.parts[arrays[0]]
    if "sha256" in told and hashlib.sha256(content).hexdigest() != told["sha256"]:
        raise DataError("its array does not have the digest it was written with")
    array = npy.decode(content)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError("its array holds values that are not finite")
    texts = {name: told.get(name, "") for name in TEXTS}
    if "label" not in told and "cls" in group.parts:
        texts["label"] = _text(group.parts["cls"]).strip()
    mask = _mask(group, told, array)
    if not (texts["label"] or mask is not None) or not all(isinstance(text, str) for text in texts.values()):
        raise DataError("it has no label (.cls, or a text `label` in .json)")
    return Sample(group.key, array, **texts, mask=mask, spacing_mm=_spacing(told.get("spacing_mm")))


def _mask(group: _Group, told: dict[str, Any], array: NDArray[np.generic]) -> NDArray[np.generic] | None:
    content = group.parts.get(MASK)
    if content is None:
        if "mask_sha256" in told:
            raise DataError("its mask is missing")
        return None
    given = told.keys() & {"sha256", "mask_sha256"}  # who gives one digest gives both
    if given and hashlib.sha256(content).hexdigest() != told.get("mask_sha256"):
        raise DataError("its mask does not have the digest it was written with")
    mask = npy.decode(content)
    refuse_mask(array, mask, None)
    return mask


def _spacing(told: object) -> tuple[float | None, ...] | None:
    if told is None:
        return None
    if not isinstance(told, list) or len(told) != 3 or not all(map(_is_length, told)):
        raise DataError("its spacing is none; it is three lengths in mm, null where unknown")
    return tuple(None if each is None else float(each) for each in told)


def _is_length(told: object) -> bool:
    return told is None or (isinstance(told, (int, float)) and not isinstance(told, bool) and abs(told) < MAX_MM)


def _told(part: memoryview | None) -> dict[str, Any]:
    if part is None:
        return {}
    try:
        told = json.loads(_text(part))
    except (ValueError, RecursionError) as error:
        raise DataError("its .json is no JSON") from error
    if not isinstance(told, dict):
        raise DataError("its .json is no object")
    return told


def _text(part: memoryview) -> str:
    if len(part) > MAX_TEXT_BYTES:
        raise DataError(f"its text has {len(part)} bytes; at most {MAX_TEXT_BYTES} are read")
    try:
        return bytes(part).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError("its text is not UTF-8") from error
