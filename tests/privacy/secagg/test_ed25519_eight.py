"""What is found valid eight at once is what the library finds valid; what is doubtful is asked of the library."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.identity.member import MemberKeys, verified

eight = pytest.importorskip("fedmed.privacy.secagg.ed25519_eight", reason="numba is not installed")
pytestmark = pytest.mark.skipif(eight.why_not() is not None, reason=f"no IFMA: {eight.why_not()}")
KEYS = [MemberKeys.generate(bytes([number]) * 32) for number in range(12)]
P, L = eight.P, eight.L


def signed(number: int, message: bytes) -> tuple[bytes, bytes, bytes]:
    return KEYS[number].signing_public, KEYS[number].sign(message), message


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.binary(max_size=200)), max_size=19))
def test_all_that_members_sign_is_found_valid_without_the_library(given):
    checks = [signed(*each) for each in given]
    assert eight._found_valid(checks) == [True] * len(checks) == eight.checked(checks)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 2), st.integers(0, 511)), min_size=1, max_size=17))
def test_one_bit_changed_and_it_is_as_the_library_says(changes):
    checks = []
    for number, part, bit in changes:
        check = list(signed(number, bytes(64)))
        octets = bytearray(check[part])
        octets[bit // 8 % len(octets)] ^= 1 << bit % 8
        check[part] = bytes(octets)
        checks.append(tuple(check))
    valid = [signed(number, b"whole") for number, _, _ in changes]
    assert eight.checked([*checks, *valid]) == [*verified(checks), *[True] * len(valid)]
    assert not any(eight._found_valid(checks))


@pytest.mark.parametrize("y", [0, 1, 2, 3, P - 2, P - 1, P, P + 1, 2**255 - 1, 2**255 | 1, 2**255 | P - 1, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, L - 1, L, L + 1, 2**256 - 1])
def test_numbers_at_the_borders_are_judged_by_the_library(y, s):
    public, end = y.to_bytes(32, "little"), s.to_bytes(32, "little")
    checks = [(public, r + end, b"m") for r in (public, bytes(32), b"\1" + bytes(31))]
    assert eight.checked(checks) == verified(checks)


def test_a_signature_with_s_above_the_order_is_refused():
    public, signature, message = signed(0, b"m")
    high = int.from_bytes(signature[32:], "little") + L
    check = public, signature[:32] + high.to_bytes(32, "little"), message
    assert eight.checked([check, signed(0, b"m")]) == verified([check, signed(0, b"m")]) == [False, True]


@pytest.mark.parametrize(("key", "signature"), [(31, 64), (33, 64), (32, 63), (32, 65), (0, 0)])
def test_other_sizes_are_refused(key, signature):
    assert eight.checked([(bytes(key), bytes(signature), b"")]) == [False]


def test_nothing_is_asked():
    assert eight.checked([]) == []


def test_a_processor_without_it(monkeypatch):
    eight.why_not.cache_clear()
    monkeypatch.setattr(eight.binding, "get_host_cpu_features", lambda: {"avx512f": True})
    assert eight.why_not() == "the processor has no avx512ifma"
    eight.why_not.cache_clear()


def test_checks_that_find_everything_valid_are_found_out(monkeypatch):
    eight.why_not.cache_clear()
    monkeypatch.setattr(eight, "_found_valid", lambda checks: [True] * len(checks))
    assert eight.why_not() == "its checks are wrong on this machine"
    eight.why_not.cache_clear()
