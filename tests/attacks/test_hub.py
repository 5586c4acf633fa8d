"""What somebody on the clinic's network tries at the hub's two ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fedmed.hub.client import HubClient
from fedmed.hub.tls import SUITES
from tests.hub.process import service

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with service(tmp_path_factory.mktemp("hub")) as found:
        yield found


@pytest.fixture(scope="module")
def device(place, tmp_path_factory):
    return place.joined("echo", tmp_path_factory.mktemp("devices") / "echo")


def s_client(port: int, *more: str) -> str:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-alpn", "h2", *more]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=30)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


@needs_openssl
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_1", "-tls1"])
def test_no_older_tls_on_either_port_with_any_suite(place, device, version):
    pair = ("-cert", str(device.path / "device.crt"), "-key", str(device.path / "device.keys"))
    for port in (place.hub.config.port, place.hub.config.enrolment_port):
        said = s_client(port, version, *pair, "-cipher", "ALL:@SECLEVEL=0")
        assert "Cipher is (NONE)" in said, said
        assert "BEGIN CERTIFICATE" not in said


@needs_openssl
def test_tls_1_3_is_spoken_with_a_device(place, device):
    pair = ("-cert", str(device.path / "device.crt"), "-key", str(device.path / "device.keys"))
    said = s_client(place.hub.config.port, "-tls1_3", *pair)
    assert "TLSv1.3, Cipher is TLS_" in said, said
    with HubClient(device) as line:
        assert line.beat("idle", {}).hub_unix > 0


def test_a_hub_whose_process_had_grpc_before_speaks_no_older_tls_either():
    """What gRPC was told too late is no matter: the hub's handshakes are not gRPC's."""
    script = """
import grpc, socket, ssl, sys
from pathlib import Path
from tests.hub.clinic import Place, SystemClock, Config
place = Place(Path(sys.argv[1]) / "clinic", Config(clinic="north", listen="127.0.0.1"), SystemClock())
place.hub.open()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["h2"])
context.maximum_version = ssl.TLSVersion.TLSv1_2
for port in (place.hub.ports.port, place.hub.ports.enrolment_port):
    try:
        context.wrap_socket(socket.create_connection(("127.0.0.1", port)))
    except ssl.SSLError:
        print('refused')
place.hub.close()
"""
    environment = {key: value for key, value in os.environ.items() if key != SUITES} | {"PYTHONPATH": str(Path.cwd())}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", script, folder], env=environment, capture_output=True, text=True, timeout=60
        )
    assert done.stdout.split() == ["refused"] * 2, done.stderr


def test_floods_of_half_handshakes_on_both_ports_hold_no_device_up(place, device):
    lines = []
    for port in (place.hub.config.port, place.hub.config.enrolment_port):
        for _ in range(40):
            line = socket.create_connection(("127.0.0.1", port))
            line.sendall(b"\x16\x03\x01")
            lines.append(line)
    with HubClient(device) as line:
        line.beat("idle", {})
    for line in lines:
        line.close()
