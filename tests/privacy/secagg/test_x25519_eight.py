from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.privacy.secagg import schedule
from fedmed.privacy.secagg.attacks import Refused

eight = pytest.importorskip("fedmed.privacy.secagg.x25519_eight", reason="numba is not installed")
pytestmark = pytest.mark.skipif(eight.why_not() is not None, reason=f"no IFMA: {eight.why_not()}")
keys = st.binary(min_size=32, max_size=32)
P = 2**255 - 19
EDGES = [0, 1, 2, 9, P - 2, P - 1, P, P + 1, P + 2, 2**255 - 1, 2**255, 2**255 + 9, 2**256 - 1, *range(2**51 - 1, 2**51 + 2)]


def by_the_library(secret: bytes, public: bytes) -> bytes:
    try:
        return schedule.shared(secret, public)
    except Refused:
        return bytes(32)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(keys, keys), max_size=20))
def test_it_agrees_on_what_the_library_agrees_on(pairs):
    found = eight.agreed([one for one, _ in pairs], [other for _, other in pairs])
    assert found == [by_the_library(*pair) for pair in pairs]


@pytest.mark.parametrize("number", EDGES)
def test_numbers_at_the_field_s_borders(number):
    public = number.to_bytes(32, "little")
    assert eight.agreed([b"\7" * 32], [public]) == [by_the_library(b"\7" * 32, public)]


def test_rfc_7748_section_5_2():
    secret = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    public = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert eight.agreed([secret], [public])[0].hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"


def test_other_lengths_are_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        eight.agreed([b"short"], [bytes(32)])
    with pytest.raises(ValueError, match="as many"):
        eight.agreed([bytes(32)], [])
