"""AES-128's round keys (FIPS 197, 5.2) of many seeds as machine code: the S-box is the processor's own instruction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from fedmed.privacy.secagg.compiled import jitted
from fedmed.privacy.secagg.sliced import ROUNDS

_PAIR, _FOUR = ir.VectorType(ir.IntType(64), 2), ir.VectorType(ir.IntType(32), 4)


def _typed(_: Any, word: Any) -> tuple[Any, Callable[..., Any]]:
    """SubWord: the cipher's last round on four equal columns, which its ShiftRows leaves as they are."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        zero, index = ir.Constant(_PAIR, [0, 0]), ir.IntType(32)
        one = builder.insert_element(ir.Constant(_FOUR, ir.Undefined), given[0], ir.Constant(index, 0))
        all_four = builder.shuffle_vector(one, one, ir.Constant(_FOUR, [0] * 4))
        kind, name = ir.FunctionType(_PAIR, [_PAIR, _PAIR]), "llvm.x86.aesni.aesenclast"
        found = builder.module.globals.get(name)
        last = found if found is not None else ir.Function(builder.module, kind, name)
        done = builder.call(last, [builder.bitcast(all_four, _PAIR), zero])
        return builder.extract_element(builder.bitcast(done, _FOUR), ir.Constant(index, 0))

    return types.uint32(types.uint32), code


_substituted = intrinsic(_typed)


def _loop(keys: NDArray[np.uint32], out: NDArray[np.uint32]) -> None:
    for number in range(len(keys)):
        a, b, c, d = keys[number, 0], keys[number, 1], keys[number, 2], keys[number, 3]
        constant = np.uint32(1)
        for turn in range(ROUNDS + 1):
            out[number, turn, 0], out[number, turn, 1], out[number, turn, 2], out[number, turn, 3] = a, b, c, d
            turned = np.uint32((d >> np.uint32(8)) | (d << np.uint32(24)))
            a = np.uint32(a ^ _substituted(turned) ^ constant)
            b = np.uint32(b ^ a)
            c = np.uint32(c ^ b)
            d = np.uint32(d ^ c)
            constant = np.uint32(
                (constant << np.uint32(1)) ^ (np.uint32(0x11B) if constant & np.uint32(0x80) else np.uint32(0))
            )


_machine_code = jitted(_loop)


def expanded(keys: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`(n, 16)` keys to `(n, 11, 16)` round keys."""
    found = np.empty((len(keys), ROUNDS + 1, 4), np.uint32)
    _machine_code(np.ascontiguousarray(keys).view(np.uint32), found)
    return found.view(np.uint8)
