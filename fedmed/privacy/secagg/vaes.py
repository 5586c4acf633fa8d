"""Masks by the vector AES of x86 processors (VAES with AVX-512), added to lanes while both are in registers.

The same bytes as the library's cipher makes, about twice as fast: a mask is never written anywhere. The cipher's rounds are
instructions of the processor, whose time depends on no key, and so are the steps that make round keys (`round_keys`).
LLVM compiles the loop through numba, once a machine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from fedmed.privacy import keystream
from fedmed.privacy.keystream import KEY_BYTES, SPARE_BYTES
from fedmed.privacy.secagg import round_keys, sliced
from fedmed.privacy.secagg.compiled import jitted

WIDE, TOGETHER = 64, 8
"""Bytes of a register, four blocks of the cipher; registers at once, since a round's result comes some cycles later."""
PIECE_BYTES = WIDE * TOGETHER
PIECE_BLOCKS = PIECE_BYTES // 16
NEEDED = ("vaes", "avx512f", "avx512bw")
Streams = Sequence[tuple[bytes, int]]
_REGISTER, _WORDS = ir.VectorType(ir.IntType(64), 8), ir.VectorType(ir.IntType(32), 16)
_BLOCK, _WORDS_8 = ir.VectorType(ir.IntType(64), 2), ir.VectorType(ir.IntType(32), 8)
_LANES = {16: ir.VectorType(ir.IntType(16), 32), 32: _WORDS}


