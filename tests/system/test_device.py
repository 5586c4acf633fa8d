"""From a trained model to a result in the PACS: center, clinic, hub, device, each by the commands of the guides."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom
import pytest

from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.learning import weights
from fedmed.learning.order import ModelSpec
from fedmed.serving.card import Preparation
from fedmed.serving.exporting import Trained, export
from fedmed.serving.packages import GOLDEN, Package, write_package
from fedmed.sites.readers.folder import FolderOptions, prepared_by
from tests.dicom.orthanc import Orthanc, orthanc
from tests.system.hospitals import Hospitals, Service, fedmed, free_port, told, until

SIZE = 64


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """A model as training leaves it, exported."""
    spec = ModelSpec(name="small-cnn", inputs=(1, SIZE, SIZE), classes=2, options={"widths": [8], "standardise": True})
    pipeline = prepared_by(FolderOptions(size=SIZE, field_of_view_mm=280.0))
    made = Trained("chest", "1", spec, weights.fresh(spec, 3), ("clear", "opacity"), Preparation("image"), pipeline)
    return export(made, tmp_path_factory.mktemp("exported") / "package")


@dataclass
class Tier:
    """One of everything."""

    hospitals: Hospitals
    clinic: Path
    edge: Service
    pacs: Orthanc
    port: int

    @property
    def device(self) -> Path:
        return self.edge.folder

    def release(self, folder: Path) -> int:
        """Proposed, promoted, countersigned."""
        center = self.hospitals.center.folder
        counter = str(told("release", "propose", folder, "--at", center)["release"])
        for _ in range(2):
            fedmed("release", "promote", counter, "--at", center)
        secret = self.hospitals.place / "north.pass"
        signed = ("--approver", "frey", "--key", self.hospitals.key("north"), "--passphrase-file", secret)
        fedmed("clinic", "release", "approve", counter, *signed, "--at", self.clinic)
        return int(counter)

    def active(self) -> dict | None:
        status = self.device / "status.json"
        return json.loads(status.read_bytes()).get("models", {}).get("active") if status.exists() else None

    def results(self) -> list[pydicom.Dataset]:
        """What the PACS holds, by when it came."""
        return [pydicom.dcmread(io.BytesIO(self.pacs.instance(each))) for each in self.pacs.ask("/instances")]

    def copies(self) -> list[Path]:
        """What the clinic has of its devices."""
        return [path for path in (self.clinic / "devices/studies").rglob("*") if path.is_file()]

    def store(self, *paths: Path) -> None:
        subprocess.run(["storescu", "-aec", "FEDMED", "127.0.0.1", str(self.port), *map(str, paths)], check=True)


def configured(file: Path, **values: object) -> None:
    text = file.read_text()
    for key, value in values.items():
        text, found = re.subn(rf"^{key}: .*$", f"{key}: {json.dumps(value)}", text, flags=re.MULTILINE)
        assert found == 1
    file.write_text(text)


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    with ExitStack() as stack:
        place = tmp_path_factory.mktemp("tier")
        hospitals = Hospitals(place, stack)
        hospitals.center.start()
        clinic, secret = hospitals.join("north"), place / "north.pass"
        secret.write_text("four words are enough")
        secret.chmod(0o600)
        fedmed("clinic", "approver", "frey", "--key", hospitals.key("north"), "--passphrase-file", secret, "--at", clinic)
        root = told("release", "init", "--root-key", place / "root.key", "--at", hospitals.center.folder)["fingerprint"]
        fedmed("clinic", "release", "init", "--fingerprint", root, "--root-key", place / "north.root.key", "--at", clinic)
        code = told("clinic", "devices", "invite", "us-1", "--at", clinic)["code"]
        port, enrolment, dicom = free_port(), free_port(), free_port()
        configured(clinic / "devices/hub.yaml", listen="127.0.0.1", port=port, enrolment_port=enrolment, beat_s=1.0)
        (place / "pacs").mkdir()
        archive = stack.enter_context(orthanc(place / "pacs", {}, {}))
        made = Tier(hospitals, clinic, Service("edge", place / "us-1"), archive, dicom)
        hub = Service("clinic hub", clinic)
        stack.callback(hub.end, signal.SIGKILL)
        hub.start()
        fedmed("edge", "join", code, "--hub", f"127.0.0.1:{enrolment}", "--at", made.device)
        fedmed("data", "key", made.device / "site.key")
        pacs = {"host": "127.0.0.1", "port": made.pacs.dicom_port, "ae_title": "ORTHANC"}
        trial = {"minutes": 0.02, "results": 1}
        configured(made.device / "edge.yaml", dicom={"port": dicom}, pacs=pacs, deidentify="site.key", trial=trial)
        stack.callback(made.edge.end, signal.SIGKILL)
        made.edge.start()
        yield made


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("phantom")
    write_hospitals(folder, 3, share=0.05)
    return sorted(folder.rglob("*.dcm"))


def test_a_release_reaches_the_device_and_a_result_the_patients_own_study(tier: Tier, images: list[Path], first: Package):
    tier.store(images[0])  # it waits for a release, and its copy does not
    until(lambda: bool(tier.copies()))
    assert (tier.active(), tier.results()) == (None, [])
    tier.release(first.folder)
    until(lambda: (tier.active() or {}).get("version") == "1")
    until(lambda: len(tier.results()) == 1)
    [report], source = tier.results(), pydicom.dcmread(images[0])
    assert report.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.33"  # Comprehensive SR
    for name in ("PatientName", "PatientID", "StudyInstanceUID"):
        assert report[name].value == source[name].value
    [result] = told("edge", "results", "--at", tier.device)
    assert result["model"]["digest"] == (tier.active() or {})["digest"]
    assert result["pipeline"] == prepared_by(FolderOptions(size=SIZE, field_of_view_mm=280.0)).fingerprint()
    assert result["sources"][0]["sop_instance"] == source.SOPInstanceUID
    assert not any(str(source.PatientName).encode() in path.read_bytes() for path in tier.copies())


def test_an_altered_release_never_runs_and_what_ran_runs_on(tier: Tier, images: list[Path], first: Package, tmp_path: Path):
    log, before = tier.edge.log, tier.active()
    assert before is not None
    until(lambda: b"release 1: committed" in log.read_bytes())
    altered = shutil.copytree(first.folder, tmp_path / "two")
    write_package(altered, replace(first.card, version="2"), {})
    golden = altered / GOLDEN
    golden.write_bytes(golden.read_bytes()[:-4] + b"\x00\x00\xc0\x7f")  # signed as it is, and its last number is not one
    tier.release(altered)
    until(lambda: b"release 2: " in log.read_bytes())
    seen = len(tier.results())
    tier.store(images[1])
    until(lambda: len(tier.results()) == seen + 1)
    assert tier.active() == before


def test_the_devices_log_verifies_and_its_clinics_tells_of_the_device(tier: Tier):
    assert fedmed("audit", "verify", tier.device / "audit").returncode == 0
    events = told("audit", "show", tier.clinic / "audit", "--last", "50")["events"]
    actions = {each["action"] for each in events}
    assert {"invite.device", "enrol", "release.approve"} <= actions


def test_a_device_that_is_revoked_is_let_in_no_more_and_still_serves_its_scanner(tier: Tier, images: list[Path]):
    fedmed("clinic", "devices", "revoke", "us-1", "--at", tier.clinic)
    until(lambda: b"revoked" in tier.edge.log.read_bytes())
    seen = len(tier.results())
    tier.store(images[2])
    until(lambda: len(tier.results()) == seen + 1)


def test_it_comes_back_in_its_own_folder_and_what_waited_there_reaches_the_clinic(tier: Tier):
    tier.edge.end()
    held = len(tier.copies())
    said = told("clinic", "devices", "invite", "us-1", "--at", tier.clinic)
    fedmed("edge", "join", said["code"], "--hub", f"127.0.0.1:{said['port']}", "--again", "--at", tier.device)
    tier.edge.start()
    until(lambda: len(tier.copies()) > held)
    assert tier.edge.end() == 0
    for log in (tier.device / "audit", *tier.device.glob("before-*/audit")):
        assert fedmed("audit", "verify", log).returncode == 0
