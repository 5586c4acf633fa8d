"""A real archive (Orthanc) sends a study to a device by both doors."""

from __future__ import annotations

import threading

from fedmed.dicom.arrivals import Door
from fedmed.dicom.network.acceptor import stores
from fedmed.dicom.receiving import readable_syntaxes
from fedmed.edge.intake.listening import WebConfig, WebIntake
from tests.dicom.orthanc import orthanc
from tests.dicom.senders import Box, data_set_of, image, receiving
from tests.system.hospitals import until

TOKEN = "0123456789abcdef"
COUNT = 12


def test_orthanc_sends_a_study_by_c_store_and_by_stow(tmp_path):
    web, before = Box(), threading.active_count()
    door = Door(web.keep, stores(frozenset()), readable_syntaxes())
    with (
        receiving(callers=("ARCHIVE",)) as (receiver, box),
        WebIntake(WebConfig(port=0, token=TOKEN), door, web.tell) as stow,
    ):
        edge = {"AET": "FEDMED", "Host": "127.0.0.1", "Port": receiver.port, "LocalAet": "ARCHIVE"}
        server = {"Url": f"http://127.0.0.1:{stow.port}/", "HttpHeaders": {"Authorization": f"Bearer {TOKEN}"}}
        with orthanc(tmp_path, {"edge": edge}, {"edge": server}) as archive:
            for number in range(COUNT):
                archive.ask("/instances", image(number, 128))
            [study] = archive.ask("/studies")
            archive.ask("/modalities/edge/echo", {})
            archive.ask("/modalities/edge/store", {"Resources": [study], "Synchronous": True})
            archive.ask("/dicom-web/servers/edge/stow", {"Resources": [study], "Synchronous": True})
    wanted = {data_set_of(image(number, 128)) for number in range(COUNT)}
    for each in (box, web):
        assert {data_set_of(content) for content, _ in each.came} == wanted
        assert len(each.came) == COUNT
        assert not each.told
    assert box.came[0][1]["from"] == "ARCHIVE"
    until(lambda: threading.active_count() <= before)  # no thread is left behind
