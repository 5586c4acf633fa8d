"""From a trained network to a package, on the clinic's or the center's machine: PyTorch to ONNX, checked against PyTorch.

A package goes to devices and may be shown to anybody, so nothing of a patient is in it: the golden inputs are drawn, and
what the exporter notes of the source code's places is taken out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fedmed.clock import generator
from fedmed.errors import ConfigError, EngineFailed, MissingPart
from fedmed.learning import features, weights
from fedmed.learning import order as orders
from fedmed.learning.order import ModelSpec
from fedmed.preprocess.pipeline import AS_STORED, Pipeline
from fedmed.serving.card import Card, Preparation
from fedmed.serving.engines.ort_cpu import open_model
from fedmed.serving.graph import read_graph
from fedmed.serving.packages import FP32, GOLDEN, INPUTS, LOGITS, Floats, Golden, Package, packed, write_package
from fedmed.serving.quiet import quiet
from fedmed.serving.verdict import deviation
from fedmed.wire.tensors import Tensors, sha256

OPSET = 18
"""Read by ONNX Runtime since 1.14 and by the parser of TensorRT 10; PyTorch's exporter writes it without a conversion."""
GOLDEN_CASES = 8
CLOSE = 1e-4
"""How far ONNX Runtime may be from PyTorch, as a share of the logits' size; 1e-6 is usual."""
TRACED = 2  # cases that the exporter sees; with one it would take the batch for a constant


@dataclass(frozen=True)
class Trained:
    """A trained model, and what a device has to know to feed it."""

    name: str
    version: str
    spec: ModelSpec
    tensors: Tensors
    classes: tuple[str, ...]
    preparation: Preparation
    pipeline: Pipeline = AS_STORED


def export(trained: Trained, folder: Path, seed: int = 0) -> Package:
    """Write the package, fp32 only; `fedmed.serving.quantising` adds to it.

    Raises ConfigError where weights, classes and model do not fit, MissingPart without the exporter's packages, EngineFailed
    where ONNX Runtime does not come to PyTorch's logits, PackageRefused where a device would refuse what was made.
    """
    network = to_module(trained)
    inputs = golden_inputs(trained, seed)
    logits = outputs_of(network, inputs)
    model = to_onnx(network, trained.spec.inputs)
    refuse_unlike(model, inputs, logits)
    golden = Golden(inputs, logits, {})
    return write_package(folder, card_of(trained, logits, model), {FP32: model, GOLDEN: golden.pack()})


def card_preparation(told: orders.Preparation) -> Preparation:
    """The preparation that a device can do by itself. Raises ConfigError where a site's own scale is not in it."""
    if told.normalise != "none" and (told.mean is None or told.std is None):
        raise ConfigError(
            f"data.normalise: {told.normalise}, and the scale is not with the model; a device needs the one of the "
            "training: give a model file that has preparation.mean and preparation.std beside its weights"
        )
    return Preparation(told.features, told.mean or (), told.std or (), told.clip)


def to_module(trained: Trained) -> nn.Module:
    """The network with its weights, in the mode that infers."""
    if len(trained.classes) != trained.spec.classes:
        raise ConfigError(f"{len(trained.classes)} names of classes for a model of {trained.spec.classes}; give one each")
    network = weights.built(trained.spec)
    weights.check_fit(network, trained.tensors)
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in trained.tensors.items()})
    return network.eval().requires_grad_(False)


def golden_inputs(trained: Trained, seed: int) -> Floats:
    """Prepared inputs `(N, *inputs)` of drawn cases: soft shapes for images, normal values for tables."""
    shape, said = trained.spec.inputs, trained.preparation
    random = generator(seed, "golden", trained.name)
    if len(shape) == 1:
        return random.standard_normal((GOLDEN_CASES, *shape), np.float32)
    shapes = np.stack([_soft(shape[1:], random) for _ in range(GOLDEN_CASES * shape[0])]).reshape(GOLDEN_CASES, *shape)
    drawn = features.TABLE[said.features](shapes)
    if said.mean:
        drawn = (drawn - np.reshape(said.mean, shape)) / np.reshape(said.std, shape)
    return np.ascontiguousarray(drawn if said.clip is None else np.clip(drawn, -said.clip, said.clip), np.float32)


def _soft(space: Sequence[int], random: np.random.Generator) -> Floats:
    """An image with values in 0 to 1: a few waves of low frequency, and a little noise."""
    axes = np.meshgrid(*(np.linspace(0, math.pi, length) for length in space), indexing="ij")
    waves = np.zeros(tuple(space))
    for _ in range(6):
        wave = np.full(tuple(space), random.uniform(0.2, 1))
        for axis in axes:
            wave = wave * np.cos(random.integers(0, 5) * axis + random.uniform(0, 2 * math.pi))
        waves += wave
    waves += random.normal(0, 0.05, tuple(space))
    return np.asarray((waves - waves.min()) / max(float(np.ptp(waves)), 1e-6), np.float32)


def outputs_of(network: nn.Module, inputs: Floats) -> Floats:
    """PyTorch's logits, on the CPU."""
    with torch.inference_mode():
        made: Floats = network(torch.from_numpy(inputs)).numpy()
    return made


def to_onnx(network: nn.Module, inputs: Sequence[int]) -> bytes:
    """The network as ONNX, its batch open, all in one file. Raises MissingPart without onnx and onnxscript."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingPart(f"exporting needs {error.name}: pip install 'fedmed[export]'") from error
    with quiet():
        program = torch.onnx.export(
            network,
            (torch.zeros(TRACED, *inputs),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUTS],
            output_names=[LOGITS],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise EngineFailed("PyTorch's exporter made nothing of the network")
    return without_notes(program.model_proto)


def without_notes(model: Any) -> bytes:
    """An ONNX model without the exporter's notes, which name files of this machine, and without unused sets of operators."""
    for part in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        part.doc_string = ""
        part.ClearField("metadata_props")
    model.graph.ClearField("value_info")
    model.ClearField("functions")
    used = {node.domain for node in model.graph.node}
    kept = [(each.domain, each.version) for each in model.opset_import if each.domain in used]
    model.ClearField("opset_import")
    for domain, version in kept:
        model.opset_import.add(domain=domain, version=version)
    return bytes(model.SerializeToString(deterministic=True))


def refuse_unlike(model: bytes, inputs: Floats, logits: Floats) -> None:
    """Raise EngineFailed where ONNX Runtime does not come to PyTorch's logits, for a batch and for one case alone."""
    engine = open_model(model, "fp32", threads=1)
    for count in (len(inputs), 1):
        apart = deviation(engine.run(inputs[:count]), logits[:count])
        if not apart <= CLOSE:
            raise EngineFailed(
                f"ONNX Runtime's logits are {apart:.2g} away from PyTorch's; allowed is {CLOSE:g}; do not release it"
            )


def card_of(trained: Trained, logits: Floats, model: bytes) -> Card:
    """The card, before its files are listed."""
    return Card(
        name=trained.name,
        version=trained.version,
        kind=trained.spec.kind,
        inputs=trained.spec.inputs,
        outputs=logits.shape[1:],
        classes=trained.classes,
        pipeline=trained.pipeline,
        preparation=trained.preparation,
        opset=read_graph(model, FP32).opset,
        weights_sha256=sha256(packed(trained.tensors)),
    )
