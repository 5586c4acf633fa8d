"""A real archive: Orthanc on free ports, in a folder of its own, with what it is to send to."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.dicom.senders import program

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True)
class Orthanc:
    port: int
    dicom_port: int

    def ask(self, path: str, content: bytes | Mapping[str, Any] | None = None, method: str | None = None) -> Any:
        data = json.dumps(content).encode() if isinstance(content, Mapping) else content
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.loads(answer.read() or b"null")


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


@contextmanager
def orthanc(folder: Path, modalities: Mapping[str, Any], web_servers: Mapping[str, Any]) -> Iterator[Orthanc]:
    port, dicom_port = free_ports(2)
    if not PLUGIN.exists():
        pytest.skip("Orthanc's DICOMweb plugin is not installed")
    config = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "DicomPort": dicom_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomModalities": modalities,
        "DicomWeb": {"Enable": True, "Servers": web_servers},
        "OverwriteInstances": True,
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    command = [program("Orthanc"), str(folder / "orthanc.json")]
    with (folder / "orthanc.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        found = Orthanc(port, dicom_port)
        try:
            for _ in range(300):
                try:
                    found.ask("/system")
                    break
                except (OSError, urllib.error.URLError):
                    time.sleep(0.1)
            else:
                pytest.fail((folder / "orthanc.log").read_text()[-3000:])
            yield found
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
