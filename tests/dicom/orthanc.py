"""A real archive: Orthanc with its REST and DICOMweb interfaces, on free ports, without a password."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.dicom.senders import program
from tests.dicom.storage_servers import free_port, running, wait_for

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
TITLE = "ORTHANC"


@dataclass(frozen=True)
class Orthanc:
    """One that runs."""

    port: int
    dicom_port: int
    title: str = TITLE

    def get(self, path: str, content: bytes | None = None) -> bytes:
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", content)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return bytes(answer.read())

    def ask(self, path: str, content: bytes | Mapping[str, Any] | None = None) -> Any:
        data = json.dumps(content).encode() if isinstance(content, Mapping) else content
        return json.loads(self.get(path, data) or b"null")

    def instance(self, name: str) -> bytes:
        """The file of Orthanc's own `name`."""
        return self.get(f"/instances/{name}/file")

    def instances(self) -> dict[str, str]:
        """Orthanc's own names, by SOP Instance UID."""
        return {each["MainDicomTags"]["SOPInstanceUID"]: each["ID"] for each in self.ask("/instances?expand")}


@contextmanager
def orthanc(folder: Path, modalities: Mapping[str, Any], servers: Mapping[str, Any], **settings: Any) -> Iterator[Orthanc]:
    """Runs below `folder`, and knows whom it may send to by C-STORE and by STOW."""
    found = Orthanc(free_port(), free_port())
    if not PLUGIN.exists():
        pytest.skip("Orthanc's DICOMweb plugin is not installed")
    config = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": found.port,
        "DicomPort": found.dicom_port,
        "DicomAet": found.title,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomModalities": modalities,
        "DicomWeb": {"Enable": True, "Servers": servers},
        "DefaultEncoding": "Utf8",
        **settings,
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    with running([program("Orthanc"), folder / "orthanc.json"], found.port, folder / "orthanc.log") as process:
        wait_for(found.dicom_port, process)
        yield found
