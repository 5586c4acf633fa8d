from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from fedmed.center.enrolment import ENROL, MEMBERS_PATH, RENEW
from fedmed.clinic.dialing import shaking
from fedmed.clinic.folder import KEYS_FILE
from fedmed.errors import ProtocolRefused
from fedmed.identity.enrolment import Revoke, Stage
from fedmed.identity.member import MemberKeys
from fedmed.identity.requests import certificate_request
from tests.center.federation import Federation, federation
from tests.identity.parties import keys


@pytest.fixture
def center(tmp_path: Path):
    with federation(tmp_path) as up:
        yield up


def ticket(center: Federation, join) -> ssl.SSLContext:
    file = center.place / "ticket.pem"
    file.write_bytes(join.credential_pem())
    return shaking(join.authority, file, file)


def send(center: Federation, context: ssl.SSLContext, path: str, body: bytes = b"", method: str = "POST"):
    connection = http.client.HTTPSConnection("127.0.0.1", center.listener.port, context=context, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_ticket_opens_the_enrolment_path_and_no_other(center):
    context = ticket(center, center.invite("north")[0])
    request = certificate_request(keys(1), "north")
    assert send(center, context, RENEW, request)[0] == 403
    assert send(center, context, MEMBERS_PATH, method="GET")[0] == 403
    assert send(center, context, ENROL, request) == (202, {"waiting": "north"} | send(center, context, ENROL, request)[1])
    assert "other extensions than a member's" in str(center.folder.admissions().is_admitted(context_certificate(center)))


def context_certificate(center: Federation) -> bytes:
    return ssl.PEM_cert_to_DER_cert((center.place / "ticket.pem").read_text().split("-----BEGIN PRIVATE")[0])


def test_a_member_cannot_enrol_again_and_nothing_else_is_served(center):
    context = center.as_member(center.joined("north"))
    status, said = send(center, context, ENROL, certificate_request(keys(1), "north"))
    assert (status, "a ticket is needed here" in said["refused"]) == (403, True)
    assert send(center, context, "/v1/fleet/pull-messages")[0] == 404
    assert send(center, context, "/fedmed/enrol/")[0] == 404
    assert send(center, context, ENROL, method="GET")[0] == 405


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "cannot be read"),
        (b"x" * 4096, 400, "cannot be read"),
        (b"x" * 4097, 413, "allowed are 4096"),
        (certificate_request(keys(1), "south"), 403, "with the join file of 'north'"),
    ],
)
def test_bodies_that_are_refused(center, body, status, said):
    found, answer = send(center, ticket(center, center.invite("north")[0]), ENROL, body)
    assert found == status
    assert said in answer["refused"]
    assert center.folder.enrolments.roll().of("north").stage is Stage.INVITED


def test_the_mailed_key_cannot_be_the_clinics(center):
    join = center.invite("north")[0]
    mailed = MemberKeys(load_der_private_key(join.key, None), keys(1).signing)
    status, said = send(center, ticket(center, join), ENROL, certificate_request(mailed, "north"))
    assert (status, "make keys on site" in said["refused"]) == (403, True)


def test_revocation_holds_on_an_open_connection(center):
    clinic = center.joined("north")
    connection = http.client.HTTPSConnection("127.0.0.1", center.listener.port, context=center.as_member(clinic), timeout=10)
    found = []
    for revoked in (False, True):
        if revoked:
            center.folder.enrolments.apply(Revoke("north"))
        connection.request("GET", MEMBERS_PATH)
        answer = connection.getresponse()
        found.append((answer.status, answer.read()))
    assert found[0][0] == 200
    assert (found[1][0], b"were revoked" in found[1][1]) == (403, True)
    connection.close()
    admissions = center.folder.admissions()
    assert "were revoked" in str(admissions.is_admitted(clinic.certificate()))
    assert "no certificate" in str(admissions.is_admitted(None))


def test_a_renewal_is_for_the_same_keys(center):
    clinic = center.joined("north")
    context = center.as_member(clinic)
    status, said = send(center, context, RENEW, certificate_request(keys(1), "north"))
    assert (status, "new keys take revocation" in said["refused"]) == (403, True)
    status, said = send(center, context, RENEW, certificate_request(MemberKeys.load(clinic.path / KEYS_FILE), "south"))
    assert status == 403
    assert center.folder.enrolments.roll().of("north").stage is Stage.ADMITTED
    assert send(center, context, RENEW, certificate_request(clinic.keys(), "north"))[0] == 200
    assert center.folder.enrolments.roll().of("north").stage is Stage.RENEWED


def test_a_roll_that_cannot_be_read_lets_nobody_in(center):
    clinic = center.joined("north")
    center.folder.enrolments.path.write_bytes(b"{}")
    status, said = send(center, center.as_member(clinic), MEMBERS_PATH, method="GET")
    assert (status, "tell its operator" in said["refused"]) == (503, True)
    admissions = center.folder.admissions()
    assert "cannot read who its members are" in str(admissions.is_admitted(clinic.certificate()))
    with pytest.raises(ProtocolRefused, match="cannot read who its members are"):
        admissions.admit(clinic.certificate())


def test_the_fence_is_told_who_a_member_is(center):
    clinic = center.joined("north")
    admissions = center.folder.admissions()
    assert admissions.is_admitted(clinic.certificate()) is None
    assert admissions.admit(clinic.certificate()) == clinic.member()
