"""HMAC-SHA256 (RFC 2104, FIPS 180-4) of many short messages, sixteen at once in the lanes of vector registers.

For a process that derives the seeds of many members. LLVM makes of the vectors what the processor has; every step is a sum,
a turn or a choice bit by bit, whose time depends on no secret.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from fedmed.privacy.secagg.compiled import jitted

PLACES, WORDS, STATE, STEPS = 16, 16, 8, 64
"""Messages at once; 32-bit words of a block and of a state; steps of a block."""
BLOCK, DIGEST, KEY = 64, 32, 32
MOST = 55
"""Bytes of a message that fits one block with its padding."""
_VECTOR, _WORD, _ADDRESS = ir.VectorType(ir.IntType(32), PLACES), ir.IntType(32), types.intp
Words = NDArray[np.uint32]


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % each for each in found):
            found.append(number)
        number += 1
    return found


def _root(number: int, degree: int) -> int:
    """The first 32 bits after the point of a root (FIPS 180-4, 4.2.2 and 5.3.3)."""
    if degree == 2:
        return isqrt(number << 64) & 0xFFFFFFFF
    low, high = 0, 1 << 36
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**3 <= number << 96 else (low, middle)
    return low & 0xFFFFFFFF


START = np.array([_root(prime, 2) for prime in _primes(STATE)], np.uint32)
ROUNDS = [_root(prime, 3) for prime in _primes(STEPS)]


def _constant(value: int) -> Any:
    return ir.Constant(_VECTOR, [value] * PLACES)


def _turned(builder: Any, value: Any, *by: int) -> Any:
    """The exclusive or of a word turned right by each."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    found = builder.module.globals.get("llvm.fshr.v16i32")
    turn = found if found is not None else ir.Function(builder.module, kind, "llvm.fshr.v16i32")
    parts = [builder.call(turn, [value, value, _constant(each)]) for each in by]
    total = parts[0]
    for each in parts[1:]:
        total = builder.xor(total, each)
    return total


def _typed_block(_: Any, state: Any, block: Any) -> tuple[Any, Callable[..., Any]]:
    """States `(8, 16)` after a block `(16, 16)`, in place: FIPS 180-4, 6.2.2."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        state, block = (builder.inttoptr(each, _VECTOR.as_pointer()) for each in given)
        index = ir.IntType(64)
        at = [builder.gep(state, [ir.Constant(index, number)]) for number in range(STATE)]
        words = [builder.load(builder.gep(block, [ir.Constant(index, n)]), align=4) for n in range(WORDS)]
        before = [builder.load(each, align=4) for each in at]
        after = list(before)
        for step in range(STEPS):
            if step >= WORDS:
                words.append(_scheduled(builder, words[step - 16 :]))
            after = _stepped(builder, after, builder.add(words[step], _constant(ROUNDS[step])))
        for place, one, other in zip(at, before, after, strict=True):
            builder.store(builder.add(one, other), place, align=4)
        return context.get_dummy_value()

    return types.void(_ADDRESS, _ADDRESS), code


def _scheduled(builder: Any, last: list[Any]) -> Any:
    low, high = last[1], last[14]
    first = builder.xor(_turned(builder, low, 7, 18), builder.lshr(low, _constant(3)))
    second = builder.xor(_turned(builder, high, 17, 19), builder.lshr(high, _constant(10)))
    return builder.add(builder.add(last[0], first), builder.add(last[9], second))


def _stepped(builder: Any, state: list[Any], word: Any) -> list[Any]:
    a, b, c, d, e, f, g, h = state
    choice = builder.xor(g, builder.and_(e, builder.xor(f, g)))
    most = builder.or_(builder.and_(a, b), builder.and_(c, builder.or_(a, b)))
    one = builder.add(builder.add(h, word), builder.add(_turned(builder, e, 6, 11, 25), choice))
    two = builder.add(_turned(builder, a, 2, 13, 22), most)
    return [builder.add(one, two), a, b, c, builder.add(d, one), e, f, g]


_block = intrinsic(_typed_block)


def _compressed(state: Words, block: Words) -> None:
    """As a function of its own, so that its code is there once."""
    _block(state.ctypes.data, block.ctypes.data)


_compressed_code = jitted(_compressed)


def _loop(keys: Words, messages: Words, start: Words, out: Words) -> None:
    """`keys (8, n)`, padded `messages (16, n)` and `out (8, n)`, n a multiple of 16; `start (8,)`."""
    inner, outer = np.empty((STATE, PLACES), np.uint32), np.empty((STATE, PLACES), np.uint32)
    block = np.empty((WORDS, PLACES), np.uint32)
    for first in range(0, keys.shape[1], PLACES):
        some = slice(first, first + PLACES)
        for number in range(STATE):
            inner[number] = outer[number] = start[number]
        block[:STATE] = keys[:, some] ^ np.uint32(0x36363636)
        block[STATE:] = np.uint32(0x36363636)
        _compressed_code(inner, block)
        block[:STATE] = keys[:, some] ^ np.uint32(0x5C5C5C5C)
        block[STATE:] = np.uint32(0x5C5C5C5C)
        _compressed_code(outer, block)
        block[:] = messages[:, some]
        _compressed_code(inner, block)
        block[:STATE] = inner
        block[STATE:] = np.uint32(0)
        block[STATE] = np.uint32(0x80000000)
        block[WORDS - 1] = np.uint32(8 * (BLOCK + DIGEST))
        _compressed_code(outer, block)
        out[:, some] = outer


_machine_code = jitted(_loop)


def digests(keys: NDArray[np.uint8], messages: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """HMAC-SHA256 `(n, 32)` of `messages (n, size)`, at most 55 bytes each, under `keys (n, 32)`. Raises ValueError."""
    count, size = messages.shape
    if size > MOST or keys.shape != (count, KEY):
        raise ValueError(f"messages {messages.shape} and keys {keys.shape}; allowed: {MOST} bytes at most, keys of {KEY}")
    rows = -(-count // PLACES) * PLACES
    padded, under = np.zeros((rows, BLOCK), np.uint8), np.zeros((rows, KEY), np.uint8)
    padded[:count, :size], under[:count] = messages, keys
    padded[:, size] = 0x80
    padded[:, -2:] = divmod(8 * (BLOCK + size), 256)
    out = np.empty((STATE, rows), np.uint32)
    _machine_code(_columns(under), _columns(padded), START, out)
    return out.T.astype(">u4", order="C").view(np.uint8)[:count]


def _columns(octets: NDArray[np.uint8]) -> Words:
    return np.ascontiguousarray(octets.view(">u4").astype(np.uint32).T)
