"""ONNX Runtime on a CUDA card: fp32. Unmeasured: no card was at hand when this was written."""

from __future__ import annotations

from fedmed.serving.engines import ort
from fedmed.serving.engines.engine import PLAIN, Options
from fedmed.serving.engines.ort import OrtEngine
from fedmed.serving.packages import FP32, Package

NAME, PROVIDER = "cuda", "CUDAExecutionProvider"
FILES = {"fp32": FP32}
"""The file of a package that each precision is opened from; TensorRT is what runs fp16 and int8 on a card."""
EXACT = {"use_tf32": "0"}  # TF32 keeps ten bits of a factor: it would not be the fp32 that the others are judged by


def why_not() -> str | None:
    """Why it cannot run here, or None."""
    return ort.why_not(PROVIDER)


def is_available() -> bool:
    """Whether it can run here."""
    return why_not() is None


def open_package(package: Package, precision: str, options: Options = PLAIN) -> OrtEngine:
    """The package's model. Raises MissingPart, EngineFailed."""
    return ort.opened(NAME, precision, package.models[FILES[precision]], [(PROVIDER, EXACT)], options.threads)
