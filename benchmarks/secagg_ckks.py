"""A client's upload under CKKS, as NVFLARE encrypts updates: bytes, seconds, and how near the decrypted sum comes.

TenSEAL is a peer that the extra `dev` brings; nothing of fedmed needs it. Parameters are those of NVFLARE 2.9's
HEBuilder: 8192 coefficients, moduli of 60, 40 and 40 bits, scale 2^40, symmetric.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from form import Row, make_row

DEGREE, MODULI, SCALE = 8192, [60, 40, 40], 2.0**40
SLOTS = DEGREE // 2  # values that one ciphertext holds
SIZE = 250 * SLOTS  # 1.02M: full ciphertexts alone, so that bytes a parameter hold for any size
TURNS = 3


def ckks(ours: float) -> list[Row]:
    """Rows beside our upload of `ours` bytes a parameter, or one that says why not."""
    if importlib.util.find_spec("tenseal") is None:
        return [
            {
                "name": "upload: CKKS",
                "value": "-",
                "unit": "not measured: tenseal is not installed",
                "bar": "",
                "holds": None,
            }
        ]
    import tenseal

    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=MODULI, encryption_type=tenseal.ENCRYPTION_TYPE.SYMMETRIC
    )
    context.global_scale = SCALE
    x = [np.random.default_rng(seed).standard_normal(SIZE) * 0.01 for seed in (1, 2)]
    taken = []
    for _ in range(TURNS):
        began = time.perf_counter()
        sent = encrypted(tenseal, context, x[0])
        taken.append(time.perf_counter() - began)
    each = sum(map(len, sent)) / SIZE
    total = added(tenseal, context, sent, encrypted(tenseal, context, x[1]))
    error = float(np.abs(total - x[0] - x[1]).max())
    client = f"client: CKKS (TenSEAL {tenseal.__version__}), encrypt and serialise, 10M by {SIZE / 1e6:.2f}M"
    return [
        make_row(f"upload: CKKS (TenSEAL {tenseal.__version__}), {SIZE / 1e6:.2f}M", each, "bytes a parameter"),
        make_row("upload: times smaller than CKKS", each / ours, "x"),
        make_row(f"{client}: min", min(taken) / SIZE * 1e10, "ms"),
        make_row(f"{client}: median", median(taken) / SIZE * 1e10, "ms"),
        make_row("CKKS: greatest error of a sum of two, decrypted", error, "of weights ~ .01", "< 1e-6", error < 1e-6),
    ]


def encrypted(tenseal: Any, context: Any, x: np.ndarray) -> list[bytes]:
    """What a client sends."""
    return [tenseal.ckks_vector(context, part).serialize() for part in x.reshape(-1, SLOTS)]


def added(tenseal: Any, context: Any, first: Sequence[bytes], second: Sequence[bytes]) -> np.ndarray:
    """The sum that the center makes of two uploads, as the clients decrypt it."""
    sums = []
    for pair in zip(first, second, strict=True):
        one, other = (tenseal.ckks_vector_from(context, each) for each in pair)
        sums.append((one + other).decrypt())
    return np.concatenate(sums)
