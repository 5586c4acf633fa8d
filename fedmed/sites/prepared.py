"""Sites laid out on disk for a run's processes, which map them into memory and share the pages."""

from __future__ import annotations

import hashlib
import json
import mmap
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import DataError
from fedmed.preprocess.fingerprint import ORIENTATIONS
from fedmed.preprocess.pipeline import parse
from fedmed.sites.cases import SPLITS, Cases, Site
from fedmed.wire import tensors as wire

INDEX, DIGEST = "index.json", "index.sha256"
ROOT = "root"
"""Folder of the center's root set within that of the sites, where a rule needs one."""


def lay_out(sites: Sequence[Site], folder: Path, attacks: Mapping[str, Sequence[dict[str, Any]]] | None = None) -> str:
    """Write every site into `folder`, anew; returns the SHA-256 over all names and tensors, the data's fingerprint.

    `attacks`: in a simulation, what sites by name do to their federation, as `attacks_of` gives it back.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fingerprint, entries = hashlib.sha256(), list[dict[str, Any]]()
    for number, site in enumerate(sites):
        file = f"{number:05d}.safetensors"
        parts = {f"{part}.{axis}": getattr(getattr(site, part), axis) for part in SPLITS for axis in ("x", "y")}
        digest = wire.save({**parts, **_described(site.train)}, folder / file)
        fingerprint.update(f"{site.name}\x1f{digest}\x1e".encode())
        entry = {field: getattr(site.train, field) for field in ("classes", "features", "spatial")}
        entry |= {"pipeline": site.pipeline.record(), "version": digest, "parity": site.parity}
        if attacks and site.name in attacks:
            entry["attacks"] = list(attacks[site.name])
        entries.append({"name": site.name, "file": file, **entry})
    index = json.dumps({"sites": entries})
    (folder / INDEX).write_text(index, encoding="utf-8")
    (folder / DIGEST).write_text(wire.sha256(index.encode()), encoding="ascii")
    return fingerprint.hexdigest()


def attacks_of(folder: Path, number: int) -> list[dict[str, Any]]:
    """What the `number`-th site of a folder does to its federation, as `lay_out` was told; none of an honest one's.

    Raises DataError where it is not there.
    """
    try:
        entry = _entries(folder, laid_out(folder))[number]
    except (OSError, ValueError, LookupError, DataError) as error:
        raise DataError(f"site number {number} cannot be looked up in {folder}: {error!r}") from error
    return list(entry.get("attacks", []))


def open_site(folder: Path, number: int) -> Site:
    """The `number`-th site of a folder, its arrays mapped from disk. Raises DataError where it is not there."""
    try:
        entry = _entries(folder, laid_out(folder))[number]
        with (folder / entry["file"]).open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, LookupError, DataError) as error:
        raise DataError(f"site number {number} cannot be opened in {folder}: {error!r}") from error
    found = wire.view(mapped, entry["file"])

    def cases(part: str) -> Cases:
        x, y = found[f"{part}.x"], found[f"{part}.y"]
        labels: NDArray[np.integer] = y.astype(np.uint8 if y.ndim > 1 else np.int64, copy=False)
        return Cases(x, labels, tuple(entry["classes"]), features=tuple(entry["features"]), spatial=entry["spatial"])

    parts = {part: cases(part) for part in SPLITS}
    parts["train"] = _with_columns(parts["train"], found)
    return Site(entry["name"], **parts, pipeline=parse(entry["pipeline"]), version=entry["version"], parity=entry["parity"])


@lru_cache(maxsize=2)
def _entries(folder: Path, digest: str) -> list[dict[str, Any]]:
    """What the index tells of each site; read once for a process that opens a thousand."""
    found: list[dict[str, Any]] = json.loads((folder / INDEX).read_text(encoding="utf-8"))["sites"]
    return found


def _described(train: Cases) -> wire.Tensors:
    """What the site's fingerprint needs beside the images: whose they are (by number), and how they were scanned."""
    found: wire.Tensors = {}
    if train.patient is not None:
        found["train.patient"] = np.unique(train.patient, return_inverse=True)[1].astype(np.int32).reshape(-1)
    if train.spacing_mm is not None:
        found["train.spacing_mm"] = np.asarray(train.spacing_mm, np.float32)
    if train.orientation is not None:
        known = {code: number for number, code in enumerate(ORIENTATIONS)}
        found["train.orientation"] = np.array([known.get(code, 0) for code in train.orientation.tolist()], np.uint8)
    return found


def _with_columns(train: Cases, found: wire.Tensors) -> Cases:
    patient, spacing, orientation = (found.get(f"train.{name}") for name in ("patient", "spacing_mm", "orientation"))
    return replace(
        train,
        patient=None if patient is None else patient.astype(np.str_),
        spacing_mm=None if spacing is None else spacing.astype(np.float32, copy=False),
        orientation=None if orientation is None else np.array(ORIENTATIONS)[orientation.astype(np.int64)],
    )


def laid_out(folder: Path) -> str:
    """Digest of all that was laid out in a folder: another one for other sites in the same place.

    Raises DataError where there are none.
    """
    try:
        return (folder / DIGEST).read_text(encoding="ascii")
    except OSError as error:
        raise DataError(f"{folder} holds no sites ({error.strerror}); a run lays them out") from error


def names(folder: Path) -> list[str]:
    """Names of the sites laid out in a folder, in their order."""
    return [entry["name"] for entry in json.loads((folder / INDEX).read_text(encoding="utf-8"))["sites"]]
