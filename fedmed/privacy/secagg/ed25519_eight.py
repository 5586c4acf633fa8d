"""Ed25519 signatures (RFC 8032, 5.1.7) checked eight at once in the vector registers of AVX-512 IFMA.

For a process that checks many. What it finds valid is valid by the library's equation, R = [S]B - [h]A, compared byte by
byte; whatever it does not find valid is asked of the library, so that a refusal is always the library's.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import binding
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from fedmed.identity.member import SIGNATURE, SIGNING_KEY, Check, verified
from fedmed.privacy.secagg.compiled import jitted
from fedmed.privacy.secagg.field25519 import LIMBS, Field, Number
from fedmed.privacy.secagg.x25519_eight import NEEDED, PLACES, inverse_code, limbs_code, times, whole_code

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)
"""Of -1."""
DIGITS, ENTRIES, COORDINATES = 64, 16, 4
Point = tuple[int, int]
_ADDRESS = types.intp


@functools.cache
def why_not() -> str | None:
    """Why it is not used here, or None once it found valid, itself, what RFC 8032, 7.1 says is, and not what is not."""
    features = binding.get_host_cpu_features()
    if missing := [name for name in NEEDED if not features.get(name, False)]:
        return f"the processor has no {', '.join(missing)}"
    known: list[Check] = [(bytes.fromhex(one), bytes.fromhex(two), bytes.fromhex(three)) for one, two, three in KNOWN]
    wrong: list[Check] = [(public, signature, message + b"\1") for public, signature, message in known]
    found = _found_valid([*known, *wrong])
    return None if found == [True] * len(known) + [False] * len(wrong) else "its checks are wrong on this machine"


KNOWN = (
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        "",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        "72",
    ),
)
"""Public key, signature and message of RFC 8032, 7.1, tests 1 and 2."""


def checked(checks: Sequence[Check]) -> list[bool]:
    """What `identity.member.verified` says."""
    found = _found_valid(checks)
    asked = [number for number, is_valid in enumerate(found) if not is_valid]
    for number, is_valid in zip(asked, verified([checks[each] for each in asked]), strict=True):
        found[number] = is_valid
    return found


def _found_valid(checks: Sequence[Check]) -> list[bool]:
    """Of each whether its R is [S]B - [h]A; False as well for sizes, numbers and points that only the library judges."""
    count = len(checks)
    minus, factors = np.zeros((count, 2, 4), np.uint64), np.zeros((count, 2, 32), np.uint8)
    given = [False] * count
    for number, (public, signature, message) in enumerate(checks):
        if len(signature) != SIGNATURE or (words := _minus(public)) is None:
            continue
        r, s = signature[:32], signature[32:]
        if int.from_bytes(s, "little") >= L:
            continue
        h = int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % L
        minus[number] = np.frombuffer(words, "<u8").reshape(2, 4)
        factors[number] = np.frombuffer(s + h.to_bytes(32, "little"), np.uint8).reshape(2, 32)
        given[number] = True
    if not any(given):
        return given
    out = np.empty((count, 4), np.uint64)
    _combined_code(minus, factors, _base(), out)
    octets = out.astype("<u8", copy=False).tobytes()
    return [
        there and octets[32 * number : 32 * number + 32] == check[1][:32]
        for number, (there, check) in enumerate(zip(given, checks, strict=True))
    ]


@functools.lru_cache(maxsize=2**14)
def _minus(public: bytes) -> bytes | None:
    """-A as x and y, 32 bytes each, little-endian; None for what is no point, or not written in its one way (5.1.3)."""
    if len(public) != SIGNING_KEY:
        return None
    encoded = int.from_bytes(public, "little")
    sign, y = encoded >> 255, encoded % 2**255
    over, under = (y * y - 1) % P, (D * y * y + 1) % P
    x = over * pow(under, 3, P) * pow(over * pow(under, 7, P), (P - 5) // 8, P) % P
    if under * x * x % P != over:
        x = x * ROOT % P
    if y >= P or x == 0 or under * x * x % P != over:
        return None
    return (x if x & 1 != sign else P - x).to_bytes(32, "little") + y.to_bytes(32, "little")


def _sum(one: Point, other: Point) -> Point:
    (x, y), (u, v) = one, other
    product = D * x * y * u * v
    return (x * v + y * u) * pow(1 + product, -1, P) % P, (y * v + x * u) * pow(1 - product, -1, P) % P


@functools.cache
def _base() -> NDArray[np.uint64]:
    """Multiples 0 to 15 of the base point, `(16, 4, 5, 8)`: y - x, y + x, 2 d x y and 2, the same in all places."""
    y = 4 * pow(5, -1, P) % P
    words = _minus((y | 1 << 255).to_bytes(32, "little"))  # minus the odd root is the even one, which is meant
    assert words is not None
    point, each, found = (int.from_bytes(words[:32], "little"), y), (0, 1), np.empty((ENTRIES, 4, LIMBS, PLACES), np.uint64)
    for number in range(ENTRIES):
        x, y = each
        for at, value in enumerate(((y - x) % P, (y + x) % P, 2 * D * x * y % P, 2)):
            found[number, at] = np.array([value >> 51 * limb & 2**51 - 1 for limb in range(LIMBS)], np.uint64)[:, None]
        each = _sum(each, point)
    return found


def _code(emit: Callable[..., None]) -> Callable[..., Any]:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        emit(Field(builder), *given)
        return context.get_dummy_value()

    return code


def _typed_doubled(_: Any, point: Any) -> tuple[Any, Callable[..., Any]]:
    """A point (x, y, z, t) sixteen times over, in place."""
    return types.void(_ADDRESS), _code(_emit_doubled)


def _typed_added(_: Any, point: Any, entry: Any) -> tuple[Any, Callable[..., Any]]:
    """A point plus an entry of a table (y - x, y + x, 2 d t, 2 z), in place."""
    return types.void(_ADDRESS, _ADDRESS), _code(_emit_added)


def _typed_entry(_: Any, point: Any, into: Any) -> tuple[Any, Callable[..., Any]]:
    """The entry of a point."""
    return types.void(_ADDRESS, _ADDRESS), _code(_emit_entry)


def _emit_doubled(field: Field, at: Any) -> None:
    """RFC 8032, 5.1.4; t is needed after the last only."""
    x, y, z = (field.load(at, number) for number in range(3))
    for turn in range(4):
        a, b, c, both = field.squared(x), field.squared(y), field.squared(z), field.squared(field.plus(x, y))
        h, g = field.plus(a, b), field.minus(a, b)
        e, f = field.minus(h, both), field.plus(field.plus(c, c), g)
        x, y, z = field.times(e, f), field.times(g, h), field.times(f, g)
        if turn == 3:
            field.store(field.times(e, h), at, 3)
    for number, each in enumerate((x, y, z)):
        field.store(each, at, number)


def _emit_added(field: Field, at: Any, entry: Any) -> None:
    """RFC 8032, 5.1.4: right for all pairs of points."""
    x, y, z, t = (field.load(at, number) for number in range(COORDINATES))
    a = field.times(field.minus(y, x), field.load(entry, 0))
    b = field.times(field.plus(y, x), field.load(entry, 1))
    c, d = field.times(t, field.load(entry, 2)), field.times(z, field.load(entry, 3))
    e, f, g, h = field.minus(b, a), field.minus(d, c), field.plus(d, c), field.plus(b, a)
    for number, (one, other) in enumerate(((e, f), (g, h), (f, g), (e, h))):
        field.store(field.times(one, other), at, number)


def _emit_entry(field: Field, at: Any, into: Any) -> None:
    x, y, z, t = (field.load(at, number) for number in range(COORDINATES))
    made: tuple[Number, ...] = field.minus(y, x), field.plus(y, x), field.times(t, field.number(2 * D % P)), field.plus(z, z)
    for number, each in enumerate(made):
        field.store(each, into, number)


_doubled, _added, _entry = intrinsic(_typed_doubled), intrinsic(_typed_added), intrinsic(_typed_entry)


def _plus(point: NDArray[np.uint64], entry: NDArray[np.uint64]) -> None:
    """As a function of its own, so that its code is there once."""
    _added(point.ctypes.data, entry.ctypes.data)


_plus_code = jitted(_plus)


def _selected(table: NDArray[np.uint64], factors: NDArray[np.uint8], digit: int, out: NDArray[np.uint64]) -> None:
    """Each place's entry for its digit of four bits; what is looked up is public."""
    for place in range(len(factors)):
        number = factors[place, digit >> 1] >> (4 * (digit & 1)) & 15
        for coordinate in range(COORDINATES):
            for limb in range(LIMBS):
                out[coordinate, limb, place] = table[number, coordinate, limb, place]


