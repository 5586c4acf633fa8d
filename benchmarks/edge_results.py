"""What results cost on a device: to make SR and SEG, and to send them, beside DCMTK's storescu to the same storescp."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks.form import Row, make_row, show
from fedmed.dicom.destination import Destination
from fedmed.dicom.results.report import report
from fedmed.dicom.results.segments import segmentation
from fedmed.dicom.sending import Sender
from fedmed.dicom.statuses import Outcome
from fedmed.dicom.synthetic.ct_phantom import Protocol
from tests.dicom.results.samples import FINDING, masked, series, source
from tests.dicom.storage_servers import storescp

OBJECTS, TURNS = 40, 5
VOLUME = Protocol(slices=32, rows=256, columns=256)


def rows() -> list[Row]:
    """Made: milliseconds an object, after the first, which imports highdicom. Sent: over one association."""
    return [*making(), *sending()]


def making() -> list[Row]:
    """SR of 2 and of 14 classes about one image, SEG of two classes on a volume of 32 slices of 256 x 256."""
    image = source()
    fourteen = replace(
        FINDING, classes=tuple(f"class {k}" for k in range(14)), probabilities=tuple(k / 14 for k in range(14)), concepts={}
    )
    slices = series(VOLUME, "bench")
    mask = np.zeros(VOLUME.shape, np.uint8)
    mask[8:24, 60:160, 60:160], mask[12:20, 100:140, 100:140] = 1, 2
    drawn = masked(mask)
    return [
        *_timed("SR, 2 classes", lambda: report(image, FINDING)),
        *_timed("SR, 14 classes", lambda: report(image, fourteen)),
        *_timed("SEG, 32 slices of 256 x 256, 2 classes", lambda: segmentation(slices, drawn)),
    ]


def sending() -> list[Row]:
    """`OBJECTS` different SR to one storescp, in turns; what each sender stored is compared."""
    objects = [report(source(SOPInstanceUID=f"1.2.3.{k}"), FINDING) for k in range(OBJECTS)]
    took: dict[str, list[float]] = {"fedmed": [], "storescu": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "objects").mkdir()
        for k, content in enumerate(objects):
            (folder / "objects" / f"{k:03d}.dcm").write_bytes(content)
        for turn in range(TURNS):
            for who in took:
                there = folder / f"{who}-{turn}"
                with storescp(there) as port:
                    took[who].append(_fedmed(port, objects) if who == "fedmed" else _storescu(port, folder / "objects"))
                if len(list(there.iterdir())) != OBJECTS:
                    raise SystemExit(f"{who} did not store all {OBJECTS} objects")
    made = [
        make_row(f"C-STORE of {OBJECTS} SR by {who}, min", min(seconds) * 1000 / OBJECTS, "ms/object")
        for who, seconds in took.items()
    ]
    made += [
        make_row(f"C-STORE of {OBJECTS} SR by {who}, median", statistics.median(seconds) * 1000 / OBJECTS, "ms/object")
        for who, seconds in took.items()
    ]
    return made


def _timed(name: str, make: Callable[[], bytes]) -> list[Row]:
    first = make()
    took = []
    for _ in range(20):
        begun = time.perf_counter()
        same = make() == first
        took.append((time.perf_counter() - begun) * 1000)
        if not same:
            raise SystemExit(f"{name} differs from one time to the next")
    return [
        make_row(f"{name}, min", min(took), "ms"),
        make_row(f"{name}, median", statistics.median(took), "ms"),
        make_row(f"{name}, size", len(first), "bytes"),
    ]


def _fedmed(port: int, objects: list[bytes]) -> float:
    begun = time.perf_counter()
    with Sender(Destination("127.0.0.1", port, "STORE")) as sender:
        ends = sender.send(objects)
    took = time.perf_counter() - begun
    if any(end.outcome is not Outcome.STORED for end in ends):
        raise SystemExit(f"not all were stored: {ends}")
    return took


def _storescu(port: int, folder: Path) -> float:
    """Its start is in the figure, as a shell would see it."""
    begun = time.perf_counter()
    subprocess.run(
        ["storescu", "-aec", "STORE", "+sd", "127.0.0.1", str(port), str(folder)], check=True, capture_output=True
    )
    return time.perf_counter() - begun


if __name__ == "__main__":
    show("edge-results", rows(), "--json" in sys.argv)
