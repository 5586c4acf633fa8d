from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from fedmed.dicom.arrivals import Door
from fedmed.dicom.network.acceptor import stores
from fedmed.dicom.receiving import readable_syntaxes
from fedmed.edge.intake import listening
from fedmed.edge.intake.listening import WebConfig, WebIntake
from fedmed.edge.intake.stow import Limits
from fedmed.errors import ConfigError, StoreError
from tests.center.pki import Authority
from tests.dicom.files import compressed, dataset
from tests.dicom.senders import MR, Box, image
from tests.edge.intake.test_multipart import body

KIND = 'multipart/related; type="application/dicom"; boundary=b'
TOKEN = "0123456789abcdef"


@contextmanager
def web(token: str = "", most_bytes: int = 10**6, **limits: Any) -> Iterator[tuple[WebIntake, Box]]:
    box = Box()
    door = Door(box.keep, stores(frozenset()), readable_syntaxes(), most_bytes)
    with WebIntake(WebConfig(port=0, token=token, limits=Limits(**limits)), door, box.tell) as intake:
        yield intake, box


def parts(*files: bytes, kind: bytes = b"application/dicom") -> bytes:
    return body([({b"Content-Type": kind}, file) for file in files])


def post(intake: WebIntake, data: Any, path: str = "/studies", method: str = "POST", kind: str = KIND, **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", intake.port, timeout=20)
    try:
        connection.request(method, path, data, {"Content-Type": kind, **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def uids(answer: dict, tag: str) -> list[str]:
    return [one["00081155"]["Value"][0] for one in answer.get(tag, {"Value": []})["Value"]]


def reasons(answer: dict) -> list[int]:
    return [one["00081197"]["Value"][0] for one in answer["00081198"]["Value"]]


def test_instances_are_kept_as_sent_and_named_in_the_answer():
    files = [image(number) for number in range(3)]
    with web() as (intake, box):
        status, answer = post(intake, parts(*files))
    assert status == 200
    assert [content for content, _ in box.came] == files
    assert uids(answer, "00081199") == [f"1.2.826.9.{number}" for number in range(3)]
    assert list(answer) == ["00081199"]
    assert box.came[0][1]["by"] == "stow"


def test_a_study_in_the_address_holds_for_every_instance():
    with web() as (intake, _box):
        status, answer = post(intake, parts(image(1), image(2, StudyInstanceUID="1.3")), "/studies/1.2")
        assert post(intake, parts(image(1)), "/dicom-web/studies/1.2")[0] == 200
    assert (status, uids(answer, "00081199"), uids(answer, "00081198")) == (202, ["1.2.826.9.1"], ["1.2.826.9.2"])
    assert reasons(answer) == [0xA900]


def test_a_body_in_chunks_is_taken():
    data = parts(image(1), image(2))
    with web() as (intake, box):
        status, _ = post(intake, iter([data[at : at + 1000] for at in range(0, len(data), 1000)]))
    assert (status, len(box.came)) == (200, 2)


MPEG = compressed(dataset(np.zeros((4, 4), "u1"), SOPClassUID=MR), [b"ab"], "1.2.840.10008.1.2.4.100")
REFUSED = {
    "noise": (b"noise", 0xC000),
    "half": (image(1)[:-100], 0xC000),
    "another class": (image(1, SOPClassUID="1.3.12.2.1107.5.9.1"), 0x0122),
    "another syntax": (MPEG, 0xC122),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_named_with_its_reason(name):
    content, reason = REFUSED[name]
    with web() as (intake, box):
        status, answer = post(intake, parts(content))
        assert (status, reasons(answer)) == (409, [reason])
        status, answer = post(intake, parts(content, image(2)))
        assert (status, reasons(answer), uids(answer, "00081199")) == (202, [reason], ["1.2.826.9.2"])
    assert box.instances == ["1.2.826.9.2"]
    assert f"{reason:04X}" in box.told[0][2]


def test_a_full_store_asks_to_come_again():
    with web() as (intake, box):
        box.fails = StoreError("full")
        status, answer = post(intake, parts(image(1)))
        assert (status, reasons(answer)) == (503, [0xA700])
        box.fails = None
        assert post(intake, parts(image(1)))[0] == 200


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"kind": "application/dicom"}, 415),
        ({"kind": 'multipart/related; type="application/dicom+json"; boundary=b'}, 415),
        ({"kind": 'multipart/related; type="application/dicom"'}, 400),
        ({"kind": 'multipart/related; type="application/dicom"; boundary="'}, 400),
        ({"method": "GET"}, 405),
        ({"method": "DELETE"}, 405),
        ({"path": "/"}, 404),
        ({"path": "/studies/1.2/series"}, 404),
        ({"path": "/studies/..%2f..%2fetc"}, 404),
        ({"data": b""}, 400),
        ({"data": b"--b--"}, 400),
        ({"data": parts(image(1), kind=b"image/jpeg")}, 415),
        ({"data": parts(image(1))[:-4]}, 400),
        ({"data": parts(image(1, 1024))}, 413),
        ({"Content-Encoding": "gzip"}, 415),
    ],
)
def test_a_request_that_is_none_is_refused(wrong, status):
    with web() as (intake, box):
        request = {"data": parts(image(1)), **wrong}
        found, answer = post(intake, request.pop("data"), **request)
        assert found == status
        assert answer["refused"]
        assert not box.came
        assert post(intake, parts(image(1)))[0] == 200


