"""C-STORE under TLS: DCMTK and pynetdicom with certificates that OpenSSL made, and all who come without."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from fedmed.clock import SystemClock
from fedmed.dicom.receiving import Receiver, ReceiverConfig, ReceiverTls
from fedmed.errors import ConfigError
from tests.dicom.senders import Box, Wire, data_set_of, dcmtk, image, program, receiving, request, store, write


@pytest.fixture
def tls(authority: Path) -> ReceiverTls:
    return ReceiverTls(authority / "pacs.pem", authority / "pacs.key", authority / "ca.pem")


def options(authority: Path, name: str = "device", ca: str = "ca.pem") -> list[object]:
    return ["+tls", authority / f"{name}.key", authority / f"{name}.pem", "+cf", authority / ca]


def secured(authority: Path, receiver: Receiver, **versions: ssl.TLSVersion) -> ssl.SSLSocket:
    """A connection of Python's own; the handshake is begun and ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority / "ca.pem")
    context.load_cert_chain(authority / "device.pem", authority / "device.key")
    for name, version in versions.items():
        setattr(context, name, version)
    return context.wrap_socket(
        socket.create_connection(("127.0.0.1", receiver.port), timeout=20), server_hostname="localhost"
    )


def told(box: Box, count: int = 1) -> list[str]:
    end = time.monotonic() + 20
    while len(box.told) < count and time.monotonic() < end:
        time.sleep(0.01)
    return [why for _, _, why in box.told]


def test_dcmtk_stores_under_tls_what_arrives_byte_for_byte_also_in_parallel(authority, tls, tmp_path):
    paths = write(tmp_path, 12, side=256)
    with receiving(tls=tls) as (receiver, box):
        assert dcmtk("echoscu", receiver, *options(authority), []).returncode == 0
        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(dcmtk, "storescu", receiver, *options(authority), paths[at::4]) for at in range(4)]
        assert [job.result().returncode for job in jobs] == [0] * 4
    assert {data_set_of(content) for content, _ in box.came} == {data_set_of(path.read_bytes()) for path in paths}
    assert len(box.came) == 12
    assert box.told == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_are_spoken_and_nothing_is_resumed(authority, tls, version):
    with receiving(tls=tls) as (receiver, box):
        line = secured(authority, receiver, minimum_version=version, maximum_version=version)
        with Wire.over(line) as wire:
            wire.send(request())
            assert wire.hear()[0] == 2
            data_set = data_set_of(image(1))
            wire.send(store("1.2.826.9.1", data_set))
            assert wire.status() == 0
            cipher = line.cipher()
            assert cipher is not None
            assert line.session is None or not line.session.has_ticket
    assert "ECDHE" in cipher[0] or cipher[0].startswith("TLS_")
    assert box.instances == ["1.2.826.9.1"]


def test_pynetdicom_is_answered(authority, tls):
    context = ssl.create_default_context(cafile=str(authority / "ca.pem"))
    context.load_cert_chain(authority / "device.pem", authority / "device.key")
    entity = AE()
    entity.add_requested_context(Verification)
    with receiving(tls=tls) as (receiver, _):
        association = entity.associate("localhost", receiver.port, ae_title="FEDMED", tls_args=(context, "localhost"))
        assert association.is_established
        assert association.send_c_echo().Status == 0
        association.release()


def test_a_foreign_authoritys_certificate_is_refused_and_told(authority, tls):
    with receiving(tls=tls) as (receiver, box):
        assert dcmtk("echoscu", receiver, *options(authority, "other"), []).returncode != 0
        assert "not one of the authority that senders' certificates come from" in told(box)[0]
    assert box.told[0][:2] == ("127.0.0.1", "")


def issued(authority: Path, folder: Path, days: str, extension: str) -> list[object]:
    """A certificate of the right authority, and DCMTK's options for it."""
    (folder / "more.ext").write_text(extension)
    signed = ["-CA", authority / "ca.pem", "-CAkey", authority / "ca.key", "-set_serial", "7", "-days", days]
    command = [program("openssl"), "x509", "-req", "-in", authority / "device.csr", *signed, "-extfile", folder / "more.ext"]
    subprocess.run([*command, "-out", folder / "more.pem"], check=True, capture_output=True)
    return ["+tls", authority / "device.key", folder / "more.pem", "+cf", authority / "ca.pem"]


@pytest.mark.parametrize(
    ("days", "extension", "said"),
    [
        ("-1", "subjectAltName=DNS:device\n", "expired"),
        ("30", "extendedKeyUsage=serverAuth\n", "unsuitable certificate purpose"),
    ],
)
def test_a_certificate_that_is_over_or_for_something_else_is_refused_and_told(
    authority, tls, tmp_path, days, extension, said
):
    with receiving(tls=tls) as (receiver, box):
        assert dcmtk("echoscu", receiver, *issued(authority, tmp_path, days, extension), []).returncode != 0
        assert said in told(box)[0]


def test_openssl_without_a_certificate_is_refused_and_told(authority, tls):
    with receiving(tls=tls) as (receiver, box):
        command = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{receiver.port}", "-CAfile", authority / "ca.pem"]
        subprocess.run(command, input=request(), capture_output=True, timeout=60, check=False)
        assert told(box) == ["it showed no certificate; those who send here need one"]


