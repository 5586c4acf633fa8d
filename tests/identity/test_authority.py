from __future__ import annotations

import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.identity.authority import DevelopmentAuthority, read_certificate
from fedmed.identity.files import KeyRefused
from fedmed.identity.issuing import MOST_DAYS, SKEW_S
from fedmed.identity.member import NAME
from fedmed.identity.requests import certificate_request, read_request
from tests.identity.parties import NOW, Standing, authority, keys

DAY_S = 86400
AUTHORITY = authority()


@settings(max_examples=30)
@given(st.integers(0, 2**64), st.from_regex(NAME, fullmatch=True), st.integers(1, MOST_DAYS))
def test_a_certificate_carries_both_keys(number, name, days):
    made = keys(number)
    der = AUTHORITY.issue(read_request(certificate_request(made, name)), days)
    member = read_certificate(der, AUTHORITY.public, NOW)
    assert (member.name, member.fingerprint, member.signing_public) == (name, made.fingerprint, made.signing_public)
    assert member.transport_public == made.transport_public
    assert member.not_after == NOW + days * DAY_S
    for inside in (NOW - SKEW_S, member.not_after):
        assert read_certificate(der, AUTHORITY.public, inside) == member


def test_renewal_breaks_no_pin():
    request = read_request(certificate_request(keys(1), "north"))
    one, two = (AUTHORITY.issue(request, days) for days in (90, 91))
    assert one != two
    assert len({read_certificate(der, AUTHORITY.public, NOW).fingerprint for der in (one, two)}) == 1


@pytest.mark.parametrize("days", [0, -1, MOST_DAYS + 1])
def test_days_that_are_not_allowed(days):
    with pytest.raises(ConfigError, match="allowed are 1 to"):
        AUTHORITY.issue(read_request(certificate_request(keys(1), "north")), days)


def test_an_authority_is_kept_in_a_folder(tmp_path):
    AUTHORITY.save(tmp_path / "ca")
    again = DevelopmentAuthority.load(tmp_path / "ca", Standing())
    assert (again.public, again.certificate) == (AUTHORITY.public, AUTHORITY.certificate)
    with pytest.raises(KeyRefused, match="never written over"):
        authority(2).save(tmp_path / "ca")
    assert (tmp_path / "ca" / "authority.key").stat().st_mode & 0o777 == 0o600
    other = authority(2)
    other.save(tmp_path / "other")
    (tmp_path / "ca" / "authority.crt").write_bytes((tmp_path / "other" / "authority.crt").read_bytes())
    with pytest.raises(KeyRefused, match="not the key of"):
        DevelopmentAuthority.load(tmp_path / "ca", Standing())
    with pytest.raises(KeyRefused, match="holds no authority"):
        DevelopmentAuthority.load(tmp_path / "none", Standing())


def test_openssl_agrees_that_the_chain_is_sound(tmp_path):
    AUTHORITY.save(tmp_path)
    member = AUTHORITY.issue(read_request(certificate_request(keys(1), "north")), 90)
    pem = x509.load_der_x509_certificate(member).public_bytes(Encoding.PEM)
    (tmp_path / "north.crt").write_bytes(pem)
    checked = ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW)), "-CAfile", tmp_path / "authority.crt"]
    done = subprocess.run([*checked, tmp_path / "north.crt"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
