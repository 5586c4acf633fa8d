"""How loops become machine code: numba, with a cache on disk where one can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numba.extending
from llvmlite import ir
from numba.core import cgutils

F = TypeVar("F", bound=Callable[..., Any])

# A product and a sum may become one operation; nothing else that changes results is allowed, and nan stays nan.
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def jitted(function: F) -> F:
    """`function` compiled on its first call with each set of types, without the GIL.

    The machine code is kept beside the package, or in the user's cache folder where that is read-only, or in the folder
    NUMBA_CACHE_DIR names; where none of them can be written, every process compiles anew.
    """
    try:
        made: F = numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # numba found no folder that can be written
        made = numba.njit(**OPTIONS)(function)
    return made


def intrinsic(function: Callable[..., Any]) -> Any:
    """numba's decorator; what it makes is called from compiled loops only."""
    return numba.extending.intrinsic(function)


@intrinsic
def rounded(typing: Any, value: Any, like: Any) -> Any:
    """The float32 `value` as what an array of `like` holds: float32, or for uint16 the bits of the nearest float16."""
    half = like == numba.types.uint16

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not half:
            return arguments[0]
        return builder.bitcast(builder.fptrunc(arguments[0], ir.HalfType()), ir.IntType(16))

    return (numba.types.uint16 if half else numba.types.float32)(numba.types.float32, like), generate


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of `array[index]`, which will be read soon: hardware does not foresee jumps between rows."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, word = signature.args[0], ir.IntType(32)
        struct = context.make_array(kind)(context, builder, arguments[0])
        item = cgutils.get_item_pointer(context, builder, kind, struct, [arguments[1]], wraparound=False)
        place = builder.bitcast(item, ir.IntType(8).as_pointer())
        shape = ir.FunctionType(ir.VoidType(), [place.type, word, word, word])
        ask = cgutils.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0")
        builder.call(ask, [place, *(ir.Constant(word, number) for number in (0, 3, 1))])  # a read, to be kept, of data
        return context.get_dummy_value()

    return numba.types.void(array, numba.types.intp), generate
