"""What an ONNX file would do, looked at before any engine sees it, with nothing but the bytes.

Every message may hold the fields named here and no others: what this reader does not know, a device does not run. Fields
that occur twice are all looked at, since protobuf parsers merge or replace them, each in its own way.
Source: onnx/onnx.proto3 (IR versions 8 to 10).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fedmed.errors import PackageRefused
from fedmed.serving.protobuf import Value, fields, message, number, numbers, text

IR_VERSIONS = range(8, 11)
OPSETS = range(17, 22)
"""What ONNX Runtime 1.20 and TensorRT 10 read; newer ones are refused."""
MOST_NODES, MOST_DIMS = 100_000, 8
FLOAT = 1
# Allowed tensor types: TensorProto.DataType -> NumPy. Strings and the types below one byte are not among them.
DTYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 9: "u1", 10: "<f2", 11: "<f8"}
OPERATORS = frozenset({
    "Abs", "Add", "And", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant",
    "ConstantOfShape", "Conv", "ConvTranspose", "DequantizeLinear", "Div", "Elu", "Equal", "Erf", "Exp", "Expand",
    "Flatten", "Floor", "Gather", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "GroupNormalization",
    "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Log",
    "LogSoftmax", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "Not", "PRelu", "Pad", "Pow", "QuantizeLinear",
    "Range", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Resize", "Selu",
    "Shape", "Sigmoid", "Slice", "Softmax", "Softplus", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Tanh",
    "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
"""No loops, no branches, nothing random, no code of others: what a network is made of, and it always ends."""

# Fields of each message that may occur, by number (onnx.proto3).
MODEL = {
    1: "ir_version",
    2: "producer",
    3: "producer",
    4: "domain",
    5: "version",
    6: "doc",
    7: "graph",
    8: "opset",
    14: "props",
}
GRAPH = {1: "node", 2: "name", 5: "initializer", 10: "doc", 11: "input", 12: "output", 13: "value_info", 16: "props"}
NODE = {1: "input", 2: "output", 3: "name", 4: "op_type", 5: "attribute", 6: "doc", 7: "domain", 9: "props"}
ATTRIBUTE = {
    1: "name",
    2: "f",
    3: "i",
    4: "s",
    5: "tensor",
    7: "floats",
    8: "ints",
    9: "strings",
    10: "tensor",
    13: "doc",
    20: "type",
}
TENSOR = {
    1: "dims",
    2: "type",
    4: "floats",
    5: "ints",
    7: "ints",
    8: "name",
    9: "raw",
    10: "doubles",
    11: "ints",
    12: "doc",
    14: "location",
}
OPSET = {1: "domain", 2: "version"}
VALUE = {1: "name", 2: "type", 3: "doc"}


@dataclass(frozen=True)
class Port:
    """An input or output: `shape` without the batch, None for a length that the file leaves open."""

    name: str
    dtype: int
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Graph:
    """What was found."""

    opset: int
    operators: frozenset[str]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    parameters: int
    """Values of all constants together."""


def read_graph(content: bytes, where: str) -> Graph:
    """The facts of an ONNX file. Raises PackageRefused, naming `where`, for anything that a device must not run."""
    try:
        return _model(memoryview(content))
    except PackageRefused as error:
        raise PackageRefused(f"{where}: {error}") from error


def _named(data: memoryview, known: dict[int, str], what: str) -> Iterator[tuple[str, Value]]:
    for place, value in fields(data):
        if place not in known:
            told = " (external data)" if (what, place) == ("a tensor", 13) else ""
            raise PackageRefused(
                f"{what} has the field {place}{told}, which is not allowed; the model has to stand in one file"
            )
        yield known[place], value


def _model(data: memoryview) -> Graph:
    opsets: list[int] = []
    graphs: list[memoryview] = []
    versions: list[int] = []
    for name, value in _named(data, MODEL, "the model"):
        if name == "graph":
            graphs.append(message(value))
        elif name == "opset":
            opsets.append(_opset(message(value)))
        elif name == "ir_version":
            versions.append(number(value))
    if len(graphs) != 1 or len(versions) != 1 or len(opsets) != 1:
        raise PackageRefused("it is no ONNX model: one graph, one version and one set of operators are needed")
    if versions[0] not in IR_VERSIONS:
        raise PackageRefused(f"it is of ONNX version {versions[0]}; allowed are {IR_VERSIONS[0]} to {IR_VERSIONS[-1]}")
    if opsets[0] not in OPSETS:
        raise PackageRefused(
            f"it needs operators of set {opsets[0]}; allowed are {OPSETS[0]} to {OPSETS[-1]}: export it anew"
        )
    return _graph(graphs[0], opsets[0])


def _opset(data: memoryview) -> int:
    version = 0
    for name, value in _named(data, OPSET, "a set of operators"):
        if name == "version":
            version = number(value)
        elif text(value) not in ("", "ai.onnx"):
            raise PackageRefused(f"it needs operators of {text(value)!r}; allowed are those of ONNX itself")
    return version


def _graph(data: memoryview, opset: int) -> Graph:
    operators: list[str] = []
    inputs: list[Port] = []
    outputs: list[Port] = []
    parameters = 0
    constants = set()
    for name, value in _named(data, GRAPH, "the graph"):
        if name == "node":
            operator, held = _node(message(value))
            operators.append(operator)
            parameters += held
        elif name == "initializer":
            constant, size = _tensor(message(value))
            constants.add(constant)
            parameters += size
        elif name in ("input", "output"):
            (inputs if name == "input" else outputs).append(_port(message(value)))
    if len(operators) > MOST_NODES:
        raise PackageRefused(f"it has {len(operators)} nodes; allowed are {MOST_NODES}")
    asked = tuple(port for port in inputs if port.name not in constants)
    return Graph(opset, frozenset(operators), asked, tuple(outputs), parameters)


def _node(data: memoryview) -> tuple[str, int]:
    operator, held = "", 0
    for name, value in _named(data, NODE, "a node"):
        if name == "op_type":
            operator = text(value)
            if operator not in OPERATORS:
                raise PackageRefused(f"operator {operator!r} is not among those that a device runs")
        elif name == "domain" and text(value) not in ("", "ai.onnx"):
            raise PackageRefused(f"an operator of {text(value)!r}; allowed are those of ONNX itself")
        elif name == "attribute":
            held += sum(
                _tensor(message(part))[1]
                for kind, part in _named(message(value), ATTRIBUTE, "an attribute")
                if kind == "tensor"
            )
    if not operator:
        raise PackageRefused("a node names no operator")
    return operator, held


def _tensor(data: memoryview) -> tuple[str, int]:
    """Name and number of values of a constant."""
    dims: list[int] = []
    types: list[int] = []
    parts: list[tuple[str, Value]] = []
    called = ""
    for name, value in _named(data, TENSOR, "a tensor"):
        if name == "dims":
            dims += numbers(value)
        elif name == "type":
            types.append(number(value))
        elif name == "name":
            called = text(value)
        elif name == "location" and value != 0:
            raise PackageRefused(f"the weights of {called!r} lie in another file; the model has to stand in one file")
        elif name in ("raw", "floats", "doubles"):
            parts.append((name, value))
    if len(set(types)) != 1 or types[0] not in DTYPES:
        raise PackageRefused(f"tensor {called!r} is of type {types}; allowed are {sorted(DTYPES)}")
    if len(dims) > MOST_DIMS or min(dims, default=0) < 0:
        raise PackageRefused(f"tensor {called!r} has the shape {dims[: MOST_DIMS + 1]}")
    _refuse_nan(called, DTYPES[types[0]], math.prod(dims), parts)
    return called, math.prod(dims)


def _refuse_nan(called: str, dtype: str, size: int, parts: list[tuple[str, Value]]) -> None:
    kinds = {"raw": dtype, "floats": "<f4", "doubles": "<f8"}
    for name, value in parts:
        held, kind = message(value), np.dtype(kinds[name])
        if name == "raw" and len(held) != size * kind.itemsize:
            raise PackageRefused(f"tensor {called!r} has {len(held)} bytes for {size} values of {kind}")
        if len(held) % kind.itemsize:
            raise PackageRefused(f"tensor {called!r} is cut off")
        if kind.kind == "f" and np.isnan(np.frombuffer(held, kind)).any():
            raise PackageRefused(f"tensor {called!r} holds values that are no numbers (NaN)")


def _port(data: memoryview) -> Port:
    called, dtype = "", 0
    shape: list[int | None] | None = None
    for name, value in _named(data, VALUE, "an input or output"):
        if name == "name":
            called = text(value)
        elif name == "type":
            dtype, shape = _type(message(value))
    if not shape or shape[0] is not None:
        raise PackageRefused(f"{called!r} has the shape {shape}; the first axis has to be an open batch")
    return Port(called, dtype, tuple(shape[1:]))


def _type(data: memoryview) -> tuple[int, list[int | None]]:
    """Element type and dimensions of TypeProto.Tensor."""
    dtype, dims = 0, []
    for _, tensor in _named(data, {1: "tensor"}, "a type"):
        for name, value in _named(message(tensor), {1: "element", 2: "shape"}, "a type"):
            if name == "element":
                dtype = number(value)
                continue
            for _, axis in _named(message(value), {1: "axis"}, "a shape"):
                held = dict(_named(message(axis), {1: "length", 2: "open", 3: "denotation"}, "an axis"))
                dims.append(number(held["length"]) if "length" in held else None)
    return dtype, dims
