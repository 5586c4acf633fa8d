"""INT8 models beside the fp32 one, calibrated on the clinic's own cases, of which nothing is kept but the ranges.

U8S8 for processors: activations unsigned, weights signed and per channel, which VNNI multiplies at once (three times fp32
where measured; S8S8 gains nothing there). S8S8 for TensorRT: both symmetric, biases left in floats, as its parser wants.
Convolutions and products of matrices are quantised: what a GroupNorm divides by is computed in floats, where its small
variances live. On processors max-pooling, sums of branches and gamma and beta are int8 as well, in a network that is first
written as their kernels like it (`processors`, `pieces`; docs/adr/0059).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from fedmed.errors import ConfigError, DataError, EngineFailed, MissingPart
from fedmed.serving.engines.engine import Floats, checked
from fedmed.serving.engines.ort_cpu import open_model
from fedmed.serving.exporting import without_notes
from fedmed.serving.packages import FP32, GOLDEN, INPUTS, S8S8, U8S8, Package, write_package
from fedmed.serving.pieces import in_pieces
from fedmed.serving.processors import for_processors
from fedmed.serving.quiet import quiet
from fedmed.serving.verdict import deviation

OPERATORS = ("Conv", "Gemm", "MatMul")
ON_PROCESSORS = (*OPERATORS, "MaxPool", "Add", "Relu")
WRITTEN = ("Pad", "SpaceToDepth")  # what `processors` puts behind the input, whose own range TensorRT's model needs
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
        plain, written = Path(folder) / "plain.onnx", Path(folder) / "processors.onnx"
        plain.write_bytes(model)
        written.write_bytes(for_processors(model))
        reach = activation_ranges(written, cases, shape, ranges)
        return {U8S8: unsigned(written, reach), S8S8: symmetric(plain, reach)}


def activation_ranges(path: Path, cases: Iterable[Floats], shape: tuple[int, ...], ranges: str) -> Any:
    """From where to where the activations of the model at `path` reach, over all cases."""
    if ranges not in RANGES:
        raise ConfigError(f"got the ranges {ranges!r}, allowed: {', '.join(RANGES)}")
    method, calibrate = _calibration(ranges)
    calibrator = calibrate(
        path.as_posix(),
        (*ON_PROCESSORS, *WRITTEN),
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
    return in_pieces(_quantised(path, reach, "QUInt8", ON_PROCESSORS, {"WeightSymmetric": True}))


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
    quantizer = QDQQuantizer(model, True, False, *kinds, reach, [], _left_in_floats(model.graph), operators, options)
    quantizer.quantize_model()
    return without_notes(quantizer.model.model)


def _left_in_floats(graph: Any) -> list[str]:
    """Sums that are none of two branches: what a layer adds to its own output, and logits."""
    constants = {one.name for one in graph.initializer} | {one.name for one in graph.output}
    return [node.name for node in graph.node if node.op_type == "Add" and constants & {*node.input, *node.output}]
