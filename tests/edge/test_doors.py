"""The doors and the line to the PACS as edge.yaml words them, under TLS."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

import pytest

from fedmed.clock import SystemClock
from fedmed.config.edge import Dicom, DicomTls, Edge, Pacs, PacsTls
from fedmed.dicom.destination import Tls
from fedmed.edge.doors import Doors
from fedmed.edge.folder import EdgeFolder
from fedmed.errors import ConfigError
from fedmed.hub.joining import DeviceFolder
from fedmed.store.audit.event import Event
from tests.dicom.conftest import authority as authority
from tests.dicom.senders import Box, dcmtk, write
from tests.dicom.storage_servers import free_port


def folder_of(path: Path, **settings: object) -> EdgeFolder:
    config = Edge(name="us-1", hub="hub", **settings)  # type: ignore[arg-type]
    return EdgeFolder(path, config, cast("DeviceFolder", None), SystemClock())


def test_a_door_under_tls_takes_images_from_those_with_a_certificate_and_writes_down_who_had_none(authority, tmp_path):
    place = Path(shutil.copytree(authority, tmp_path / "device"))
    tls = DicomTls(certificate="pacs.pem", key="pacs.key", callers=str(authority / "ca.pem"))
    box, events = Box(), list[Event]()
    made = Doors(folder_of(place, dicom=Dicom(port=free_port(), tls=tls)), box.keep, events.append)
    assert made._receiver is not None
    made.open()
    try:
        own = ["+tls", authority / "device.key", authority / "device.pem", "+cf", authority / "ca.pem"]
        assert dcmtk("storescu", made._receiver, *own, write(tmp_path, 2)).returncode == 0
        assert dcmtk("echoscu", made._receiver).returncode != 0
        assert dcmtk("echoscu", made._receiver, "+tla", "+cf", authority / "ca.pem", []).returncode != 0
    finally:
        made.close()
    assert len(box.came) == 2
    assert ["it speaks no TLS; this port takes nothing else" in str(event) for event in events][:1] == [True]
    assert "it showed no certificate" in str(events[1])


def test_the_line_to_the_pacs_has_the_files_of_edge_yaml(tmp_path):
    assert folder_of(tmp_path).destination() is None
    plain = folder_of(tmp_path, pacs=Pacs(host="pacs", ae_title="PACS")).destination()
    assert plain is not None
    assert plain.tls is None
    tls = PacsTls(ca="/etc/ca.pem", certificate="us.pem", key="us.key")
    secured = folder_of(tmp_path, pacs=Pacs(host="pacs", port=2762, ae_title="PACS", tls=tls)).destination()
    assert secured is not None
    assert (secured.port, secured.tls) == (2762, Tls(Path("/etc/ca.pem"), tmp_path / "us.pem", tmp_path / "us.key"))
    only = folder_of(tmp_path, pacs=Pacs(host="pacs", ae_title="PACS", tls=PacsTls(ca="ca.pem"))).destination()
    assert only is not None
    assert only.tls == Tls(tmp_path / "ca.pem")


def test_files_of_tls_that_are_not_there_are_told_before_anything_is_open(tmp_path):
    tls = DicomTls(certificate="gone.pem", key="gone.key", callers="gone.pem")
    with pytest.raises(ConfigError, match=r"gone\.pem and .*gone\.key are no certificate"):
        Doors(folder_of(tmp_path, dicom=Dicom(tls=tls)), Box().keep, lambda event: None)
