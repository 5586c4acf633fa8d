from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.identity.member import NAME
from fedmed.identity.requests import MAX_BYTES, certificate_request, read_request
from tests.identity.parties import keys


@settings(max_examples=50)
@given(st.integers(0, 2**64), st.from_regex(NAME, fullmatch=True))
def test_a_request_says_who_asks(number, name):
    made = keys(number)
    der = certificate_request(made, name)
    assert len(der) < MAX_BYTES / 4
    request = read_request(der)
    assert (request.name, request.fingerprint) == (name, made.fingerprint)
    assert request.signing_public == made.signing_public
    assert request.transport_public == made.transport_public


@pytest.mark.parametrize("name", ["", "North", "-north", "a" * 65, "north clinic", "north\n", "nörd", "../north"])
def test_a_name_that_no_member_may_have(name):
    with pytest.raises(ConfigError, match="cannot be called"):
        certificate_request(keys(1), name)
