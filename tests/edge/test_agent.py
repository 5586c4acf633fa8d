"""The agent as a process: what scanners send reaches the hub without names, whatever ends the process meanwhile."""

from __future__ import annotations

import io
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from fedmed.dicom.synthetic.phantom import write_hospitals
from tests.edge.device import Device, device_of
from tests.hub.clinic import Place, serving
from tests.system.hospitals import until

needs_dcmtk = pytest.mark.skipif(shutil.which("storescu") is None, reason="DCMTK is not installed (scripts/realparts)")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("phantom")
    write_hospitals(folder, 3, share=0.05)
    return sorted(folder.rglob("*.dcm"))[:12]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with serving(tmp_path) as hub:
        yield hub


@pytest.fixture
def device(place: Place) -> Iterator[Device]:
    made = device_of(place, "us-1")
    yield made
    if made.process is not None:
        made.end(signal.SIGKILL)


def sent(device: Device, paths: list[Path], title: str = "FEDMED") -> int:
    command = ["storescu", "-aec", title, "127.0.0.1", str(device.port), *map(str, paths)]
    return subprocess.run(command, capture_output=True, check=False).returncode


def studies(place: Place) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(io.BytesIO(each.content)) for each in place.kept]


@needs_dcmtk
def test_images_reach_the_hub_without_names_and_are_not_sent_twice(device: Device, place: Place, images: list[Path]):
    device.start()
    assert sent(device, images) == 0
    until(lambda: len(place.kept) == len(images), device.is_running)
    names = {str(pydicom.dcmread(path).PatientName) for path in images}
    for copy in studies(place):
        assert str(copy.get("PatientName", "")) not in names
        assert copy.PatientIdentityRemoved == "YES"
    assert sent(device, images[:3]) == 0  # a scanner that sends again
    waits = {"instance": len(images), "series": 0, "result": 0, "study": 0, "update": 0}  # they wait for a release
    until(lambda: device.waiting() == waits, device.is_running)
    assert len(place.kept) == len(images)
    assert device.end() == 0
    assert device.status()["state"] == "stopped"


@needs_dcmtk
@pytest.mark.parametrize("at_once", [4, pytest.param(1, marks=pytest.mark.nightly)])
def test_what_was_acknowledged_is_kept_without_a_hub_and_through_kills(
    device: Device, place: Place, images: list[Path], at_once: int
):
    place.hub.ports.stop()
    for first in range(0, len(images), at_once):
        device.start()
        assert sent(device, images[first : first + at_once]) == 0
        device.end(signal.SIGKILL)
    place.again()
    device.start()
    until(lambda: len(place.kept) >= len(images), device.is_running)
    until(lambda: device.waiting()["study"] == 0, device.is_running)
    assert device.waiting()["instance"] == len(images)
    assert len({copy.SOPInstanceUID for copy in studies(place)}) == len(place.kept) == len(images)


@needs_dcmtk
def test_a_wrong_title_is_refused_and_what_is_no_image_is_set_aside_for_people(device: Device, images: list[Path], tmp_path):
    device.start()
    assert sent(device, images[:1], title="OTHER") != 0
    report = pydicom.dcmread(images[0])
    del report.PixelData
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"  # encapsulated PDF
    report.EncapsulatedDocument = b"%PDF-1.4 of somebody"
    report.save_as(tmp_path / "report.dcm")
    assert sent(device, [tmp_path / "report.dcm"]) == 0
    until(lambda: device.status().get("spool", {}).get("dropped"), device.is_running)
    assert device.status()["spool"]["dropped"] == {"set aside": 1}
    assert list(device.folder.glob("aside/objects/*/*"))
