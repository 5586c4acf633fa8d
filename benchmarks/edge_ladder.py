"""A device that chooses its precision while images come: what it comes to, how long that takes, what it costs the images.

The agent is a process as `fedmed edge up` starts it, with `inference.precision: auto`, a hub, a signed release (ResNet-18
for 224 x 224, fp32 and int8, random weights) and DCMTK's `storescp` as the PACS. Images come one at a time over one
association, four a second, until the choice was made and held, or there are no more. Seen from outside: from an image's
acknowledgement to its result file, while nothing is measured and while it is, as the agent's status said before.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from edge_agent import EVERY_S, package, results, sent, storescp
from form import Row, make_row, show
from pynetdicom import AE

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fedmed.config.edge import Inference, Pacs, Trial
from fedmed.dicom.synthetic.phantom import write_hospitals
from tests.edge.device import Channels, Device, device_of
from tests.hub.clinic import serving
from tests.system.hospitals import until

MOST = 320
CLASSES = ("1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1")
Timeline = list[tuple[float, str, bool]]
"""Of each image: seconds, the precision that looked, whether rungs were being measured."""


def ladder(device: Device) -> dict[str, Any]:
    """As the status tells it."""
    told: dict[str, Any] = device.status()["models"]["ladder"]
    return told


def followed(device: Device, paths: list[Path]) -> Timeline:
    """Images until the choice is held."""
    entity, seen = AE(ae_title="BENCH"), Timeline()
    for each in CLASSES:
        entity.add_requested_context(each)
    association = entity.associate("127.0.0.1", device.port, ae_title="FEDMED")
    for number, path in enumerate(paths):
        before = ladder(device)
        sent(device.port, path, association)
        began = time.monotonic()
        while results(device) <= number:
            time.sleep(0.001)
        took = time.monotonic() - began
        seen.append((took, str(before.get("precision", "fp32")), "measures" in before["why"]))
        if before.get("phase") == "held":
            break
        time.sleep(max(0.0, EVERY_S - took))
    association.release()
    return seen


def rows() -> list[Row]:
    """Of the report."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        place = Path(name)
        write_hospitals(place / "phantom", 3, share=1.0)
        paths = sorted((place / "phantom").rglob("*.dcm"))[:MOST]
        hub = stack.enter_context(serving(place, beat_s=1.0))
        Channels(hub).release(package(place / "package"), "chest", "1")
        pacs = stack.enter_context(storescp(place / "pacs"))
        to = Pacs(host="127.0.0.1", port=pacs, ae_title="PACS")
        trial = Trial(minutes=0.01, results=1)
        device = device_of(hub, "us-1", inference=Inference(threads=1), trial=trial, pacs=to)
        device.start()
        stack.callback(device.end)
        until(lambda: device.status().get("models", {}).get("active"), device.is_running)
        seen, told = followed(device, paths), ladder(device)
    return shown(seen, told)


def shown(seen: Timeline, told: dict[str, Any]) -> list[Row]:
    """Rows of the timeline and of the rungs."""
    made = [make_row(f"the choice: {told['precision']}, {told['phase']}, after images", len(seen), "images")]
    for each in told["rungs"]:
        lost = "unknown" if each["loss_points"] is None else f"{each['loss_points']:.2f} points lost"
        made.append(
            make_row(f"{each['precision']} on {each['backend']}, {lost}: {each['reason']}", each["median_ms"] or 0.0, "ms")
        )
    kinds = sorted({(precision, measuring) for _, precision, measuring in seen})
    for precision, measuring in kinds:
        took = np.array([each for each, *kind in seen if kind == [precision, measuring]]) * 1e3
        what = f"image to result in {precision}, {'while rungs are measured' if measuring else 'nothing measured'}"
        for share, word in ((0.5, "median"), (0.99, "p99")):
            made.append(make_row(f"{what}, {word} of {len(took)}", float(np.quantile(took, share)), "ms"))
    return made


if __name__ == "__main__":
    show("edge_ladder", rows(), "--json" in sys.argv)
