"""C-STORE to DCMTK's storescp and to peers that misbehave."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import threading

import numpy as np
import pydicom
import pytest
from pynetdicom import AE, evt
from pynetdicom.acse import ACSE
from pynetdicom.sop_class import ComprehensiveSRStorage, SegmentationStorage

from fedmed.dicom import sending
from fedmed.dicom.destination import Destination, Tls
from fedmed.dicom.results.report import report
from fedmed.dicom.results.segments import segmentation
from fedmed.dicom.sending import Sender, echo, send
from fedmed.dicom.statuses import Outcome
from fedmed.errors import MissingPart, Unreachable
from tests.dicom.results.samples import FINDING, masked, source
from tests.dicom.storage_servers import free_port, storescp, wait_for

SR = report(source(), FINDING)
SEG = segmentation([source()], masked(np.ones((6, 5), np.uint8)))


def at(port: int, **changes) -> Destination:
    return Destination(
        **({"host": "127.0.0.1", "port": port, "ae_title": "STORE", "connect_s": 5.0, "answer_s": 10.0} | changes)
    )


def outcomes(ends) -> list[Outcome]:
    return [each.outcome for each in ends]


def test_dcmtk_stores_both_kinds_as_they_are(tmp_path):
    with storescp(tmp_path / "there") as port:
        ends = send(at(port), [SR, SEG])
    assert outcomes(ends) == [Outcome.STORED] * 2
    assert [(each.status, each.said) for each in ends] == [(0, "")] * 2
    for end, sent in zip(ends, (SR, SEG), strict=True):
        [path] = (tmp_path / "there").glob(f"*{end.sop_instance}")
        assert pydicom.dcmread(path) == pydicom.dcmread(pydicom.filebase.DicomBytesIO(sent))
        assert subprocess.run(["dcmdump", path], capture_output=True, check=False).returncode == 0


def test_a_server_that_takes_only_implicit_vr_gets_it(tmp_path):
    with storescp(tmp_path / "there", "+xi") as port:
        assert outcomes(send(at(port), [SR])) == [Outcome.STORED]
    [path] = (tmp_path / "there").iterdir()
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == pydicom.uid.ImplicitVRLittleEndian


def test_what_is_no_dicom_is_told_and_the_rest_goes_on(tmp_path):
    with storescp(tmp_path / "there") as port:
        ends = send(at(port), [b"no DICOM", SR, SR[:100], b""])
    assert outcomes(ends) == [Outcome.NEVER, Outcome.STORED, Outcome.NEVER, Outcome.NEVER]
    assert send(at(port), []) == []


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 64 + ".invalid", ".."])
def test_a_host_that_nobody_knows_is_for_later(host):
    [end] = send(at(104, host=host), [SR])
    assert end.outcome is Outcome.LATER
    assert "no connection" in end.said


def test_nobody_there_is_for_later_and_a_refusal_too(tmp_path):
    [end] = send(at(free_port()), [SR])
    assert (end.outcome, end.status) == (Outcome.LATER, None)
    assert "Connection refused" in end.said
    with storescp(tmp_path / "there", "--refuse") as port:
        [end] = send(at(port), [SR])
        assert end.outcome is Outcome.LATER
        assert "rejected the association" in end.said
        with pytest.raises(Unreachable, match=r"STORE at 127\.0\.0\.1"):
            echo(at(port))


def test_a_rejection_is_heard_though_the_connection_is_closed_before_it_is_looked_for(tmp_path, monkeypatch):
    asks = ACSE.send_request

    def asks_and_comes_late(provider):
        asks(provider)
        provider.dul.join(5.0)  # of pynetdicom, it has had the rejection and has closed the connection

    monkeypatch.setattr(ACSE, "send_request", asks_and_comes_late)
    with storescp(tmp_path / "there", "--refuse") as port, pytest.raises(Unreachable, match="rejected the association"):
        echo(at(port))


def test_a_server_that_vanishes_is_for_later_and_is_found_again(tmp_path):
    port = free_port()
    command = ["storescp", "-aet", "STORE", "-od", str(tmp_path), str(port)]
    with Sender(at(port)) as sender:
        for _ in range(2):
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            try:
                wait_for(port, process)
                assert outcomes(sender.send([SR])) == [Outcome.STORED]
            finally:
                process.kill()
                process.wait()
            assert outcomes(sender.send([SR, SEG])) == [Outcome.LATER] * 2


@pytest.fixture
def answering():
    """A storage server of pynetdicom that answers with the statuses it is given, in turn."""
    servers = []

    def start(*statuses, contexts=(ComprehensiveSRStorage, SegmentationStorage)) -> int:
        left = list(statuses)
        entity = AE(ae_title="STORE")
        for context in contexts:
            entity.add_supported_context(context)

        def answer(event):
            status = left.pop(0)
            found = pydicom.Dataset()
            found.Status, found.ErrorComment = status, "disk nearly full"
            return found

        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
        servers.append(server)
        return server.socket.getsockname()[1]

    yield start
    for server in servers:
        server.shutdown()


def test_statuses_are_told_with_the_servers_comment(answering):
    ends = send(at(answering(0xA700, 0xB000, 0xA900, 0xC123)), [SR, SEG, SR, SEG])
    assert outcomes(ends) == [Outcome.LATER, Outcome.CHANGED, Outcome.NEVER, Outcome.NEVER]
    assert ends[0].said == "it is out of resources (A700): disk nearly full"
    assert [each.status for each in ends] == [0xA700, 0xB000, 0xA900, 0xC123]


@pytest.mark.parametrize("option", ["--abort-during", "--abort-after"])
def test_an_association_that_is_aborted_is_for_later(tmp_path, option):
    with storescp(tmp_path / "there", option) as port:
        ends = send(at(port), [SR, SEG])
    assert outcomes(ends) == [Outcome.LATER, Outcome.LATER]


def test_a_class_that_the_server_does_not_take_is_named(answering):
    ends = send(at(answering(0x0000, contexts=[ComprehensiveSRStorage])), [SEG, SR])
    assert outcomes(ends) == [Outcome.NEVER, Outcome.STORED]
    assert "allow this SOP class there" in ends[0].said


def test_a_compression_that_the_server_does_not_take_is_told(answering):
    compressed = pydicom.dcmread(pydicom.filebase.DicomBytesIO(SEG))
    compressed.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    compressed.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51"])
    compressed["PixelData"].VR, compressed["PixelData"].is_undefined_length = "OB", True
    file = io.BytesIO()
    compressed.save_as(file)
    ends = send(at(answering(0x0000)), [file.getvalue(), SEG])
    assert outcomes(ends) == [Outcome.NEVER, Outcome.STORED]
    assert "cannot be encoded" in ends[0].said


def test_a_server_that_takes_nothing_is_for_later(answering):
    [end] = send(at(answering(contexts=["1.2.840.10008.1.1"])), [SR])
    assert end.outcome is Outcome.LATER
    assert "takes none of the SOP classes 1.2.840.10008.5.1.4.1.1.88.33" in end.said


def test_a_server_that_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        [end] = send(at(silent.getsockname()[1], connect_s=0.5), [SR])
    assert end.outcome is Outcome.LATER


def test_a_server_that_talks_something_else_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as other:

        def talk() -> None:
            line, _ = other.accept()
            with line:
                line.recv(1 << 16)
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)

        thread = threading.Thread(target=talk)
        thread.start()
        [end] = send(at(other.getsockname()[1], connect_s=2.0), [SR])
        thread.join()
    assert end.outcome is Outcome.LATER


def tls_server(authority, folder):
    options = ["+tls", str(authority / "pacs.key"), str(authority / "pacs.pem"), "+cf", str(authority / "ca.pem")]
    return storescp(folder, *options)


def test_under_tls_with_certificates_of_both_sides(authority, tmp_path):
    ours = Tls(authority / "ca.pem", authority / "device.pem", authority / "device.key")
    with tls_server(authority, tmp_path / "there") as port:
        assert outcomes(send(at(port, host="localhost", tls=ours), [SR])) == [Outcome.STORED]
        for wrong, said in (
            (at(port, host="localhost", tls=Tls(authority / "other.pem", ours.certificate, ours.key)), "verify failed"),
            (at(port, host="127.0.0.1", tls=ours), "not valid for '127.0.0.1'"),
            (at(port, host="localhost", tls=Tls(authority / "ca.pem")), "hung up"),
            (at(port, host="localhost", connect_s=1.0), "hung up"),
        ):
            [end] = send(wrong, [SR])
            assert end.outcome is Outcome.LATER
            assert said in end.said
    assert len(list((tmp_path / "there").iterdir())) == 1


def test_without_pynetdicom_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    with pytest.raises(MissingPart, match=r"pip install 'fedmed\[edge\]'"):
        Sender(at(1))


def test_more_kinds_than_an_association_holds_are_refused():
    with pytest.raises(ValueError, match="one association holds 128"):
        sending._contexts({(f"1.2.{number}", sending.EXPLICIT) for number in range(65)})


def test_results_need_no_torch():
    code = (
        "import sys, fedmed.dicom.sending, fedmed.dicom.results.report, fedmed.dicom.results.segments,"
        " fedmed.dicom.results.record; import highdicom, pynetdicom;"
        " assert not {'torch', 'flwr', 'numba', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
