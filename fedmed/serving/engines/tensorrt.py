"""TensorRT 10, its plan built on the device from the ONNX file of a checked package: fp16, int8 (S8S8), and fp32.

Plans fit one version of TensorRT and one architecture, so what is released is ONNX and what is cached is local
(`plans.py`). GroupNorm arrives as InstanceNormalization, which TensorRT computes in fp32 whatever the rest is in
(INormalizationLayer, `compute_precision`). Written from the API's description; unmeasured: no card was at hand.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedmed.errors import DataError, EngineFailed
from fedmed.serving.engines import cudart
from fedmed.serving.engines.cudart import Buffer
from fedmed.serving.engines.engine import PLAIN, Floats, Options, checked
from fedmed.serving.engines.plans import PlanKey, Plans
from fedmed.serving.packages import FP32, S8S8, Package

NAME, MAJOR = "tensorrt", 10
FILES = {"fp32": FP32, "fp16": FP32, "int8": S8S8}
"""The file of a package that each precision is built from."""
FLAGS = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}
"""Of BuilderFlag; what Q/DQ pairs do not make int8 is fp16 there."""
WORKSPACE_BYTES = 1 << 30


def why_not() -> str | None:
    """Why it cannot run here, or None."""
    if importlib.util.find_spec("tensorrt") is None:
        return "tensorrt is not installed: it comes with JetPack, or from NVIDIA for this card's CUDA"
    if not version().startswith(f"{MAJOR}."):
        return f"tensorrt is of version {version()}; {MAJOR} is needed"
    return cudart.why_not()


def is_available() -> bool:
    """Whether it can run here."""
    return why_not() is None


def version() -> str:
    """Of TensorRT."""
    import tensorrt

    return str(tensorrt.__version__)


@dataclass(frozen=True)
class TrtEngine:
    """An open plan, its memory on the card taken once; not for several threads at a time."""

    precision: str
    context: Any
    stream: int
    ports: tuple[str, str]
    """Names of the input and the output."""
    buffers: tuple[Buffer, Buffer]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    batch: int
    name: str = NAME

    def run(self, x: Floats) -> Floats:
        """Logits; as `Engine.run`. More cases than the plan takes are given to it in parts."""
        given = checked(x, self.inputs)
        parts = [self._run(given[at : at + self.batch]) for at in range(0, len(given), self.batch)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, x: Floats) -> Floats:
        logits = np.empty((len(x), *self.outputs), np.float32)
        source, target = self.buffers
        source.fill(x.ctypes.data, x.nbytes)
        if not self.context.set_input_shape(self.ports[0], x.shape):
            raise DataError(f"the plan does not take inputs of shape {list(x.shape)}")
        for port, buffer in zip(self.ports, self.buffers, strict=True):
            self.context.set_tensor_address(port, buffer.address)
        if not self.context.execute_async_v3(self.stream):
            raise EngineFailed(f"{NAME} {self.precision} ended without an answer")
        cudart.wait(self.stream)
        target.read(logits.ctypes.data, logits.nbytes)
        return logits


def open_package(package: Package, precision: str, options: Options = PLAIN) -> TrtEngine:
    """The package's model from its plan, which is built where `options.plans` has none. Raises EngineFailed, OSError."""
    import tensorrt

    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    batch = options.batch
    plan = _plan(package, precision, Plans(options.plans) if options.plans else None, batch, logger)
    opened = tensorrt.Runtime(logger).deserialize_cuda_engine(plan)
    if opened is None:
        raise EngineFailed(f"{NAME} {precision} cannot open its plan; remove the cached one and try again")
    card, values = package.card, [int(np.prod(shape)) for shape in (package.card.inputs, package.card.outputs)]
    buffers = Buffer(4 * batch * values[0]), Buffer(4 * batch * values[1])
    ports = opened.get_tensor_name(0), opened.get_tensor_name(1)
    context = opened.create_execution_context()
    return TrtEngine(precision, context, cudart.new_stream(), ports, buffers, card.inputs, card.outputs, batch)


def _plan(package: Package, precision: str, plans: Plans | None, batch: int, logger: Any) -> bytes:
    name = FILES[precision]
    key = PlanKey(package.card.files[name].sha256, version(), cudart.architecture(), precision, batch)
    if plans is not None and (found := plans.get(key)) is not None:
        return found
    made = build(package.models[name], precision, package.card.inputs, batch, logger)
    if plans is not None:
        plans.put(key, made)
    return made


def build(model: bytes, precision: str, inputs: tuple[int, ...], batch: int, logger: Any) -> bytes:
    """A plan for batches of 1 to `batch`, the fastest for one case. Raises EngineFailed."""
    import tensorrt

    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(model):
        said = "; ".join(str(parser.get_error(number)) for number in range(min(3, parser.num_errors)))
        raise EngineFailed(f"{NAME} cannot read the model: {said}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    for flag in FLAGS[precision]:
        config.set_flag(getattr(tensorrt.BuilderFlag, flag))
    profile = builder.create_optimization_profile()
    profile.set_shape(network.get_input(0).name, (1, *inputs), (1, *inputs), (batch, *inputs))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineFailed(f"{NAME} cannot build a plan in {precision}")
    return bytes(plan)
