"""The PACS, the ports and the watched folder of a device, as real programs and file systems have them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from fedmed.config.edge import EDGE_FILE, Dicom, DicomTls, Pacs, PacsTls, Stow
from fedmed.edge.doctor.configuration import Asked
from fedmed.operation.doctor.finding import CODES, Finding, Status, exit_code
from tests.clinic.doctor.test_machine import mounted
from tests.dicom.conftest import authority as authority
from tests.dicom.orthanc import Orthanc, orthanc
from tests.dicom.storage_servers import storescp
from tests.edge.device import Device, device_of
from tests.edge.doctor.examined import changed, examined
from tests.hub.clinic import free_port, serving

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    with serving(tmp_path_factory.mktemp("hub")) as place:
        yield device_of(place, "us-1")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """A PACS that wants to be called by its name, by those that it knows."""
    with orthanc(
        tmp_path_factory.mktemp("pacs"),
        {"device": ["FEDMED", "127.0.0.1", 4242]},
        {},
        DicomCheckCalledAet=True,
        DicomAlwaysAllowEcho=False,
        DicomAlwaysAllowStore=False,
    ) as found:
        yield found


def pacs_of(device: Device, **settings: object) -> Finding:
    there = Pacs(**({"host": "127.0.0.1", "ae_title": "ORTHANC"} | settings))
    return examined(changed(device.folder, pacs=there), "pacs")["pacs"]


def failed(found: Finding) -> Finding:
    assert found.status is Status.FAIL
    assert found.allowed
    assert found.todo
    assert exit_code([found]) == CODES[found.check]
    return found


def test_orthanc_answers_to_the_right_titles(device: Device, archive: Orthanc):
    found = pacs_of(device, port=archive.dicom_port)
    assert (found.status, "takes SR and SEG" in found.got) == (Status.OK, True)
    assert archive.instances() == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ae_title": "PACS"}, "rejected the association"),
        ({"calling": "NOBODY"}, "calling NOBODY"),
        ({"host": "pacs.invalid"}, "no connection to pacs.invalid"),
    ],
)
def test_wrong_titles_and_a_wrong_name(device: Device, archive: Orthanc, changes: dict[str, str], said: str):
    found = failed(pacs_of(device, port=archive.dicom_port, **changes))
    assert said in found.got
    assert "have the PACS know this device's title" in found.todo


def test_a_wrong_port_of_the_pacs(device: Device, archive: Orthanc):
    assert "Connection refused" in failed(pacs_of(device, port=free_port())).got
    assert "does not answer as a DICOM server" in failed(pacs_of(device, port=archive.port)).got  # its HTTP port


def test_a_storage_server_that_takes_no_segmentations(device: Device, tmp_path: Path):
    profile = "[[TransferSyntaxes]]\n[Plain]\nTransferSyntax1=LittleEndianExplicit\nTransferSyntax2=LittleEndianImplicit\n"
    profile += "[[PresentationContexts]]\n[SR]\nPresentationContext1=ComprehensiveSRStorage\\Plain\n"
    profile += "PresentationContext2=VerificationSOPClass\\Plain\n[[Profiles]]\n[Few]\nPresentationContexts=SR\n"
    (tmp_path / "few.cfg").write_text(profile)
    with storescp(tmp_path / "all") as port:
        assert pacs_of(device, port=port).status is Status.OK
    with storescp(tmp_path / "few", "-xf", str(tmp_path / "few.cfg"), "Few") as port:
        found = pacs_of(device, port=port)
    assert (found.status, "takes no SEG" in found.got) == (Status.WARN, True)


def test_faults_of_the_configuration_stand_on_lines_of_their_own(device: Device):
    file = changed(device.folder).folder / EDGE_FILE
    before = file.read_bytes()
    file.write_bytes(before + b'a: 1\nb: "\\e[31m"\n')
    try:
        got = failed(examined(Asked(device.folder))["configuration"]).got
    finally:
        file.write_bytes(before)
    assert [line.partition("unknown key")[1] for line in got.split("\n")] == ["", "unknown key", "unknown key"]
    assert "\\n" not in got


def port_of(device: Device, **settings: object) -> Finding:
    asked = changed(device.folder, dicom=Dicom(**({"port": device.port} | settings)))
    return examined(asked, "scanner port")["scanner port"]


def test_a_port_that_is_free_another_programs_and_on_no_address_of_this_machine(device: Device):
    found = port_of(device)
    assert (found.status, "is free for the agent" in found.got) == (Status.OK, True)
    with socket.create_server(("127.0.0.1", 0)) as other:
        found = failed(port_of(device, port=other.getsockname()[1]))
    assert "another program's" in found.got
    assert "ss -ltnp" in found.todo
    assert "an address of this machine" in failed(port_of(device, listen="192.0.2.1", callers=("US",))).todo
    stow = examined(changed(device.folder, stow=Stow(port=free_port())), "stow port")["stow port"]
    assert stow.status is Status.OK


def test_the_running_agent_answers_for_itself(device: Device):
    assert port_of(device, callers=("US_ROOM_2",)).status is Status.OK
    device.start()
    try:
        found = port_of(device, callers=("US_ROOM_2",))
        assert (found.status, "answers C-ECHO as FEDMED" in found.got) == (Status.OK, True)
        assert examined(Asked(device.folder), "spool")["spool"].got.startswith("the agent has it open")
        refused = port_of(device, callers=("OTHER",))
        assert (refused.status, "rejected the association" in refused.got) == (Status.WARN, True)
        assert "start the agent anew" in port_of(device, port=free_port()).todo
    finally:
        device.end()


def test_tls_of_either_side_is_looked_at_before_the_agent_is_up_and_beside_it(device: Device, authority: Path):
    tls = DicomTls(certificate=str(authority / "pacs.pem"), key="gone.key", callers=str(authority / "ca.pem"))
    assert "gone.key are no certificate" in failed(port_of(device, tls=tls)).got
    assert "open to the network" in failed(port_of(device, listen="0.0.0.0")).got
    whole = tls.model_copy(update={"key": str(authority / "pacs.key")})
    assert "is free for the agent" in port_of(device, tls=whole).got
    device.start()
    try:
        found = port_of(device, tls=whole)
    finally:
        device.end()
    assert (found.status, "the agent has it, under TLS" in found.got) == (Status.OK, True)


def test_a_pacs_under_tls_is_asked_under_tls(device: Device, authority: Path, tmp_path: Path):
    server = ("+tls", str(authority / "pacs.key"), str(authority / "pacs.pem"), "+cf", str(authority / "ca.pem"))
    own = {"certificate": str(authority / "device.pem"), "key": str(authority / "device.key")}
    with storescp(tmp_path, *server) as port:
        there = {"host": "localhost", "port": port}
        found = pacs_of(device, **there, tls=PacsTls(ca=str(authority / "ca.pem"), **own))
        assert (found.status, "under TLS" in found.got) == (Status.OK, True)
        failed(pacs_of(device, **there, tls=PacsTls(ca=str(authority / "other.pem"), **own)))
        failed(pacs_of(device, **there))


def folder_of(device: Device, place: Path) -> Finding:
    return examined(changed(device.folder, folder=str(place)), "folder")["folder"]


def test_a_watched_folder_is_left_as_it_was(device: Device, tmp_path: Path):
    (tmp_path / "image.dcm").write_bytes(b"DICM")
    assert folder_of(device, tmp_path).status is Status.OK
    assert [path.name for path in tmp_path.iterdir()] == ["image.dcm"]


def test_a_folder_that_is_not_there_is_a_file_or_cannot_be_written(device: Device, tmp_path: Path):
    assert "No such file" in failed(folder_of(device, tmp_path / "none")).got
    (tmp_path / "file").touch()
    assert "Not a directory" in failed(folder_of(device, tmp_path / "file")).got
    with mounted(tmp_path / "ro", "ro,size=1m") as place:
        assert "Read-only file system" in failed(folder_of(device, place)).got


AS_NOBODY = """
import json, os, sys
from dataclasses import asdict
from pathlib import Path
from fedmed.config.edge import Edge
from fedmed.edge.doctor import doors
from fedmed.edge.doctor.configuration import Subject
place = Path(sys.argv[1])
os.setuid(65534)
found = doors.folder({"subject": Subject(place, Edge(name="a", hub="b", folder="."), "b", 1, None)})
print(json.dumps(asdict(found)))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can run it as another user")
def test_files_that_another_user_alone_can_read_or_delete(device: Device):
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        place.chmod(0o777)
        (place / "image.dcm").write_bytes(b"DICM")
        (place / "image.dcm").chmod(0o600)
        found = as_nobody(place)
        assert (found["status"], "cannot be read" in found["got"]) == ("fail", True)
        (place / "image.dcm").chmod(0o644)
        assert as_nobody(place)["status"] == "ok"
        place.chmod(0o1777)
        assert (as_nobody(place)["status"], "chmod -t" in as_nobody(place)["todo"]) == ("warn", True)
        place.chmod(0o700)
        assert (as_nobody(place)["status"], "Permission denied" in as_nobody(place)["got"]) == ("fail", True)
    finally:
        shutil.rmtree(place)


def as_nobody(place: Path) -> dict[str, str]:
    done = subprocess.run([sys.executable, "-c", AS_NOBODY, place], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    assert found.keys() == asdict(Finding("", Status.OK, "")).keys()
    return found
