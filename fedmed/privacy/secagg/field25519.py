"""Arithmetic mod 2^255 - 19 on eight numbers at once, as LLVM's code for AVX-512 IFMA.

A number is five limbs of 51 bits, a limb of eight numbers one register. The processor multiplies the low 52 bits of limbs,
so every result here has limbs below 2^51 + 2^14: the bounds are beside the steps.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

EIGHT = ir.VectorType(ir.IntType(64), 8)
LIMBS, BITS = 5, 51
A24 = 121665
Number = list[Any]
"""Five registers."""


def constant(value: int) -> Any:
    """The same in all eight places."""
    return ir.Constant(EIGHT, [value] * 8)


MASK = constant(2**BITS - 1)
TWICE_P = [constant(2**52 - 38), *[constant(2**52 - 2)] * 4]


class Field:
    """Emits the code of sums and products."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder
        self._low, self._high = (self._instruction(f"llvm.x86.avx512.vpmadd52{half}.uq.512") for half in ("l", "h"))

    def _instruction(self, name: str) -> Any:
        found = self._builder.module.globals.get(name)
        return found if found is not None else ir.Function(self._builder.module, ir.FunctionType(EIGHT, [EIGHT] * 3), name)

    def number(self, value: int) -> Number:
        """A number below p, the same in all places."""
        return [constant(value >> BITS * limb & 2**BITS - 1) for limb in range(LIMBS)]

    def load(self, address: Any, number: int) -> Number:
        """The number at this place of an array of numbers."""
        return [self._builder.load(self._place(address, number, limb), align=8) for limb in range(LIMBS)]

    def store(self, value: Number, address: Any, number: int) -> None:
        """Put a number there."""
        for limb, each in enumerate(value):
            self._builder.store(each, self._place(address, number, limb), align=8)

    def _place(self, address: Any, number: int, limb: int) -> Any:
        pointer = self._builder.inttoptr(address, EIGHT.as_pointer())
        return self._builder.gep(pointer, [ir.Constant(ir.IntType(64), number * LIMBS + limb)])

    def plus(self, a: Number, b: Number) -> Number:
        """a + b: limbs below 2^53, whose carries are at most 3."""
        return self._weakly([self._builder.add(x, y) for x, y in zip(a, b, strict=True)])

    def minus(self, a: Number, b: Number) -> Number:
        """a + 2p - b: no limb is below 0, for those of 2p are above 2^52 - 39."""
        raised = [self._builder.add(x, two) for x, two in zip(a, TWICE_P, strict=True)]
        return self._weakly([self._builder.sub(x, y) for x, y in zip(raised, b, strict=True)])

    def times(self, a: Number, b: Number) -> Number:
        """a b: ten columns of at most 15 x 2^52, folded below 2^61."""
        low, high = [constant(0)] * 10, [constant(0)] * 10
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                low[i + j] = self._builder.call(self._low, [low[i + j], x, y])
                high[i + j + 1] = self._builder.call(self._high, [high[i + j + 1], x, y])
        columns = [self._builder.add(one, self._shifted(two, 1)) for one, two in zip(low, high, strict=True)]
        return self._folded(columns)

    def squared(self, a: Number) -> Number:
        """a^2: the same columns as of a a, of products by how often they count: once, twice, four times."""
        once, twice, four = [constant(0)] * 10, [constant(0)] * 10, [constant(0)] * 10
        for i, x in enumerate(a):
            once[2 * i] = self._builder.call(self._low, [once[2 * i], x, x])
            twice[2 * i + 1] = self._builder.call(self._high, [twice[2 * i + 1], x, x])
            for j in range(i + 1, LIMBS):
                twice[i + j] = self._builder.call(self._low, [twice[i + j], x, a[j]])
                four[i + j + 1] = self._builder.call(self._high, [four[i + j + 1], x, a[j]])
        add = self._builder.add
        doubled = [self._shifted(add(two, self._shifted(more, 1)), 1) for two, more in zip(twice, four, strict=True)]
        return self._folded([add(one, two) for one, two in zip(once, doubled, strict=True)])

    def times_a24(self, a: Number) -> Number:
        """121665 a."""
        zero, small = constant(0), constant(A24)
        low = [self._builder.call(self._low, [zero, x, small]) for x in a]
        high = [self._shifted(self._builder.call(self._high, [zero, x, small]), 1) for x in a]
        before = [self._nineteen(high[4]), *high[:4]]
        return self._carried([self._builder.add(x, y) for x, y in zip(low, before, strict=True)])

    def exchanged(self, where: Any, a: Number, b: Number) -> tuple[Number, Number]:
        """b, a in the places where the mask is all ones, a, b where it is zero: the same steps either way."""
        builder = self._builder
        change = [builder.and_(where, builder.xor(x, y)) for x, y in zip(a, b, strict=True)]
        return [builder.xor(x, c) for x, c in zip(a, change, strict=True)], [
            builder.xor(y, c) for y, c in zip(b, change, strict=True)
        ]

    def _shifted(self, x: Any, by: int) -> Any:
        return self._builder.shl(x, constant(by))

    def _folded(self, columns: list[Any]) -> Number:
        """Ten columns as a number: 2^255 is 19."""
        return self._carried([self._builder.add(columns[k], self._nineteen(columns[k + 5])) for k in range(LIMBS)])

    def _nineteen(self, x: Any) -> Any:
        return self._builder.add(self._builder.add(x, self._shifted(x, 1)), self._shifted(x, 4))

    def _over(self, x: Any) -> Any:
        return self._builder.lshr(x, constant(BITS))

    def _weakly(self, a: Number) -> Number:
        """All carries at once: limbs below 2^51 + 19 x 3."""
        over = [self._over(x) for x in a]
        into = [self._nineteen(over[4]), *over[:4]]
        return [self._builder.add(self._builder.and_(x, MASK), c) for x, c in zip(a, into, strict=True)]

    def _carried(self, a: Number) -> Number:
        """One carry after the other: all limbs below 2^51 but the first, below 2^51 + 19 x 2^9.5."""
        done, carry = [], constant(0)
        for x in a:
            total = self._builder.add(x, carry)
            done.append(self._builder.and_(total, MASK))
            carry = self._over(total)
        done[0] = self._builder.add(done[0], self._nineteen(carry))
        return done
