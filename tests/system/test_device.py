"""From a trained model to a result in the PACS: center, clinic, hub, device, each by the commands of the guides."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pydicom
import pytest

from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.learning import weights
from fedmed.learning.order import ModelSpec
from fedmed.serving.card import Preparation
from fedmed.serving.exporting import Trained, export
from fedmed.sites.readers.folder import FolderOptions, prepared_by
from tests.dicom.orthanc import Orthanc, orthanc
from tests.system.hospitals import ONE_THREAD, ROOT, Hospitals, fedmed, free_port, told

SIZE = 64
PATIENCE_S = 90.0


def until(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.1)


def package(folder: Path, version: str, seed: int) -> Path:
    spec = ModelSpec(name="small-cnn", inputs=(1, SIZE, SIZE), classes=2, options={"widths": [8], "standardise": True})
    pipeline = prepared_by(FolderOptions(size=SIZE, field_of_view_mm=280.0))
    made = Trained("chest", version, spec, weights.fresh(spec, seed), ("clear", "opacity"), Preparation("image"), pipeline)
    return export(made, folder).folder


@dataclass
class Tier:
    """One of everything."""

    hospitals: Hospitals
    clinic: Path
    device: Path
    pacs: Orthanc
    port: int

    def start(self, *arguments: str | Path) -> None:
        """A service, until the end of all tests; up when this returns."""
        log = self.log(*arguments[:2])
        with log.open("ab") as file:
            command = [sys.executable, "-m", "fedmed", *map(str, arguments)]
            process = subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT, env={**os.environ, **ONE_THREAD})
        self.hospitals.stack.callback(process.wait)
        self.hospitals.stack.callback(process.kill)
        until(lambda: b" is up" in log.read_bytes())

    def log(self, *names: str | Path) -> Path:
        return self.hospitals.place / f"{'-'.join(map(str, names))}.log"

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
        found = [urlopen(f"http://127.0.0.1:{self.pacs.port}/instances/{each}/file") for each in self.pacs.ask("/instances")]
        return [pydicom.dcmread(io.BytesIO(each.read())) for each in found]

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
        made = Tier(hospitals, clinic, place / "us-1", stack.enter_context(orthanc(place / "pacs", {}, {})), dicom)
        made.start("clinic", "hub", "up", "--at", clinic)
        fedmed("edge", "join", code, "--hub", f"127.0.0.1:{enrolment}", "--at", made.device)
        fedmed("data", "key", made.device / "site.key")
        pacs = {"host": "127.0.0.1", "port": made.pacs.dicom_port, "ae_title": "ORTHANC"}
        trial = {"minutes": 0.02, "results": 1}
        configured(made.device / "edge.yaml", dicom={"port": dicom}, pacs=pacs, deidentify="site.key", trial=trial)
        made.start("edge", "up", "--at", made.device)
        yield made


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("phantom")
    write_hospitals(folder, 3, share=0.05)
    return sorted(folder.rglob("*.dcm"))


def test_a_release_reaches_the_device_and_a_result_the_patients_own_study(tier: Tier, images: list[Path], tmp_path: Path):
    assert tier.active() is None
    tier.release(package(tmp_path / "one", "1", 3))
    until(lambda: (tier.active() or {}).get("version") == "1")
    tier.store(images[0])
    until(lambda: len(tier.results()) == 1)
    [report], source = tier.results(), pydicom.dcmread(images[0])
    assert report.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.33"  # Comprehensive SR
    for name in ("PatientName", "PatientID", "StudyInstanceUID"):
        assert report[name].value == source[name].value
    [result] = told("edge", "results", "--at", tier.device)
    assert result["model"]["digest"] == (tier.active() or {})["digest"]
    assert result["pipeline"] == prepared_by(FolderOptions(size=SIZE, field_of_view_mm=280.0)).fingerprint()
    assert result["sources"][0]["sop_instance"] == source.SOPInstanceUID
    copies = [path for path in (tier.clinic / "devices/studies").rglob("*") if path.is_file()]
    assert copies
    assert not any(str(source.PatientName).encode() in path.read_bytes() for path in copies)


def test_an_altered_release_never_runs_and_what_ran_runs_on(tier: Tier, images: list[Path], tmp_path: Path):
    log, before = tier.log("edge", "up"), tier.active()
    assert before is not None
    until(lambda: b"release 1: committed" in log.read_bytes())
    altered = package(tmp_path / "two", "2", 4)
    golden = altered / "golden.safetensors"
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
    until(lambda: b"revoked" in tier.log("edge", "up").read_bytes())
    seen = len(tier.results())
    tier.store(images[2])
    until(lambda: len(tier.results()) == seen + 1)
