from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError, DeviceRefused, FedmedError, JoinRefused, ProtocolRefused
from fedmed.identity.authority import read_certificate
from fedmed.identity.deviceca import HUB, DeviceAuthority, check_hub
from fedmed.identity.devicecode import Code, kept, new_code, proof_of
from fedmed.identity.devices import (
    MOST_WRONG,
    Ask,
    Deliver,
    Invite,
    Refuse,
    Renew,
    Revoke,
    Roll,
    Sign,
    Signed,
    Stage,
    admitted,
    step,
)
from fedmed.identity.requests import certificate_request, read_request
from tests.identity.joins import transport
from tests.identity.parties import NOW, Standing, keys

T = int(NOW)
CA = DeviceAuthority.generate(Standing(), (3000).to_bytes(32, "big"))
HUB_CERTIFICATE = CA.hub(keys(700).transport_public, 90)


@dataclass
class Desk:
    roll: Roll = field(default_factory=Roll)

    def invite(self, name: str, at: int = T, lasts: int = 3600) -> Code:
        code = new_code(CA.certificate)
        held = kept(code, CA.certificate)
        self.roll, _ = step(self.roll, Invite(name, held.invitation, held.stored, at + lasts), at)
        return code

    def ask(self, code: Code, name: str, number: int = 1, at: int = T, proof: bytes | None = None):
        der = certificate_request(keys(number), name)
        invitation, made = proof_of(code, CA.certificate, HUB_CERTIFICATE, name, der)
        asked = Ask(invitation, read_request(der), der, proof or made, CA.certificate, HUB_CERTIFICATE)
        self.roll, todo = step(self.roll, asked, at)
        if isinstance(todo, Sign):
            certificate = CA.issue(read_request(todo.request), 90)
            self.roll, todo = step(self.roll, Signed(todo.name, todo.fingerprint, certificate, at + 90), at)
        return todo

    def enrol(self, name: str, number: int = 1):
        return self.ask(self.invite(name), name, number)


def test_a_device_enrols_and_is_let_in_by_its_keys():
    desk = Desk()
    done = desk.enrol("echo")
    assert isinstance(done, Deliver)
    member = read_certificate(done.certificate, CA.public, NOW)
    assert admitted(desk.roll, "echo", member.fingerprint.hex()).stage is Stage.ENROLLED
    with pytest.raises(DeviceRefused, match="other keys"):
        admitted(desk.roll, "echo", keys(2).fingerprint.hex())
    with pytest.raises(DeviceRefused, match="none of this clinic"):
        admitted(desk.roll, "mri", member.fingerprint.hex())


def test_a_lost_answer_is_given_again_and_a_second_device_gets_nothing():
    desk = Desk()
    code = desk.invite("echo")
    first = desk.ask(code, "echo", 1)
    assert desk.ask(code, "echo", 1) == first
    with pytest.raises(JoinRefused, match="used by another device"):
        desk.ask(code, "echo", 2)


def test_an_expired_an_unknown_and_a_foreign_code():
    desk = Desk()
    code = desk.invite("echo", lasts=60)
    with pytest.raises(JoinRefused, match="ended at"):
        desk.ask(code, "echo", at=T + 61)
    with pytest.raises(JoinRefused, match="does not know"):
        desk.ask(new_code(CA.certificate), "echo")
    der = certificate_request(keys(1), "mri")
    invitation, made = proof_of(code, CA.certificate, HUB_CERTIFICATE, "echo", der)
    asked = Ask(invitation, read_request(der), der, made, CA.certificate, HUB_CERTIFICATE)
    with pytest.raises(JoinRefused, match="with the code of 'echo'"):
        step(desk.roll, asked, T)


def test_wrong_proofs_are_counted_and_end_the_code():
    desk = Desk()
    code = desk.invite("echo")
    for _ in range(MOST_WRONG):
        assert isinstance(desk.ask(code, "echo", proof=b"x" * 32), Refuse)
    with pytest.raises(JoinRefused, match="void"):
        desk.ask(code, "echo")
    assert isinstance(desk.ask(desk.invite("echo"), "echo"), Deliver)  # a new one counts anew


