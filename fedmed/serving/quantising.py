"""INT8 models beside the fp32 one, calibrated on the clinic's own cases, of which nothing is kept but the ranges.

U8S8 for processors: activations unsigned, weights signed and per channel, which VNNI multiplies at once (three times fp32
where measured; S8S8 gains nothing there). S8S8 for TensorRT: both symmetric, biases left in floats, as its parser wants.
Convolutions and products of matrices are quantised: GroupNorm stays in floats, where its small variances live. On
processors max-pooling is int8 as well, behind a convolution that changes nothing: ONNX Runtime pools fast in the memory
order of its int8 convolutions alone, and a GroupNorm in front leaves that order (measured, ResNet-18 at 224, one thread: 10
of 25 ms went there; with it 0.1, and the logits are the same to the bit).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from fedmed.errors import ConfigError, DataError, EngineFailed, MissingPart
from fedmed.serving.engines.engine import Floats, checked
from fedmed.serving.engines.ort_cpu import open_model
from fedmed.serving.exporting import without_notes
from fedmed.serving.packages import FP32, GOLDEN, INPUTS, S8S8, U8S8, Package, write_package
from fedmed.serving.quiet import quiet
from fedmed.serving.verdict import deviation

OPERATORS = ("Conv", "Gemm", "MatMul")
POOLED = (*OPERATORS, "MaxPool")
RANGES = {"minmax": {}, "percentile": {"percentile": 99.99}}
"""How far activations reach: all of them, or all but the largest ten-thousandth."""
AT_ONCE = 8  # cases whose activations are in memory together
SAME_MODEL = 0.5
"""What is further from fp32 on golden inputs is broken; whether int8 is good enough, a check set says (`ladder`)."""


@dataclass
class Reader:
    """Prepared cases as ONNX Runtime asks for them; none is kept."""

    cases: Iterator[Floats]
    shape: tuple[int, ...]

    def get_next(self) -> dict[str, Floats] | None:
        """The next case `(1, *inputs)`, or None after the last one."""
        case = next(self.cases, None)
        return None if case is None else {INPUTS: checked(case[None], self.shape)}


def quantise(package: Package, cases: Iterable[Floats], ranges: str = "minmax") -> Package:
    """The package with both int8 models, and with what they make of the golden inputs.

    `cases` are prepared inputs of this clinic's training data, each `(*inputs)` float32, gone through once.
    Raises ConfigError, DataError for cases of another shape or none, MissingPart, and EngineFailed where an int8 model is
    too far from the fp32 one to be the same model.
    """
    made = int8_models(package.models[FP32], cases, package.card.inputs, ranges)
    golden = package.golden
    logits = {name: open_model(model, "int8", threads=1).run(golden.inputs) for name, model in made.items()}
    for name, values in logits.items():
        if not (apart := deviation(values, golden.logits)) <= SAME_MODEL:
            raise EngineFailed(
                f"{name}: its logits differ from the fp32 ones by {apart:.2f} of their size, allowed {SAME_MODEL:g}: give "
                f"more cases, or other ranges ({', '.join(RANGES)}), or release the model without int8"
            )
    told = replace(golden, quantised=logits).pack()
    return write_package(package.folder, package.card, {**made, GOLDEN: told})


def int8_models(model: bytes, cases: Iterable[Floats], shape: tuple[int, ...], ranges: str = "minmax") -> dict[str, bytes]:
    """U8S8 and S8S8 of an fp32 model, by the names that they have in a package; raises as `quantise`."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        plain, pooling = Path(folder) / "plain.onnx", Path(folder) / "pooling.onnx"
        plain.write_bytes(model)
        pooling.write_bytes(with_order_before_pooling(model))
        reach = activation_ranges(pooling, cases, shape, ranges)
        return {U8S8: unsigned(pooling, reach), S8S8: symmetric(plain, reach)}


def with_order_before_pooling(model: bytes) -> bytes:
    """The same function, with a 1 x 1 convolution by one, channel by channel, before each max-pooling of images."""
    import onnx

    held = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    shapes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in held.graph.value_info}
    nodes = []
    for node in held.graph.node:
        shape = shapes.get(node.input[0], []) if node.op_type == "MaxPool" else []
        if len(shape) == 4 and shape[1] > 0:
            one, same = f"{node.name}_one", f"{node.name}_same"
            held.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((shape[1], 1, 1, 1), np.float32), one))
            nodes.append(
                onnx.helper.make_node("Conv", [node.input[0], one], [same], name=f"{node.name}_order", group=shape[1])
            )
            node.input[0] = same
        nodes.append(node)
    held.graph.ClearField("node")
    held.graph.node.extend(nodes)
    return bytes(held.SerializeToString(deterministic=True))


def activation_ranges(path: Path, cases: Iterable[Floats], shape: tuple[int, ...], ranges: str) -> Any:
    """From where to where the activations of the model at `path` reach, over all cases."""
    if ranges not in RANGES:
        raise ConfigError(f"got the ranges {ranges!r}, allowed: {', '.join(RANGES)}")
    method, calibrate = _calibration(ranges)
    calibrator = calibrate(
        path.as_posix(),
        POOLED,
        augmented_model_path=path.with_name("augmented.onnx").as_posix(),
        calibrate_method=method,
        extra_options=dict(RANGES[ranges]),
    )
    left, taken = iter(cases), 0
    while (first := next(left, None)) is not None:
        calibrator.collect_data(Reader(chain([first], islice(left, AT_ONCE - 1)), shape))
        taken += 1
    if not taken:
        raise DataError("there are no cases to calibrate with; give some of the training data")
    return calibrator.compute_data()


def unsigned(path: Path, reach: Any) -> bytes:
    """U8S8, for processors."""
    return _quantised(path, reach, "QUInt8", POOLED, {"WeightSymmetric": True, "ForceQuantizeNoInputCheck": True})


def symmetric(path: Path, reach: Any) -> bytes:
    """S8S8, for TensorRT (its guide, "Explicit quantization": symmetric int8, zero point 0, biases as they are)."""
    options = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    return _quantised(path, reach, "QInt8", OPERATORS, options)


def _calibration(ranges: str) -> tuple[Any, Any]:
    try:
        from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator
    except ImportError as error:
        raise MissingPart(f"quantising needs {error.name}: pip install 'fedmed[export]'") from error
    return {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile}[ranges], create_calibrator


def _quantised(path: Path, reach: Any, activations: str, operators: Sequence[str], options: dict[str, Any]) -> bytes:
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    model = onnx.load(path)
    kinds = QuantType.QInt8, getattr(QuantType, activations)
    # Logits keep their range: what lies beyond that of the calibration is not cut off.
    options = {**options, "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]}
    quantizer = QDQQuantizer(model, True, False, *kinds, reach, [], [], operators, options)
    quantizer.quantize_model()
    return without_notes(quantizer.model.model)