def _table(minus: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    """Multiples 0 to 15 of up to eight points."""
    point = np.zeros((COORDINATES, LIMBS, PLACES), np.uint64)
    point[1, 0] = point[2, 0] = np.uint64(1)
    _entry(point.ctypes.data, out[0].ctypes.data)
    for place in range(len(minus)):
        limbs_code(minus[place, 0], point[0], place)
        limbs_code(minus[place, 1], point[1], place)
    times(point[0].ctypes.data, point[1].ctypes.data, point[3].ctypes.data)
    for number in range(1, ENTRIES):
        _entry(point.ctypes.data, out[number].ctypes.data)
        _plus_code(point, out[1])


_selected_code, _table_code = jitted(_selected), jitted(_table)


def _combined(
    minus: NDArray[np.uint64], factors: NDArray[np.uint8], base: NDArray[np.uint64], out: NDArray[np.uint64]
) -> None:
    """[s]B + [h](-A) as it is written, for `minus (n, 2, 4)`, `factors (n, 2, 32)` of s and h, into `out (n, 4)`."""
    point, entry = np.empty((COORDINATES, LIMBS, PLACES), np.uint64), np.zeros((COORDINATES, LIMBS, PLACES), np.uint64)
    table, turned = np.empty((ENTRIES, COORDINATES, LIMBS, PLACES), np.uint64), np.empty((LIMBS, PLACES), np.uint64)
    x = np.empty(4, np.uint64)
    for first in range(0, len(minus), PLACES):
        some = slice(first, min(first + PLACES, len(minus)))
        _table_code(minus[some], table)
        point[:] = np.uint64(0)
        point[1, 0] = point[2, 0] = np.uint64(1)
        for digit in range(DIGITS - 1, -1, -1):
            _doubled(point.ctypes.data)
            _selected_code(table, factors[some, 1], digit, entry)
            _plus_code(point, entry)
            _selected_code(base, factors[some, 0], digit, entry)
            _plus_code(point, entry)
        inverse_code(point[2], turned)
        for number in range(2):
            times(point[number].ctypes.data, turned.ctypes.data, point[number].ctypes.data)
        for place in range(some.start, some.stop):
            whole_code(point[0], place - first, x)
            whole_code(point[1], place - first, out[place])
            out[place, 3] |= x[0] << np.uint64(63)


_combined_code = jitted(_combined)
