"""ONNX Runtime on the processor: fp32, and int8 with unsigned activations, which AVX-VNNI and its like multiply at once."""

from __future__ import annotations

from fedmed.serving.engines import ort
from fedmed.serving.engines.engine import PLAIN, Options
from fedmed.serving.engines.ort import OrtEngine
from fedmed.serving.packages import FP32, U8S8, Package

NAME, PROVIDER = "cpu", "CPUExecutionProvider"
FILES = {"fp32": FP32, "int8": U8S8}
"""The file of a package that each precision is opened from."""


def why_not() -> str | None:
    """Why it cannot run here, or None."""
    return ort.why_not(PROVIDER)


def is_available() -> bool:
    """Whether it can run here."""
    return why_not() is None


def open_package(package: Package, precision: str, options: Options = PLAIN) -> OrtEngine:
    """The package's model. Raises MissingPart, EngineFailed."""
    return open_model(package.models[FILES[precision]], precision, options.threads)


def open_model(model: bytes, precision: str, threads: int = 0) -> OrtEngine:
    """An ONNX model."""
    return ort.opened(NAME, precision, model, [PROVIDER], threads)
