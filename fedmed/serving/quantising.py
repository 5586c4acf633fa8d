"""INT8 models beside the fp32 one, calibrated on the clinic's own cases, of which nothing is kept but the ranges.

U8S8 for processors: activations unsigned, weights signed and per channel, which VNNI multiplies at once (three times fp32
where measured; S8S8 gains nothing there). S8S8 for TensorRT: both symmetric, biases left in floats, as its parser wants.
Only convolutions and products of matrices are quantised: GroupNorm stays in floats, where its small variances live.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from fedmed.errors import ConfigError, DataError, EngineFailed, MissingPart
from fedmed.serving.card import MOST_TOLERANCES, TOLERANCES
from fedmed.serving.engines.engine import Floats, checked
from fedmed.serving.engines.ort_cpu import open_model
from fedmed.serving.exporting import without_notes
from fedmed.serving.packages import FP32, GOLDEN, INPUTS, S8S8, U8S8, Package, write_package
from fedmed.serving.verdict import deviation

OPERATORS = ("Conv", "Gemm", "MatMul")
RANGES = ("minmax", "percentile")
PERCENTILE = 99.99
MARGIN = 3.0
"""The card allows int8 to be so much further from fp32 than here: processors round and saturate each in their own way."""


@dataclass
class Cases:
    """Prepared inputs, one after the other, as ONNX Runtime asks for them; none is kept."""

    inputs: Iterator[Floats]
    shape: tuple[int, ...]
    taken: int = 0

    def get_next(self) -> dict[str, Floats] | None:
        """The next case `(1, *inputs)`, or None after the last one."""
        case = next(self.inputs, None)
        if case is None:
            return None
        self.taken += 1
        return {INPUTS: checked(case[None], self.shape)}


def quantise(package: Package, cases: Iterable[Floats], ranges: str = "minmax") -> Package:
    """The package with both int8 models, and how far they may be from fp32 on its card.

    `cases` are prepared inputs of this clinic's training data, each `(*inputs)` float32, gone through once. `percentile`
    leaves out the largest of a ten-thousandth of the activations, and holds those of all cases in memory meanwhile.
    Raises ConfigError, DataError for cases of another shape or none, MissingPart, and EngineFailed where an int8 model is
    too far from the fp32 one to be the same model.
    """
    if ranges not in RANGES:
        raise ConfigError(f"got the ranges {ranges!r}, allowed: {', '.join(RANGES)}")
    held = list(cases) if ranges == "percentile" else None
    made, apart = {}, 0.0
    for name in (U8S8, S8S8):
        ...
    return package
