"""Real storage servers for tests: DCMTK's storescp, and Orthanc with its REST and DICOMweb interfaces."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ORTHANC = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 30.0) -> None:
    """Until `port` takes connections."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, "the server ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nothing listens at port {port}")


@contextmanager
def running(command: list[Any], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stream:
        process = subprocess.Popen([str(part) for part in command], stdout=stream, stderr=stream)
        try:
            wait_for(port, process)
            yield process
        finally:
            process.kill()
            process.wait()


@contextmanager
def storescp(folder: Path, *options: str, title: str = "STORE") -> Iterator[int]:
    """The port of a storescp that writes into `folder`."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    command = ["storescp", "-aet", title, "-od", folder, *options, port]
    with running(command, port, folder.parent / f"{folder.name}.log"):
        yield port


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc, without a password and only for this machine."""

    dicom_port: int
    http_port: int
    title: str

    def get(self, path: str, accept: str = "application/json") -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return bytes(answer.read())

    def json(self, path: str) -> Any:
        return json.loads(self.get(path))

    def instances(self) -> dict[str, str]:
        """Orthanc's own names, by SOP Instance UID."""
        found = self.json("/instances?expand")
        return {each["MainDicomTags"]["SOPInstanceUID"]: each["ID"] for each in found}


@contextmanager
def orthanc(folder: Path, title: str = "ORTHANC", caller: str = "FEDMED") -> Iterator[Orthanc]:
    """An Orthanc that stores for `caller` alone, and keeps the first of two objects of one UID."""
    dicom, http = free_port(), free_port()
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "DicomAet": title,
        "DicomPort": dicom,
        "HttpPort": http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomCheckCalledAet": True,
        "DicomCheckModalityHost": False,
        "DicomAlwaysAllowStore": False,
        "DicomAlwaysAllowEcho": False,
        "DicomModalities": {
            "device": {"AET": caller, "Host": "127.0.0.1", "Port": 104, "AllowStore": True, "AllowEcho": True}
        },
        "OverwriteInstances": False,
        "DefaultEncoding": "Utf8",
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings))
    with running([ORTHANC, path], http, folder / "orthanc.log") as process:
        wait_for(dicom, process)
        yield Orthanc(dicom, http, title)