def test_revoked_keys_never_come_back_and_the_name_may():
    desk = Desk()
    desk.enrol("echo", 1)
    with pytest.raises(JoinRefused, match="is enrolled"):
        desk.invite("echo")
    desk.roll, _ = step(desk.roll, Revoke("echo"), T)
    with pytest.raises(DeviceRefused, match="was revoked"):
        admitted(desk.roll, "echo", keys(1).fingerprint.hex())
    again = desk.invite("echo")
    with pytest.raises(JoinRefused, match="keys that were revoked"):
        desk.ask(again, "echo", 1)
    assert isinstance(desk.ask(again, "echo", 2), Deliver)
    with pytest.raises(JoinRefused, match="no device"):
        step(desk.roll, Revoke("mri"), T)


def test_a_code_that_was_taken_back_is_none():
    desk = Desk()
    code = desk.invite("echo")
    desk.roll, _ = step(desk.roll, Revoke("echo"), T)
    with pytest.raises(JoinRefused, match="taken back"):
        desk.ask(code, "echo")


def test_a_renewal_is_for_the_same_keys_and_name():
    desk = Desk()
    desk.enrol("echo", 1)
    mine = keys(1).fingerprint.hex()

    def renewed(number: int, name: str):
        der = certificate_request(keys(number), name)
        return step(desk.roll, Renew("echo", mine, read_request(der), der), T)[1]

    assert isinstance(renewed(1, "echo"), Sign)
    for number, name in ((2, "echo"), (1, "mri")):
        with pytest.raises(JoinRefused, match="same keys"):
            renewed(number, name)


def test_no_device_takes_the_hubs_place():
    with pytest.raises(ConfigError, match="hub's own name"):
        CA.issue(read_request(certificate_request(keys(1), HUB)), 90)
    check_hub(HUB_CERTIFICATE, CA.public, NOW)
    with pytest.raises(ProtocolRefused, match="not its hub's"):
        check_hub(CA.issue(read_request(certificate_request(keys(1), "echo")), 90), CA.public, NOW)
    with pytest.raises(ProtocolRefused, match="valid until"):
        check_hub(HUB_CERTIFICATE, CA.public, NOW + 91 * 86400)


def test_the_authority_of_devices_and_the_federations_know_nothing_of_each_other():
    federation = transport()
    device = CA.issue(read_request(certificate_request(keys(1), "echo")), 90)
    clinic = federation.issue(read_request(certificate_request(keys(1), "echo")), 90)
    for certificate, other in ((device, federation), (clinic, CA)):
        with pytest.raises(ProtocolRefused, match="did not sign"):
            read_certificate(certificate, other.public, NOW)
    with pytest.raises(ProtocolRefused):
        read_certificate(CA.certificate, federation.public, NOW)  # a root: nobody above it


STEPS = st.lists(st.tuples(st.sampled_from(("invite", "ask", "wrong", "revoke", "again")), st.integers(1, 3)), max_size=25)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_whatever_happens_a_code_serves_one_device_and_revoked_keys_stay_out(steps):
    desk, codes, owners, gone = Desk(), [], {}, set()
    for what, number in steps:
        try:
            if what == "invite":
                codes.append(desk.invite("echo"))
            elif what == "revoke":
                held = desk.roll.devices["echo"].fingerprint if "echo" in desk.roll.devices else ""
                desk.roll, _ = step(desk.roll, Revoke("echo"), T)
                gone |= {held} if held else set()
            elif codes:
                code = codes[-1] if what != "again" else codes[0]
                if isinstance(desk.ask(code, "echo", number, proof=b"x" * 32 if what == "wrong" else None), Deliver):
                    assert owners.setdefault(code.secret, number) == number
        except FedmedError:
            pass
        found = desk.roll.devices.get("echo")
        assert desk.roll.revoked == gone
        assert found is None or found.stage is not Stage.ENROLLED or found.fingerprint not in gone
