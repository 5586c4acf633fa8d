"""A session of ONNX Runtime, for whatever it computes with."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedmed.errors import MissingPart
from fedmed.serving.engines.engine import Floats, checked, failure

FATAL_ONLY = 4  # a device's log gets our own words, ONNX Runtime's are raised


@dataclass(frozen=True)
class OrtEngine:
    """An open session."""

    name: str
    precision: str
    session: Any
    input: str
    inputs: tuple[int, ...]

    def run(self, x: Floats) -> Floats:
        """Logits; as `Engine.run`."""
        given = checked(x, self.inputs)
        try:
            logits: Floats = self.session.run(None, {self.input: given})[0]
        except errors() as error:
            raise failure(f"{self.name} {self.precision} ended without an answer", error) from error
        return logits


def why_not(provider: str) -> str | None:
    """Why ONNX Runtime cannot compute with `provider` here, or None."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed: pip install 'fedmed[edge]'"
    import onnxruntime

    offered = onnxruntime.get_available_providers()
    return None if provider in offered else f"this onnxruntime has no {provider}, only {', '.join(offered)}"


def version() -> str:
    """Of ONNX Runtime. Raises MissingPart."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPart("onnxruntime is not installed: pip install 'fedmed[edge]'") from error
    return str(onnxruntime.__version__)


def errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: its own kinds have no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))
    return (*own, RuntimeError, ValueError, MemoryError)


def opened(name: str, precision: str, model: bytes, providers: Sequence[Any], threads: int) -> OrtEngine:
    """A session for an ONNX model that was checked. Raises MissingPart, EngineFailed; `threads` 0 takes all cores."""
    version()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_mem_pattern = False  # one image at a time gains nothing by a plan that holds 5 to 10 MB
    options.log_severity_level = FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a device has other work beside this
    try:
        session = onnxruntime.InferenceSession(model, options, providers=list(providers))
    except errors() as error:
        raise failure(f"{name} {precision} cannot open the model", error) from error
    port = session.get_inputs()[0]
    return OrtEngine(name, precision, session, port.name, tuple(port.shape[1:]))