def test_requests_are_capped_by_what_they_say_and_by_what_comes():
    data = parts(image(1), image(2))
    with web(request_bytes=9000) as (intake, _):
        assert post(intake, data)[0] == 413
        assert post(intake, iter([data]))[0] == 413
    with web(parts=1) as (intake, _box):
        assert post(intake, data)[0] == 413


def test_a_token_is_asked_for_where_one_is_set():
    with web(token=TOKEN) as (intake, box):
        assert post(intake, parts(image(1)))[0] == 401
        assert post(intake, parts(image(1)), Authorization="Bearer other")[0] == 401
        assert post(intake, parts(image(1)), Authorization=f"Basic {TOKEN}")[0] == 401
        assert not box.came
        assert post(intake, parts(image(1)), Authorization=f"Bearer {TOKEN}")[0] == 200
        assert TOKEN not in str(box.told)


def test_a_sender_that_goes_silent_is_cut_and_leaves_what_was_whole():
    data = parts(image(1), image(2))
    with web(silence_s=0.3) as (intake, box), socket.create_connection(("127.0.0.1", intake.port)) as connection:
        head = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data[:-5000])
        connection.settimeout(20)
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
    assert box.instances == ["1.2.826.9.1"]


def test_a_sender_that_leaves_leaves_what_was_whole():
    data = parts(image(1), image(2))
    with web() as (intake, box):
        with socket.create_connection(("127.0.0.1", intake.port)) as connection:
            head = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\nContent-Length: {len(data)}\r\n\r\n"
            connection.sendall(head.encode() + data[:-5000])
        for _ in range(3000):
            if box.told:
                break
            time.sleep(0.01)
        assert box.told[0][2] == "the sender left before the end"
        assert post(intake, parts(image(3)))[0] == 200
    assert box.instances == ["1.2.826.9.1", "1.2.826.9.3"]


def test_requests_at_once_are_counted():
    with web(at_once=1) as (intake, _box), socket.create_connection(("127.0.0.1", intake.port)) as connection:
        head = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\nContent-Length: 9999\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(3000):
            if post(intake, parts(image(1)))[0] == 503:
                break
        else:
            pytest.fail("a second request was taken")


def test_who_sends_no_head_is_cut(monkeypatch):
    monkeypatch.setattr(listening, "HEAD_S", 0.2)
    with web() as (intake, _box):
        with socket.create_connection(("127.0.0.1", intake.port)) as connection:
            connection.sendall(b"POST /studies HT")
            connection.settimeout(20)
            assert connection.recv(100) == b""
        assert post(intake, parts(image(1)))[0] == 200


def test_a_crowd_of_silent_connections_keeps_nobody_out_for_long(monkeypatch):
    monkeypatch.setattr(listening, "HEAD_S", 0.5)
    with web() as (intake, box):
        crowd = [socket.create_connection(("127.0.0.1", intake.port)) for _ in range(200)]
        for _ in range(600):
            try:
                if post(intake, parts(image(1)))[0] == 200:
                    break
            except (OSError, http.client.HTTPException, ValueError):
                pass
            time.sleep(0.05)
        else:
            pytest.fail("nobody else gets in")
        for connection in crowd:
            connection.close()
    assert box.instances == ["1.2.826.9.1"]


def test_all_that_is_wrong_with_a_configuration_is_told_at_once(tmp_path):
    door = Door(Box().keep, stores(frozenset()), frozenset())
    with pytest.raises(ConfigError) as raised:
        WebIntake(WebConfig(host="0.0.0.0", port=-1, chain_pem=tmp_path), door)
    for part in ("port -1", "give a token", "both or none"):
        assert part in str(raised.value)
    with pytest.raises(ConfigError, match="16 or more"):
        WebIntake(WebConfig(token="short"), door)
    with pytest.raises(ConfigError, match="no certificate"):
        WebIntake(WebConfig(chain_pem=tmp_path / "a", key_pem=tmp_path / "b"), door)


def test_it_speaks_tls_where_it_has_a_certificate(tmp_path):
    authority = Authority(tmp_path / "ca")
    tls, box = authority.server(), Box()
    door = Door(box.keep, stores(frozenset()), readable_syntaxes())
    config = WebConfig(port=0, token=TOKEN, chain_pem=tls.chain_pem, key_pem=tls.key_pem)
    with WebIntake(config, door) as intake:
        trusting = ssl.create_default_context(cafile=str(authority.pem))
        connection = http.client.HTTPSConnection("127.0.0.1", intake.port, timeout=20, context=trusting)
        headers = {"Content-Type": KIND, "Authorization": f"Bearer {TOKEN}"}
        connection.request("POST", "/studies", parts(image(1)), headers)
        assert connection.getresponse().status == 200
        connection.close()
    assert box.instances == ["1.2.826.9.1"]
