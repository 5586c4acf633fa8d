"""Work that moves: a hub and its devices as processes, one of them isolated, whose images get results all the same."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pydicom
import pytest

from fedmed.clock import SystemClock
from fedmed.config.edge import EDGE_FILE, Dicom, Edge, Elsewhere, Trial
from fedmed.config.roles import written
from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.edge.folder import make_edge, open_edge
from fedmed.learning import weights
from fedmed.learning.order import ModelSpec
from fedmed.privacy import keys
from fedmed.serving.card import Preparation
from fedmed.serving.exporting import Trained, export
from fedmed.sites.readers.folder import FolderOptions, prepared_by
from fedmed.store.standing import read_status
from tests.edge.device import Channels, Device
from tests.hub.clinic import free_port
from tests.hub.process import Service
from tests.system.hospitals import ROOT, fedmed, until

SIZE = 64
HELPERS = ("us-2", "us-3")


@dataclass(kw_only=True)
class Box(Device):
    """A device whose card may be lost."""

    is_unwell: bool = False

    def start(self, version: str | None = None) -> None:
        if not self.is_unwell:
            super().start(version)
            return
        with self.log.open("ab") as log:
            seen = log.tell()
            command = [sys.executable, "-m", "tests.edge.unwell", str(self.folder)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        until(lambda: b" is up" in self.log.read_bytes()[seen:], self.is_running)

    def send(self, *paths: Path) -> None:
        subprocess.run(["storescu", "-aec", "FEDMED", "127.0.0.1", str(self.port), *map(str, paths)], check=True)

    def active(self) -> bool:
        return (self.status().get("models") or {}).get("active") is not None


@dataclass
class Clinic:
    hub: Service
    boxes: dict[str, Box]

    def looks(self) -> list[dict]:
        tasks = read_status(self.hub.hub.path).get("placement", {}).get("tasks", [])
        return [each for each in tasks if each["name"].startswith("look:")]

    def where(self) -> set[str]:
        return {name for each in self.looks() for name in each["where"]}


def box_of(hub: Service, name: str, path: Path) -> Box:
    joined = hub.joined(name, path)
    make_edge(joined)
    keys.create(path / "site.key")
    config = Edge(
        name=name,
        hub="127.0.0.1",
        port=hub.hub.config.port,
        dicom=Dicom(port=free_port()),
        deidentify=None,
        trial=Trial(minutes=0.01, results=1),
        elsewhere=Elsewhere(asks=name == "us-1", after=None),
    )
    (path / EDGE_FILE).write_bytes(written(config))
    return Box("edge", path, config=open_edge(path, SystemClock()).config)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    with ExitStack() as stack:
        place = tmp_path_factory.mktemp("elsewhere")
        spec = ModelSpec(name="small-cnn", inputs=(1, SIZE, SIZE), classes=2, options={"widths": [8], "standardise": True})
        pipeline = prepared_by(FolderOptions(size=SIZE, field_of_view_mm=280.0))
        made = Trained("chest", "1", spec, weights.fresh(spec, 3), ("clear", "opacity"), Preparation("image"), pipeline)
        package = export(made, place / "package")
        hub = Service(place / "north")
        hub.rules(hub.hub, beat_s=1.0)
        Channels(SimpleNamespace(folder=hub.hub)).release(package.folder, "chest", "1")  # type: ignore[arg-type]
        hub.start()
        stack.callback(hub.kill)
        boxes = {name: box_of(hub, name, place / name) for name in ("us-1", *HELPERS)}
        boxes["us-1"].is_unwell = True
        for box in boxes.values():
            stack.callback(box.end, signal.SIGKILL)
        with ThreadPoolExecutor(len(boxes)) as pool:
            list(pool.map(Box.start, boxes.values()))
        for box in boxes.values():
            until(box.active, box.is_running)
        yield Clinic(hub, boxes)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("phantom")
    write_hospitals(folder, 3, share=0.05)
    return sorted(folder.rglob("*.dcm"))[:10]


def uids(paths: list[Path]) -> list[str]:
    return [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths]


def told_of(box: Box) -> list[str]:
    return [each["sources"][0]["sop_instance"] for each in box.results()]


def test_the_images_of_an_isolated_device_get_results_that_say_where_they_were_computed(clinic: Clinic, images: list[Path]):
    box = clinic.boxes["us-1"]
    until(lambda: box.status().get("health", {}).get("isolated", "") != "", box.is_running)
    box.send(*images[:4])
    until(lambda: len(box.results()) == 4, box.is_running)
    assert sorted(told_of(box)) == sorted(uids(images[:4]))
    for each in box.results():
        assert each["device"] == "us-1"
        assert each["computed_on"] in HELPERS
    told = r"images that were looked at elsewhere since it is up: \d at us-"  # a moment after the results
    until(lambda: re.search(told, fedmed("edge", "status", "--at", box.folder).stdout), box.is_running)
    said = fedmed("edge", "status", "--at", box.folder).stdout
    assert "others are asked to look at its images: it takes no work: gpu0: gpu reachable is 0, below 1" in said
    until(lambda: sum(box.status()["elsewhere"]["by"].values()) == 4 and box.waiting()["instance"] == 0, box.is_running)


def test_a_helper_that_is_killed_at_an_image_loses_it_to_the_other(clinic: Clinic, images: list[Path]):
    box, seen = clinic.boxes["us-1"], len(clinic.boxes["us-1"].results())
    for name in HELPERS:
        os.kill(clinic.boxes[name].process.pid, signal.SIGSTOP)
    box.send(images[4])
    until(lambda: clinic.where() & set(HELPERS), box.is_running)
    [dead] = clinic.where()
    other = next(name for name in HELPERS if name != dead)
    os.kill(clinic.boxes[other].process.pid, signal.SIGCONT)
    clinic.boxes[dead].end(signal.SIGKILL)
    until(lambda: len(box.results()) == seen + 1, box.is_running)
    [result] = [each for each in box.results() if each["sources"][0]["sop_instance"] in uids(images[4:5])]
    assert result["computed_on"] == other
    clinic.boxes[dead].start()


@pytest.mark.nightly  # tests/hub/test_lending.py has it without processes
def test_a_hub_that_is_killed_with_an_image_under_way_goes_on_with_it_once(clinic: Clinic, images: list[Path]):
    box, seen = clinic.boxes["us-1"], len(clinic.boxes["us-1"].results())
    for name in HELPERS:
        os.kill(clinic.boxes[name].process.pid, signal.SIGSTOP)
    box.send(images[5])
    until(clinic.looks, box.is_running)
    clinic.hub.kill()
    clinic.hub.start()
    for name in HELPERS:
        os.kill(clinic.boxes[name].process.pid, signal.SIGCONT)
    until(lambda: len(box.results()) == seen + 1, box.is_running)
    assert told_of(box).count(uids(images[5:6])[0]) == 1
    assert len(told_of(box)) == len(set(told_of(box)))
