"""A center's service and who knocks at it: whom TLS does not let in is in its audit log; a wrong clock is called that."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedmed.flower.calls import FLEET, KEY_HEADER
from tests.center.pki import ask
from tests.system import clocks
from tests.system.hospitals import ROOT, Hospitals, fedmed, told, until

DAY = 86400
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory):
    with ExitStack() as stack:
        made = Hospitals(tmp_path_factory.mktemp("hostile"), stack)
        made.center.start()
        made.join("north")
        yield made


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not clocks.is_possible():
        pytest.skip("no C compiler, which a wrong clock needs")
    return clocks.made(tmp_path_factory.mktemp("clock"))


def knock(hospitals: Hospitals, *options: str | Path) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{hospitals.port}", *map(str, options)]
    subprocess.run(command, input=b"GET / HTTP/1.1\r\n\r\n", capture_output=True, check=False, timeout=60)


def foreign(place: Path) -> tuple[str, str | Path, str, str | Path]:
    key, certificate = place / "foreign.key", place / "foreign.crt"
    kind = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -subj /CN=north"
    subprocess.run(["openssl", *kind.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return "-cert", certificate, "-key", key


def refusals(hospitals: Hospitals) -> dict[str, dict]:
    """Newest entry of the audit log by its code, of handshakes that were refused."""
    shown = told("audit", "show", hospitals.center.folder / "audit", "--last", "200")
    entries = shown["events"]
    return {each["details"]["code"]: each for each in entries if each["action"] == "refuse.handshake"}


def test_every_handshake_that_is_refused_is_in_the_audit_log_which_verifies(hospitals: Hospitals):
    folder = hospitals.clinics["north"].folder
    member = "-cert", folder / "member.crt", "-key", folder / "member.keys"
    knock(hospitals, "-tls1_3")
    knock(hospitals, "-tls1_2", *member)
    knock(hospitals, "-tls1_3", *foreign(hospitals.place))
    with socket.create_connection(("127.0.0.1", hospitals.port), 10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        plain.recv(1000)
    knock(hospitals, "-tls1_3", "-CAfile", hospitals.place / "foreign.crt", "-verify_return_error", *member)
    wanted = {"no-certificate", "tls-too-old", "unknown-authority", "not-tls", "refused-by-peer"}
    until(lambda: wanted <= refusals(hospitals).keys(), hospitals.center.is_running)
    for entry in refusals(hospitals).values():
        assert (entry["who"], entry["role"], entry["outcome"]) == ("study", "center", "refused")
        assert entry["details"]["peer"] == "127.0.0.1"
        assert ";" in entry["reason"]
    assert fedmed("audit", "verify", hospitals.center.folder / "audit").returncode == 0
    until(lambda: wanted <= _status(hospitals)["handshakes"]["counts"].keys(), hospitals.center.is_running)
    said = fedmed("center", "status", "--at", hospitals.center.folder).stdout
    assert "handshakes refused: " in said
    assert "1 tls-too-old" in said


def test_who_gets_through_tls_and_is_refused_behind_it_is_in_the_log_with_its_certificate(hospitals: Hospitals):
    south, north = hospitals.join("south"), hospitals.clinics["north"].folder
    fedmed("center", "revoke", "south", "--at", hospitals.center.folder)
    assert _post(hospitals, south, _key(south))[0] == 401
    status, said = _post(hospitals, north, _key(south))
    assert (status, "not that of the certificate" in said) == (401, True)
    log, wanted = hospitals.center.folder / "audit", {_peer(south): "revoked", _peer(north): "not that of the certificate"}
    told_of = {each["details"]["peer"]: each for each in told("audit", "show", log)["events"] if _is_refused(each)}
    assert {peer: wanted[peer] in told_of[peer]["reason"] for peer in wanted} == dict.fromkeys(wanted, True)
    assert fedmed("audit", "verify", log).returncode == 0


def _is_refused(entry: dict) -> bool:
    return entry["action"] == "refuse.request"


def _peer(clinic: Path) -> str:
    der = ssl.PEM_cert_to_DER_cert((clinic / "member.crt").read_text())
    return f"certificate {hashlib.sha256(der).hexdigest()[:16]}"


def _key(clinic: Path) -> str:
    """What Flower's header says of this clinic."""
    found = x509.load_pem_x509_certificate((clinic / "member.crt").read_bytes()).public_key()
    return base64.b64encode(found.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).decode()


def _post(hospitals: Hospitals, clinic: Path, key: str) -> tuple[int, str]:
    """A node's call with this clinic's certificate and that key."""
    shaking = ssl.create_default_context(cafile=str(clinic / "transport-ca.crt"))
    shaking.load_cert_chain(clinic / "member.crt", clinic / "member.keys")
    status, said = ask(hospitals.port, shaking, "POST", f"{FLEET}activate-node", b"", **{KEY_HEADER: key})
    return status, said.decode()


def _status(hospitals: Hospitals) -> dict:
    return told("center", "status", "--at", hospitals.center.folder)


def ahead(library: Path, seconds: int, *arguments: str | Path) -> tuple[int, str, str]:
    """`fedmed` on a machine whose clock is wrong by so much."""
    command = [sys.executable, "-m", "fedmed", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env=clocks.environment(library, seconds), capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("seconds", "check", "said", "todo"),
    [
        (2 * DAY, "clock", "48 h 0 min ahead of the center's", "set it back by 48 h"),
        (-2 * DAY, "certificate", "48 h 0 min behind the center's", "set it forward by 48 h"),
        (3 * 365 * DAY, "certificate", "26280 h 0 min ahead of the center's", "set it back by 26280 h"),
    ],
)
def test_doctor_calls_a_wrong_clock_wrong(
    hospitals: Hospitals, library: Path, seconds: int, check: str, said: str, todo: str
):
    folder = hospitals.clinics["north"].folder
    code, out, _ = ahead(library, seconds, "clinic", "doctor", folder, "--proxy", "none", "--json")
    found = {each["check"]: each for each in json.loads(out)["findings"]}
    assert code == 12
    assert found[check]["status"] == "fail"
    assert said in found[check]["got"]
    assert todo in found[check]["todo"]


@pytest.mark.parametrize(("seconds", "said"), [(8 * DAY, "expired at"), (-2 * DAY, "not valid now")])
def test_joining_by_a_wrong_clock_is_refused_with_that(hospitals: Hospitals, library: Path, seconds: int, said: str):
    file, folder = hospitals.place / f"late{seconds}.join", hospitals.place / f"late{seconds}"
    fedmed("center", "invite", f"late{abs(seconds)}-{seconds > 0:d}", "--at", hospitals.center.folder, "--out", file)
    code, _, err = ahead(library, seconds, "clinic", "join", file, "--at", folder, "--proxy", "none", "--no-wait")
    assert code == 4
    assert "set this machine's clock right" in err
    assert said in err
    assert not folder.exists()
