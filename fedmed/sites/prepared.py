"""Sites laid out on disk for a run's processes, which map them into memory and share the pages."""

from __future__ import annotations

import hashlib
import json
import mmap
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import DataError
from fedmed.sites.cases import SPLITS, Cases, Site
from fedmed.wire import tensors as wire

INDEX = "index.json"


def lay_out(sites: Sequence[Site], folder: Path) -> str:
    """Write every site into `folder`, anew; returns the SHA-256 over all names and tensors, the data's fingerprint."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fingerprint, entries = hashlib.sha256(), []
    for number, site in enumerate(sites):
        file = f"{number:05d}.safetensors"
        parts = {f"{part}.{axis}": getattr(getattr(site, part), axis) for part in SPLITS for axis in ("x", "y")}
        digest = wire.save(parts, folder / file)
        fingerprint.update(f"{site.name}\x1f{digest}\x1e".encode())
        entry = {field: getattr(site.train, field) for field in ("classes", "features", "spatial")}
        entries.append({"name": site.name, "file": file, **entry})
    (folder / INDEX).write_text(json.dumps({"sites": entries}), encoding="utf-8")
    return fingerprint.hexdigest()


def open_site(folder: Path, number: int) -> Site:
    """The `number`-th site of a folder, its arrays mapped from disk. Raises DataError where it is not there."""
    try:
        entry = json.loads((folder / INDEX).read_text(encoding="utf-8"))["sites"][number]
        with (folder / entry["file"]).open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, LookupError) as error:
        raise DataError(f"site number {number} cannot be opened in {folder}: {error!r}") from error
    found = wire.view(mapped, entry["file"])

    def cases(part: str) -> Cases:
        x, y = found[f"{part}.x"], found[f"{part}.y"]
        labels: NDArray[np.integer] = y.astype(np.uint8 if y.ndim > 1 else np.int64, copy=False)
        return Cases(x, labels, tuple(entry["classes"]), features=tuple(entry["features"]), spatial=entry["spatial"])

    return Site(entry["name"], **{part: cases(part) for part in SPLITS})


def names(folder: Path) -> list[str]:
    """Names of the sites laid out in a folder, in their order."""
    return [entry["name"] for entry in json.loads((folder / INDEX).read_text(encoding="utf-8"))["sites"]]
