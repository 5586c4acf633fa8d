from __future__ import annotations

import subprocess

import pytest

from fedmed.errors import ProtocolRefused
from fedmed.identity.authority import read_certificate
from fedmed.identity.issuing import certificate_pem
from fedmed.identity.requests import certificate_request, read_request
from fedmed.identity.transport import TransportAuthority, read_ticket
from tests.identity.joins import DAY_S, SERIAL, transport
from tests.identity.parties import NOW, Standing, keys

AUTHORITY, OTHER = transport(), transport(2001)
TICKET = AUTHORITY.ticket("north", SERIAL, keys(1).transport_public, 7)
MEMBER = AUTHORITY.issue(read_request(certificate_request(keys(1), "north")), 7)
SERVER = AUTHORITY.server(["center.example.org", "10.0.0.1"], keys(2).transport_public, 7)


def test_a_ticket_says_whose_it_is():
    found = read_ticket(TICKET, AUTHORITY.public, NOW)
    assert (found.name, found.serial, found.transport_public) == ("north", SERIAL, keys(1).transport_public)
    assert found.expires == NOW + 7 * DAY_S


def test_tickets_members_and_servers_are_told_apart():
    for der in (TICKET, SERVER):
        with pytest.raises(ProtocolRefused, match="other extensions"):
            read_certificate(der, AUTHORITY.public, NOW)
    for der in (MEMBER, SERVER):
        with pytest.raises(ProtocolRefused, match="a ticket is needed here"):
            read_ticket(der, AUTHORITY.public, NOW)
    assert read_certificate(MEMBER, AUTHORITY.public, NOW).name == "north"


def test_foreign_expired_and_damaged_tickets():
    with pytest.raises(ProtocolRefused, match="did not sign"):
        read_ticket(TICKET, OTHER.public, NOW)
    for moment in (NOW + 7 * DAY_S + 1, NOW - 2 * DAY_S):
        with pytest.raises(ProtocolRefused, match="not valid now"):
            read_ticket(TICKET, AUTHORITY.public, moment)
    for place in range(0, len(TICKET), 7):
        damaged = TICKET[:place] + bytes([TICKET[place] ^ 1]) + TICKET[place + 1 :]
        with pytest.raises(ProtocolRefused):
            read_ticket(damaged, AUTHORITY.public, NOW)
    for odd in (b"", SERIAL[:-1]):
        with pytest.raises(ProtocolRefused, match="another version"):
            read_ticket(AUTHORITY.ticket("north", odd, keys(1).transport_public, 7), AUTHORITY.public, NOW)


def test_openssl_takes_each_for_its_own_purpose_alone(tmp_path):
    AUTHORITY.save(tmp_path)
    assert (tmp_path / "transport-ca.key").stat().st_mode & 0o777 == 0o600
    assert TransportAuthority.load(tmp_path, Standing()).certificate == AUTHORITY.certificate
    for der, purpose, passes in (
        (TICKET, "sslclient", True),
        (TICKET, "sslserver", False),
        (SERVER, "sslserver", True),
        (SERVER, "sslclient", False),
        (MEMBER, "sslclient", True),
    ):
        (tmp_path / "it.crt").write_bytes(certificate_pem(der))
        ask = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-attime", str(int(NOW))]
        done = subprocess.run(
            [*ask, "-CAfile", tmp_path / "transport-ca.crt", tmp_path / "it.crt"], capture_output=True, check=False
        )
        assert (done.returncode == 0) == passes, (purpose, done.stderr)