def test_tls_1_1_is_refused_and_told(authority, tls):
    with receiving(tls=tls) as (receiver, box):
        command = [program("openssl"), "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-connect"]
        command += [f"127.0.0.1:{receiver.port}", "-cert", authority / "device.pem", "-key", authority / "device.key"]
        done = subprocess.run(command, input=b"", capture_output=True, timeout=60, check=False)
        assert b"alert protocol version" in done.stderr
        assert told(box) == ["it speaks no TLS 1.2 or newer"]


def test_a_cipher_without_forward_secrecy_is_refused_and_told(authority, tls):
    with receiving(tls=tls) as (receiver, box):
        command = [program("openssl"), "s_client", "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA", "-connect"]
        command += [f"127.0.0.1:{receiver.port}", "-cert", authority / "device.pem", "-key", authority / "device.key"]
        assert subprocess.run(command, input=b"", capture_output=True, timeout=60, check=False).returncode != 0
        assert told(box) == ["it offers no cipher with forward secrecy and authenticated encryption"]


def test_plain_dicom_and_http_on_the_port_of_tls_are_refused_and_told(tls):
    with receiving(tls=tls) as (receiver, box):
        assert dcmtk("echoscu", receiver).returncode != 0
        with Wire(receiver) as wire:
            wire.send(b"GET / HTTP/1.1\r\n\r\n")
            assert told(box, 2) == [
                "it speaks no TLS; this port takes nothing else",
                "it speaks HTTP without TLS; this port takes DICOM under TLS",
            ]


def test_tls_on_a_plain_port_is_refused_and_told(authority):
    with receiving() as (receiver, box):
        assert dcmtk("echoscu", receiver, *options(authority), []).returncode != 0
        assert "a PDU of type 16" in told(box)[0]


def test_a_slow_handshake_holds_nobody_up_and_ends(authority, tls):
    with receiving(tls=tls, request_s=3.0) as (receiver, box), Wire(receiver) as slow, Wire(receiver) as gone:
        slow.send(b"\x16\x03\x01")
        gone.send(b"\x16\x03\x01\x02\x00")
        gone.socket.close()
        begun = time.monotonic()
        for _ in range(3):
            assert dcmtk("echoscu", receiver, *options(authority), []).returncode == 0
        assert slow.hear() == (0, b"")
        assert time.monotonic() - begun < 15
        assert sorted(told(box, 2)) == [
            "it left in the midst of its TLS handshake",
            "its TLS handshake did not come to an end in time",
        ]


def test_handshakes_that_come_to_nothing_cannot_fill_the_receiver(authority, tls):
    with receiving(tls=tls, waiting=4) as (receiver, _):
        silent = [Wire(receiver) for _ in range(12)]
        assert dcmtk("echoscu", receiver, *options(authority), []).returncode == 0
        for wire in silent:
            wire.socket.close()


def test_an_end_while_handshakes_and_associations_are_under_way_is_quick(authority, tls):
    begun = time.monotonic()
    with receiving(tls=tls) as (receiver, box), Wire(receiver) as silent:
        silent.send(b"\x16")
        with Wire.over(secured(authority, receiver)) as wire:
            wire.send(request())
            assert wire.hear()[0] == 2
            receiver.stop()
            assert wire.hear() == (0, b"")
    assert time.monotonic() - begun < 8
    assert box.came == []


def test_what_breaks_off_within_tls_is_told_and_nothing_half_is_kept(authority, tls):
    with receiving(tls=tls) as (receiver, box):
        line = secured(authority, receiver)
        with Wire.over(line) as wire:
            wire.send(request())
            assert wire.hear()[0] == 2
            wire.send(store("1.2.826.9.1", data_set_of(image(1)))[:-100])
            socket.socket.send(line, b"no record of TLS at all, but some bytes in its midst")
            with suppress(ssl.SSLError):
                wire.hear()
        assert told(box)[0].startswith("the connection was lost")
    assert box.came == []


@pytest.mark.parametrize(
    ("wrong", "said"), [("certificate", "no certificate"), ("key", "its key"), ("callers", "authority")]
)
def test_files_that_are_none_are_told_before_anything_listens(authority, tls, tmp_path, wrong, said):
    (tmp_path / "wrong.pem").write_text("no PEM")
    for path in (tmp_path / "wrong.pem", tmp_path / "gone.pem"):
        files = {"certificate": tls.certificate, "key": tls.key, "callers": tls.callers, wrong: path}
        with pytest.raises(ConfigError, match=said):
            Receiver(ReceiverConfig(port=0, tls=ReceiverTls(**files)), Box().keep, SystemClock())


def test_a_key_with_a_password_is_refused_without_asking_anybody(authority, tls, tmp_path):
    locked = tmp_path / "locked.key"
    command = [
        program("openssl"),
        "pkey",
        "-in",
        authority / "pacs.key",
        "-aes256",
        "-passout",
        "pass:secret",
        "-out",
        locked,
    ]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ConfigError, match="without a password"):
        ReceiverTls(tls.certificate, locked, tls.callers).context()


def test_with_tls_a_port_may_be_open_to_the_network_without_a_list(tls):
    assert ReceiverConfig(host="0.0.0.0", tls=tls).faults() == []
    assert "or use TLS" in ReceiverConfig(host="0.0.0.0").faults()[0]