@functools.cache
def why_not() -> str | None:
    """Why it is not used here, or None once it made the bytes of the library's cipher."""
    features = binding.get_host_cpu_features()
    if missing := [name for name in NEEDED if not features.get(name, False)]:
        return f"the processor has no {', '.join(missing)}"
    seeds = [(bytes(range(24)), 1), (bytes(range(90, 114)), -1)]
    size = PIECE_BYTES * 3 + 60
    added, off = (_from_the_library(seed, size) for seed, _ in seeds)
    for dtype in (np.uint16, np.uint32):
        lanes = np.zeros(size // np.dtype(dtype).itemsize, dtype)
        Adder(seeds)(lanes, 7)
        if not np.array_equal(lanes, added.view(dtype) - off.view(dtype)):
            return "its masks are wrong on this machine"
    return None


def _from_the_library(seed: bytes, size: int) -> NDArray[np.uint8]:
    octets = bytearray(size + SPARE_BYTES)
    keystream.segment(seed, 7, "ctr")(bytes(size), memoryview(octets))
    return np.frombuffer(octets, np.uint8, size)


class Adder:
    """Adds some masks to segments of a vector."""

    def __init__(self, streams: Streams) -> None:
        """`streams` are seeds of 24 bytes and signs, +1 or -1. Raises ValueError for seeds of another length."""
        ordered = [one for one in streams if one[1] > 0] + [one for one in streams if one[1] < 0]
        seeds = sliced.seeds_of(ordered)
        self._added = sum(sign > 0 for _, sign in ordered)
        self._prefixes = seeds[:, KEY_BYTES:]
        self._keys = round_keys.expanded(seeds[:, :KEY_BYTES])

    def __call__(self, part: NDArray[Any], number: int) -> None:
        """Add the masks' segment `number` to its lanes in place; contiguous, in the machine's byte order."""
        rows = rows_for(self._keys, self._prefixes, number)
        octets = part.view(np.uint8)
        whole = len(octets) // PIECE_BYTES
        rest = octets[whole * PIECE_BYTES :]
        tail = np.zeros(PIECE_BYTES, np.uint8)
        tail[: len(rest)] = rest
        loop = _loop(8 * part.itemsize)
        loop(octets, rows, self._added, whole, 0)
        loop(tail, rows, self._added, 1, whole)
        rest[:] = tail[: len(rest)]


def rows_for(keys: NDArray[np.uint8], prefixes: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Round keys `(n, 11, 16)` for a segment: what of its counter blocks is fixed is in the first of them."""
    rows = keys.copy()
    rows[:, 0, :8] ^= prefixes
    rows[:, 0, 8:12] ^= np.frombuffer(number.to_bytes(4, "big"), np.uint8)
    return rows


@functools.cache
def _loop(bits: int) -> Any:
    return jitted(_loop_16 if bits == 16 else _loop_32)


_SIGNATURE = types.void(types.intp, types.intp, types.intp, types.intp, types.intp)


def _typed_16(_: Any, lanes: Any, rows: Any, added: Any, count: Any, block: Any) -> tuple[Any, Callable[..., Any]]:
    """Addresses of lanes and rows, streams to add, streams in all, first block: a piece's masks on its lanes of 16 bits."""
    return _SIGNATURE, functools.partial(_piece, 16)


def _typed_32(_: Any, lanes: Any, rows: Any, added: Any, count: Any, block: Any) -> tuple[Any, Callable[..., Any]]:
    """The same on lanes of 32 bits."""
    return _SIGNATURE, functools.partial(_piece, 32)


_piece_16, _piece_32 = intrinsic(_typed_16), intrinsic(_typed_32)


def _piece(bits: int, context: Any, builder: Any, _: Any, given: Any) -> Any:
    lanes, rows, added, count, block = given
    made = Emitted(builder, rows, block, bits)
    state = made.load(lanes)
    state = made.streams((_index(0), added), state, builder.add)
    made.store(made.streams((added, count), state, builder.sub), lanes)
    return context.get_dummy_value()


def _index(number: int) -> Any:
    return ir.Constant(ir.IntType(64), number)


class Emitted:
    """Emits the code that combines streams with the lanes of a piece, which stay in registers."""

    def __init__(self, builder: Any, rows: Any, block: Any, bits: int) -> None:
        """Addresses of round keys, the piece's first counter block, bits of a lane."""
        self._builder, self._lanes = builder, _LANES[bits]
        self._rows = builder.inttoptr(rows, _BLOCK.as_pointer())
        self._counters = self._made_counters(block)

    def load(self, address: Any) -> list[Any]:
        """A piece's lanes."""
        at = self._builder.inttoptr(address, _REGISTER.as_pointer())
        return [self._builder.load(self._builder.gep(at, [_index(n)]), align=1) for n in range(TOGETHER)]

    def store(self, state: list[Any], address: Any) -> None:
        """Put them there."""
        at = self._builder.inttoptr(address, _REGISTER.as_pointer())
        for n, register in enumerate(state):
            self._builder.store(register, self._builder.gep(at, [_index(n)]), align=1)

    def streams(
        self,
        span: tuple[Any, Any],
        state: list[Any],
        combine: Callable[[Any, Any], Any],
        each: Callable[[Any, list[Any]], None] | None = None,
    ) -> list[Any]:
        """A loop over the streams of a span: each one's keystream combined with the lanes, and given to `each`."""
        builder = self._builder
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        stream = builder.phi(ir.IntType(64))
        carried = [builder.phi(_REGISTER) for _ in state]
        stream.add_incoming(span[0], before)
        for phi, value in zip(carried, state, strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", stream, span[1]), body, after)
        builder.position_at_end(body)
        made = self._encrypted(stream)
        for phi, combined in zip(carried, self.combined(carried, made, combine), strict=True):
            phi.add_incoming(combined, builder.block)
        if each is not None:
            each(stream, made)
        stream.add_incoming(builder.add(stream, _index(1)), builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return carried

    def combined(self, state: list[Any], made: list[Any], combine: Callable[[Any, Any], Any]) -> list[Any]:
        """Lanes and keystream, lane by lane."""
        cast = self._builder.bitcast
        pairs = ((cast(one, self._lanes), cast(other, self._lanes)) for one, other in zip(state, made, strict=True))
        return [cast(combine(*pair), _REGISTER) for pair in pairs]

    def _made_counters(self, block: Any) -> list[Any]:
        """The last words of consecutive counter blocks, big-endian, zeros before them."""
        builder = self._builder
        is_last = ir.Constant(_WORDS, [-1 if word % 4 == 3 else 0 for word in range(16)])
        one = builder.insert_element(ir.Constant(_WORDS, ir.Undefined), builder.trunc(block, ir.IntType(32)), _index(0))
        first = builder.shuffle_vector(one, one, ir.Constant(_WORDS, [0] * 16))
        turn = _instruction(builder, "llvm.bswap.v16i32", ir.FunctionType(_WORDS, [_WORDS]))
        made = []
        for n in range(TOGETHER):
            step = ir.Constant(_WORDS, [4 * n + word // 4 for word in range(16)])
            word = builder.and_(builder.add(first, step), is_last)
            made.append(builder.bitcast(builder.call(turn, [word]), _REGISTER))
        return made

    def _encrypted(self, stream: Any) -> list[Any]:
        """AES-128 (FIPS 197, 5.1) of the counter blocks under a stream's keys."""
        builder, kind = self._builder, ir.FunctionType(_REGISTER, [_REGISTER, _REGISTER])
        inner = _instruction(builder, "llvm.x86.aesni.aesenc.512", kind)
        last = _instruction(builder, "llvm.x86.aesni.aesenclast.512", kind)
        first = builder.mul(stream, _index(sliced.ROUNDS + 1))
        blocks = [builder.xor(self._round_key(first, 0), each) for each in self._counters]
        for number in range(1, sliced.ROUNDS + 1):
            round_key = self._round_key(first, number)
            step = inner if number < sliced.ROUNDS else last
            blocks = [builder.call(step, [block, round_key]) for block in blocks]
        return blocks

    def _round_key(self, first: Any, number: int) -> Any:
        """A round key four times; the processor copies it as it loads it."""
        builder = self._builder
        one = builder.load(builder.gep(self._rows, [builder.add(first, _index(number))]), align=1)
        return builder.shuffle_vector(one, one, ir.Constant(_WORDS_8, [0, 1] * 4))


def _instruction(builder: Any, name: str, kind: Any) -> Any:
    found = builder.module.globals.get(name)
    return found if found is not None else ir.Function(builder.module, kind, name)


def _loop_16(octets: NDArray[np.uint8], rows: NDArray[np.uint8], added: int, pieces: int, first: int) -> None:
    for at in range(pieces):
        block = 2 + (first + at) * PIECE_BLOCKS
        _piece_16(octets.ctypes.data + at * PIECE_BYTES, rows.ctypes.data, added, len(rows), block)


def _loop_32(octets: NDArray[np.uint8], rows: NDArray[np.uint8], added: int, pieces: int, first: int) -> None:
    for at in range(pieces):
        block = 2 + (first + at) * PIECE_BLOCKS
        _piece_32(octets.ctypes.data + at * PIECE_BYTES, rows.ctypes.data, added, len(rows), block)
