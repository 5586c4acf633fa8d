"""X25519 (RFC 7748) of many pairs of keys, eight at once in the vector registers of AVX-512 IFMA.

For a process that plays many members. The same bytes as the library's, the same steps whatever the secrets are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import binding
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from fedmed.privacy.secagg import schedule
from fedmed.privacy.secagg.compiled import jitted
from fedmed.privacy.secagg.field25519 import LIMBS, Field

NEEDED = ("avx512f", "avx512ifma")
BASE = (9).to_bytes(32, "little")
PLACES = 8
M = np.uint64(2**51 - 1)
"""Of a limb."""


@functools.cache
def why_not() -> str | None:
    """Why it is not used here, or None once it agreed on what the library agrees on."""
    features = binding.get_host_cpu_features()
    if missing := [name for name in NEEDED if not features.get(name, False)]:
        return f"the processor has no {', '.join(missing)}"
    secrets = [bytes([7 * number + 1]) * 32 for number in range(PLACES + 1)]
    publics = [schedule.public_of(each) for each in reversed(secrets)]
    if publics_of(secrets[::-1]) != publics:
        return "its public keys are wrong on this machine"
    expected = [schedule.shared(one, other) for one, other in zip(secrets, publics, strict=True)]
    return None if agreed(secrets, publics) == expected else "its agreements are wrong on this machine"


def publics_of(secrets: Sequence[bytes]) -> list[bytes]:
    """The public keys of secret ones, 32 bytes each."""
    return agreed(secrets, [BASE] * len(secrets))


def agreed(secrets: Sequence[bytes], publics: Sequence[bytes]) -> list[bytes]:
    """What each secret key has in common with the public key beside it. A point of small order gives 32 zeros."""
    count = len(secrets)
    if count != len(publics) or any(len(each) != 32 for each in (*secrets, *publics)):
        raise ValueError("as many secret keys as public ones, of 32 bytes")
    if not count:
        return []
    rows = -(-count // PLACES) * PLACES
    ours, theirs = np.zeros((rows, 4), np.uint64), np.zeros((rows, 4), np.uint64)
    ours[:count] = np.frombuffer(b"".join(secrets), "<u8").reshape(-1, 4)
    theirs[:count] = np.frombuffer(b"".join(publics), "<u8").reshape(-1, 4)
    ours[:, 0] &= np.uint64(2**64 - 8)
    ours[:, 3] = ours[:, 3] & np.uint64(2**63 - 1) | np.uint64(2**62)
    out = np.empty_like(theirs)
    _ladder_code(ours, theirs, out)
    found = out.astype("<u8", copy=False).tobytes()
    return [found[32 * place : 32 * place + 32] for place in range(count)]


_ADDRESS = types.intp


def _typed_step(_: Any, state: Any, base: Any, swap: Any) -> tuple[Any, Callable[..., Any]]:
    """A step of the ladder on x2, z2, x3, z3 (`state`), for the base's coordinate and where to exchange."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        field, (at, base, swap) = Field(builder), given
        x2, z2, x3, z3 = (field.load(at, number) for number in range(4))
        where = field.load(swap, 0)[0]
        (x2, x3), (z2, z3) = field.exchanged(where, x2, x3), field.exchanged(where, z2, z3)
        a, b, c, d = field.plus(x2, z2), field.minus(x2, z2), field.plus(x3, z3), field.minus(x3, z3)
        aa, bb, da, cb = field.squared(a), field.squared(b), field.times(d, a), field.times(c, b)
        e, plus, minus = field.minus(aa, bb), field.plus(da, cb), field.minus(da, cb)
        field.store(field.times(aa, bb), at, 0)
        field.store(field.times(e, field.plus(aa, field.times_a24(e))), at, 1)
        field.store(field.squared(plus), at, 2)
        field.store(field.times(field.load(base, 0), field.squared(minus)), at, 3)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS, _ADDRESS), code


def _typed_times(_: Any, one: Any, other: Any, into: Any) -> tuple[Any, Callable[..., Any]]:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        field = Field(builder)
        field.store(field.times(field.load(given[0], 0), field.load(given[1], 0)), given[2], 0)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS, _ADDRESS), code


def _typed_squared(_: Any, one: Any, into: Any) -> tuple[Any, Callable[..., Any]]:
    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        field = Field(builder)
        field.store(field.squared(field.load(given[0], 0)), given[1], 0)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS), code


_step, times, _squared = intrinsic(_typed_step), intrinsic(_typed_times), intrinsic(_typed_squared)


