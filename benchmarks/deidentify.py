"""De-identification of real CT files: milliseconds and what is left, beside dicom-anonymizer; and the speed of sealing.

    scripts/bench deidentify [--files 30] [--times 5] [--json]

All three read each file from memory and write it to memory; they take turns, and the least of the runs counts, in CPU time.
Work is not equal: dicom-anonymizer does the Basic Profile of 2026c alone, fedmed its options too, and pixels and texts.
What is left is counted by `fedmed data deid --verify`, in the copies of both.
"""

from __future__ import annotations

import argparse
import copy
import io
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pydicom
from dicomanonymizer import anonymize_dataset
from dicomanonymizer.simpledicomanonymizer import initialize_actions
from form import Row, data_root, make_row, need, show

from fedmed.dicom.deid.engine import deidentify
from fedmed.dicom.deid.folder import encoded, files_of
from fedmed.dicom.deid.pseudonyms import Pseudonyms
from fedmed.dicom.deid.verify import check
from fedmed.dicom.limits import LIMITS
from fedmed.privacy.sealing import seal, unsealed

KEYS = Pseudonyms(b"u" * 32, b"i" * 32, b"d" * 32)
SERIES = "acrin_chest_petct_49"
SEALED_MB = 64

Way = Callable[[pydicom.Dataset], bytes]


def ours(dataset: pydicom.Dataset) -> bytes:
    """fedmed's profile with its four options."""
    return encoded(deidentify(dataset, KEYS)[0])


def theirs(dataset: pydicom.Dataset) -> bytes:
    """dicom-anonymizer's Basic Profile of the same edition."""
    anonymize_dataset(dataset, base_rules_gen=lambda: initialize_actions("dicomfields_2026c"))
    return encoded(dataset)


WAYS: dict[str, Way] = {"reading and writing alone": encoded, "fedmed": ours, "dicom-anonymizer": theirs}


def milliseconds(contents: list[bytes], times: int) -> dict[str, float]:
    """Least CPU milliseconds a file of each way, in turns."""
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(times):
        for name, way in WAYS.items():
            began = time.process_time()
            for content in contents:
                way(pydicom.dcmread(io.BytesIO(content)))
            found[name].append((time.process_time() - began) / len(contents) * 1e3)
    return {name: min(runs) for name, runs in found.items()}


def leaks(contents: list[bytes], way: Way) -> Counter[str]:
    """What verification finds in the copies."""
    found = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "copy.dcm"
        for content in contents:
            original = pydicom.dcmread(io.BytesIO(content))
            target.write_bytes(way(copy.deepcopy(original)))
            found += check(original, target, LIMITS).leaks
    return found


def sealing(times: int) -> dict[str, float]:
    """MB a CPU second of sealing and of reading again."""
    content, key, found = bytes(SEALED_MB * 2**20), b"k" * 32, {"sealing": 0.0, "unsealing": 0.0}
    for _ in range(times):
        target = io.BytesIO()
        began = time.process_time()
        seal(key, "a", io.BytesIO(content), target)
        middle = time.process_time()
        target.seek(0)
        assert sum(map(len, unsealed(key, "a", target))) == len(content)
        ended = time.process_time()
        for name, seconds in (("sealing", middle - began), ("unsealing", ended - middle)):
            found[name] = max(found[name], SEALED_MB * 2**20 / 1e6 / seconds)
    return found


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=30)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = data_root() / "ct" / SERIES
    need(folder, "the CT series")
    contents = [path.read_bytes() for path in files_of(folder)[: options.files]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        took = milliseconds(contents, options.times)
        rows: list[Row] = [make_row(name, value, "CPU ms/file") for name, value in took.items()]
        rows += [
            make_row(f"{name}: values left", sum(leaks(contents, WAYS[name]).values()), f"in {len(contents)} copies")
            for name in ("fedmed", "dicom-anonymizer")
        ]
    rows += [make_row(name, value, "MB/CPU s") for name, value in sealing(options.times).items()]
    show("deidentify", rows, options.json)


if __name__ == "__main__":
    main()
