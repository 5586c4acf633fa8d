"""An agent with a released model of volumes: series that a scanner sends in pieces, through kills, to a PACS."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fedmed.config.edge import Pacs, Trial, Volumes
from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise, write
from fedmed.sites.studies import Study, Workshop, prepared
from tests.edge.device import Channels, Device, device_of
from tests.edge.packages import volume_package
from tests.edge.series import TARGET
from tests.hub.clinic import Place, free_port, serving
from tests.system.hospitals import until

needs_dcmtk = pytest.mark.skipif(shutil.which("storescu") is None, reason="DCMTK is not installed (scripts/realparts)")
COUNT = 7
PROTOCOL = Protocol(slices=COUNT, rows=32, columns=24, gap_mm=11.0, spacing_mm=(10.0, 9.0))


def slices(folder: Path) -> list[Path]:
    """A series in an order of the scanner's own; each image says how many there are."""
    made = synthesise(3, folder.name, PROTOCOL).slices
    for dataset in made:
        dataset.ImagesInAcquisition = COUNT
    random.Random(1).shuffle(made)
    return write(made, folder)


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """DCMTK's storescp: a folder, a port."""
    folder, port = tmp_path / "pacs", free_port()
    folder.mkdir()
    process = subprocess.Popen(["storescp", "-od", str(folder), str(port)], stdout=subprocess.DEVNULL)
    yield folder, port
    process.kill()
    process.wait()


@pytest.fixture
def device(tmp_path: Path, pacs: tuple[Path, int]) -> Iterator[Device]:
    with ExitStack() as stack:
        hub: Place = stack.enter_context(serving(tmp_path, beat_s=1.0))
        Channels(hub).release(volume_package(tmp_path / "package").folder, "lungs", "1")
        made = device_of(
            hub,
            "ct-1",
            trial=Trial(minutes=0.01, results=1),
            pacs=Pacs(host="127.0.0.1", port=pacs[1], ae_title="PACS"),
            volumes=Volumes(quiet_s=300),
        )
        stack.callback(made.end, signal.SIGKILL)
        made.start()
        until(lambda: made.status().get("models", {}).get("active"), made.is_running)
        sent(made, slices(tmp_path / "first"))
        until(lambda: b"release 1: committed" in made.log.read_bytes(), made.is_running)
        assert len(made.results()) == 1
        yield made


def sent(device: Device, paths: list[Path]) -> None:
    command = ["storescu", "-aec", "FEDMED", "127.0.0.1", str(device.port), *map(str, paths)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@needs_dcmtk
def test_a_series_in_pieces_and_through_kills_gives_one_result_about_all_its_images(
    device: Device, pacs: tuple[Path, int], tmp_path: Path
):
    images = slices(tmp_path / "second")
    sent(device, images[:4])
    device.end(signal.SIGKILL)
    device.start()
    sent(device, images[2:])  # a scanner that tries again
    until(lambda: len(list(pacs[0].iterdir())) == 2, device.is_running)
    device.end(signal.SIGKILL)
    device.start()
    sent(device, images[:1])
    until(lambda: device.waiting()["instance"] == 0 and device.waiting()["study"] == 0, device.is_running)
    assert device.end() == 0
    uids = {str(pydicom.dcmread(path).SOPInstanceUID) for path in images}
    assert len(device.results()) == 2
    [record] = [each for each in device.results() if {one["sop_instance"] for one in each["sources"]} == uids]
    assert (record["series"]["whole"], record["series"]["refused"]) == ("counted", [])
    assert record["probabilities"][1] == pytest.approx(expected(images), abs=1e-6)
    reports = [pydicom.dcmread(path) for path in pacs[0].iterdir()]
    assert len(reports) == 2
    [report] = [each for each in reports if each.SOPInstanceUID == record["series"]["result"]]
    assert (
        len(report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence) == COUNT
    )
    assert device.waiting() == {"instance": 0, "series": 2 * (COUNT + 1), "result": 0, "study": 0, "update": 0}


def expected(images: list[Path]) -> float:
    """What training's own preparation and the model's one line come to."""
    [study] = prepared(images[0].parent, Workshop(TARGET, backend=os.environ.get("FEDMED_BACKEND")))
    assert isinstance(study, Study)
    return float(1 / (1 + np.exp(-study.image.mean(dtype=np.float64))))