def _raised(z: NDArray[np.uint64], squarings: int, other: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    """z^(2^squarings) times `other`; `out` may be either."""
    power = z.copy()
    for _ in range(squarings):
        _squared(power.ctypes.data, power.ctypes.data)
    times(power.ctypes.data, other.ctypes.data, out.ctypes.data)


_raised_code = jitted(_raised)


def _inverse(z: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    """z^(p - 2) = z^(2^255 - 21) by the chain of Bernstein 2006, section 5: 254 squarings, 11 products."""
    one, two, nine, eleven = np.zeros_like(z), np.empty_like(z), np.empty_like(z), np.empty_like(z)
    one[0] = np.uint64(1)
    _raised_code(z, 1, one, two)
    _raised_code(two, 2, z, nine)
    times(nine.ctypes.data, two.ctypes.data, eleven.ctypes.data)
    ones = np.empty((4, LIMBS, PLACES), np.uint64)
    five, ten, fifty, many = ones[0], ones[1], ones[2], ones[3]  # z^(2^5 - 1) and so on
    _raised_code(eleven, 1, nine, five)
    _raised_code(five, 5, five, ten)
    _raised_code(ten, 10, ten, many)
    _raised_code(many, 20, many, many)
    _raised_code(many, 10, ten, fifty)
    _raised_code(fifty, 50, fifty, many)
    _raised_code(many, 100, many, many)
    _raised_code(many, 50, fifty, many)
    _raised_code(many, 5, eleven, out)


def _whole(limbs: NDArray[np.uint64], place: int, out: NDArray[np.uint64]) -> None:
    """The one number below p that is meant, as four words."""
    a, b, c, d, e = limbs[0, place], limbs[1, place], limbs[2, place], limbs[3, place], limbs[4, place]
    s, nineteen = np.uint64(51), np.uint64(19)
    for _ in range(2):
        b += a >> s
        c += b >> s
        d += c >> s
        e += d >> s
        a = (a & M) + nineteen * (e >> s)
        b, c, d, e = b & M, c & M, d & M, e & M
    over = (e + ((d + ((c + ((b + ((a + nineteen) >> s)) >> s)) >> s)) >> s)) >> s  # 1 from p on
    a += nineteen * over
    b += a >> s
    c += b >> s
    d += c >> s
    e += d >> s
    a, b, c, d, e = a & M, b & M, c & M, d & M, e & M
    out[0] = a | b << s
    out[1] = b >> np.uint64(13) | c << np.uint64(38)
    out[2] = c >> np.uint64(26) | d << np.uint64(25)
    out[3] = d >> np.uint64(39) | e << np.uint64(12)


def _limbs(words: NDArray[np.uint64], out: NDArray[np.uint64], place: int) -> None:
    a, b, c, d = words[0], words[1], words[2], words[3]
    out[0, place] = a & M
    out[1, place] = (a >> np.uint64(51) | b << np.uint64(13)) & M
    out[2, place] = (b >> np.uint64(38) | c << np.uint64(26)) & M
    out[3, place] = (c >> np.uint64(25) | d << np.uint64(39)) & M
    out[4, place] = (d >> np.uint64(12)) & M


inverse_code, whole_code, limbs_code = jitted(_inverse), jitted(_whole), jitted(_limbs)


def _ladder(ours: NDArray[np.uint64], theirs: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    state, base = np.zeros((4, LIMBS, PLACES), np.uint64), np.zeros((LIMBS, PLACES), np.uint64)
    swap, turned = np.zeros(PLACES, np.uint64), np.zeros((LIMBS, PLACES), np.uint64)
    before = np.zeros(PLACES, np.uint64)
    for first in range(0, len(ours), PLACES):
        state[:] = np.uint64(0)
        for place in range(PLACES):
            limbs_code(theirs[first + place], base, place)
            state[0, 0, place] = np.uint64(1)
            state[3, 0, place] = np.uint64(1)
            before[place] = np.uint64(0)
        state[2] = base
        for bit in range(254, -1, -1):
            for place in range(PLACES):
                now = ours[first + place, bit >> 6] >> np.uint64(bit & 63) & np.uint64(1)
                swap[place] = np.uint64(0) - (now ^ before[place])
                before[place] = now
            _step(state.ctypes.data, base.ctypes.data, swap.ctypes.data)
        inverse_code(state[1], turned)  # the last bit of a clamped secret is 0: nothing is left to exchange
        times(state[0].ctypes.data, turned.ctypes.data, turned.ctypes.data)
        for place in range(PLACES):
            whole_code(turned, place, out[first + place])


_ladder_code = jitted(_ladder)
