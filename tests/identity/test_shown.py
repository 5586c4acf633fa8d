from __future__ import annotations

import pytest

from fedmed.clock import SystemClock
from fedmed.errors import ProtocolRefused
from fedmed.identity.authority import DevelopmentAuthority
from fedmed.identity.shown import MAX_BYTES, shown


def test_what_a_certificate_says_of_itself():
    now = SystemClock().unix()
    found = shown(DevelopmentAuthority.generate(SystemClock(), name="St Elsewhere").certificate)
    assert found.subject == found.issuer == "CN=St Elsewhere"
    assert found.begins < now < found.ends


@pytest.mark.parametrize("der", [b"", b"\x30\x00", bytes(100), bytes(MAX_BYTES + 1)])
def test_bytes_that_are_no_certificate(der: bytes):
    with pytest.raises(ProtocolRefused):
        shown(der)
