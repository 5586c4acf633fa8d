"""An image to its result on a real agent: what the agent adds to the model's own time, step by step.

The agent is a process as `fedmed edge up` starts it, with a hub, a signed release, DCMTK's `storescp` as the PACS and
pseudonyms for copies. Images come one at a time over one association (pynetdicom), four a second. The model is a ResNet-18
for 224 x 224 with one channel, int8, random weights.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edge_serving import EdgeResNet
from form import Row, make_row, show
from pynetdicom import AE
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fedmed.config.edge import Inference, Pacs, Trial
from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.learning import weights
from fedmed.learning.models import TABLE
from fedmed.learning.order import ModelSpec
from fedmed.serving.card import Preparation
from fedmed.serving.exporting import Trained, export, golden_inputs
from fedmed.serving.quantising import quantise
from fedmed.sites.readers.folder import FolderOptions, prepared_by
from tests.edge.device import Channels, Device, device_of
from tests.hub.clinic import free_port, serving
from tests.system.hospitals import until

SIDE, IMAGES, WARM, ADDED_MS = 224, 100, 5, 60.0
EVERY_S = 0.25
"""Between two images; without a pause the report of one is made while the next is looked at."""
STEPS = ("wait", "read", "prepare", "infer", "tell", "copy", "keep", "make", "send")


def network(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """The benchmark's ResNet-18, for grey images."""
    torch.manual_seed(0)
    made = EdgeResNet()
    made.body[0] = nn.Conv2d(inputs[0], 64, 7, 2, 3, bias=False)
    made.head = nn.Linear(512, outputs)
    return made


def package(folder: Path) -> Path:
    """Exported and quantised, by drawn cases."""
    TABLE["edge-resnet18"] = network
    spec = ModelSpec(name="edge-resnet18", inputs=(1, SIDE, SIDE), classes=2)
    pipeline = prepared_by(FolderOptions(size=SIDE, field_of_view_mm=280.0))
    classes = ("clear", "opacity")
    trained = Trained("chest", "1", spec, weights.fresh(spec, 3), classes, Preparation("image"), pipeline)
    made = export(trained, folder)
    return quantise(made, (case for seed in range(4) for case in golden_inputs(trained, seed + 1))).folder


@contextmanager
def storescp(folder: Path) -> Iterator[int]:
    """DCMTK's, as the PACS; its port."""
    folder.mkdir()
    port = free_port()
    command = ["storescp", "-aet", "PACS", "-od", str(folder), str(port)]
    process = subprocess.Popen(command, env={**os.environ, "TCP_NODELAY": "1"}, stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def sent(port: int, path: Path, association: Any) -> None:
    """One C-STORE, acknowledged."""
    status = association.send_c_store(path)
    if status.Status != 0:
        raise SystemExit(f"the agent answered {status.Status:04X}")


def results(device: Device) -> int:
    """Written so far."""
    return sum(1 for _ in device.folder.glob("results/*/*.json"))


def rows(images: int = IMAGES) -> list[Row]:
    """Of the report."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        place = Path(name)
        write_hospitals(place / "phantom", 3, share=0.5)
        paths = sorted((place / "phantom").rglob("*.dcm"))[: images + WARM]
        hub = stack.enter_context(serving(place, beat_s=1.0))
        Channels(hub).release(package(place / "package"), "chest", "1")
        pacs = stack.enter_context(storescp(place / "pacs"))
        inference, trial = Inference(precision="int8", threads=1), Trial(minutes=0.01, results=1)
        to = Pacs(host="127.0.0.1", port=pacs, ae_title="PACS")
        device = device_of(hub, "us-1", inference=inference, trial=trial, pacs=to)
        device.start()
        stack.callback(device.end)
        until(lambda: device.status().get("models", {}).get("active"), device.is_running)
        entity = AE(ae_title="BENCH")
        entity.add_requested_context("1.2.840.10008.5.1.4.1.1.1.1")
        entity.add_requested_context("1.2.840.10008.5.1.4.1.1.1")
        association = entity.associate("127.0.0.1", device.port, ae_title="FEDMED")
        whole = list[float]()
        for number, path in enumerate(paths):
            sent(device.port, path, association)
            began = time.monotonic()
            while results(device) <= number:
                time.sleep(0.001)
            whole.append(time.monotonic() - began)
            time.sleep(max(0.0, EVERY_S - whole[-1]))
        association.release()
        until(lambda: device.status()["stages"].get("whole", {}).get("count", 0) >= len(paths), device.is_running)
        stages = device.status()["stages"]
    return told(stages, np.array(whole[WARM:]) * 1e3)


def told(stages: dict[str, Any], whole_ms: np.ndarray[Any, Any]) -> list[Row]:
    """Steps, and what is added to the model."""
    infer = stages["infer"]
    added = stages["whole"]["p99_ms"] - infer["median_ms"]
    found = [make_row(f"{step}, median", stages[step]["median_ms"], "ms") for step in STEPS if step in stages]
    return [
        *found,
        make_row("the model itself, p99", infer["p99_ms"], "ms"),
        make_row("received to result on the disk, median", stages["whole"]["median_ms"], "ms"),
        make_row("received to result on the disk, p99", stages["whole"]["p99_ms"], "ms"),
        make_row("the agent adds: that less the model's median", added, "ms", f"<= {ADDED_MS:.0f}", added <= ADDED_MS),
        make_row("seen from outside, result file written, median", float(np.median(whole_ms)), "ms"),
        make_row("images", len(whole_ms), "images"),
    ]


if __name__ == "__main__":
    show("edge_agent", rows(), "--json" in sys.argv)
