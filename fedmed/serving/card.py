"""What a package says of itself: which model, for which inputs, prepared how, in which files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fedmed.errors import PackageRefused
from fedmed.preprocess import pipeline
from fedmed.preprocess.pipeline import Pipeline
from fedmed.wire.canonical import canonical, digest

FORMAT = 1
CARD = "card.json"
MAX_BYTES, MAX_TEXT, MOST_CLASSES, MOST_VALUES = 1 << 20, 200, 10_000, 1 << 28
KINDS = ("classification", "segmentation")
FEATURES = ("plain", "image", "standardised-image", "invariants")
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "int8": 0.1}
"""By how much the logits of the golden inputs may differ, as a share of their size (L2), where a card does not say less."""
MOST_TOLERANCES = {"fp32": 1e-2, "fp16": 5e-2, "int8": 0.2}
"""What a card may allow; a model that is further off is another model."""
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Preparation:
    """How a raw case becomes an input: features, then (x - mean) / std by the scale that was trained with, then clipping."""

    features: str = "plain"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    clip: float | None = None

    def faults(self, values: int) -> list[str]:
        """What is wrong with it for inputs of so many values."""
        found = []
        if self.features not in FEATURES:
            found.append(f"preparation.features {self.features!r}; allowed: {', '.join(FEATURES)}")
        if len(self.mean) != len(self.std) or len(self.mean) not in (0, values):
            found.append(f"preparation: {len(self.mean)} means and {len(self.std)} deviations for inputs of {values} values")
        if not all(map(math.isfinite, self.mean)) or not all(0 < each < math.inf for each in self.std):
            found.append("preparation: means have to be finite, deviations above 0")
        if self.clip is not None and not 0 < self.clip < math.inf:
            found.append(f"preparation.clip {self.clip}; allowed: above 0")
        return found


@dataclass(frozen=True)
class File:
    """One file of a package."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Card:
    """The card; `digest` is the package's own, over all that stands here and so over every file."""

    name: str
    version: str
    kind: str
    inputs: tuple[int, ...]
    """Shape of an input, without the batch: `(features,)` or `(C, [D,] H, W)`."""
    outputs: tuple[int, ...]
    """Shape of its logits: `(K,)` or `(K, [D,] H, W)`; two classes are one logit."""
    classes: tuple[str, ...]
    pipeline: Pipeline
    preparation: Preparation
    opset: int
    weights_sha256: str
    """Of the tensors that were exported (`wire.tensors`): which committed model this is."""
    tolerances: Mapping[str, float] = field(default_factory=lambda: dict(TOLERANCES))
    files: Mapping[str, File] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of everything else on the card, as hex."""
        return digest(self._body())

    def write(self) -> bytes:
        """The card as canonical JSON."""
        return canonical({**self._body(), "digest": self.digest})

    def with_file(self, name: str, file: File) -> Card:
        """The card with one more file, or another one under its name."""
        return replace(self, files={**self.files, name: file})

    def _body(self) -> dict[str, Any]:
        plain = {key: getattr(self, key) for key in (*TEXTS, "inputs", "outputs", "classes", "opset", "weights_sha256")}
        files = {name: asdict(file) for name, file in self.files.items()}
        made = {"pipeline": self.pipeline.record(), "preparation": asdict(self.preparation), "files": files}
        return {"format": FORMAT, **plain, **made, "tolerances": dict(self.tolerances)}


TEXTS = ("name", "version", "kind")
KEYS = {
    "format", "digest", *TEXTS, "inputs", "outputs", "classes", "opset", "weights_sha256",
    "pipeline", "preparation", "files", "tolerances",
}  # fmt: skip


def read_card(content: bytes) -> Card:
    """The card in a file. Raises PackageRefused with every fault, and where its digest is not that of what it says."""
    told = _parsed(content)
    try:
        card = Card(
            **{key: told[key] for key in TEXTS},
            inputs=tuple(told["inputs"]),
            outputs=tuple(told["outputs"]),
            classes=tuple(told["classes"]),
            pipeline=pipeline.parse(told["pipeline"]),
            preparation=_preparation(told["preparation"]),
            opset=told["opset"],
            weights_sha256=told["weights_sha256"],
            tolerances=dict(told["tolerances"]),
            files={str(name): File(**file) for name, file in told["files"].items()},
        )
        faults = _faults(card)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PackageRefused(f"{CARD}: a value is of the wrong kind ({error}); get the package anew") from error
    if faults:
        raise PackageRefused(f"{CARD}: {'; '.join(faults)}; get the package anew")
    if card.write() != content:
        raise PackageRefused(f"{CARD}: got the digest {str(told['digest'])[:64]}, its content has {card.digest}: altered")
    return card


def _parsed(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_BYTES:
        raise PackageRefused(f"{CARD} has {len(content)} bytes; allowed are {MAX_BYTES}")
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PackageRefused(f"{CARD} is no JSON; get the package anew") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        version = told.get("format") if isinstance(told, dict) else None
        raise PackageRefused(
            f"{CARD} is of format {str(version)[:20]}, this fedmed reads {FORMAT}; bring both to one version"
        )
    if told.keys() != KEYS:
        differ = ", ".join(sorted(KEYS ^ told.keys()))[:MAX_TEXT]
        raise PackageRefused(f"{CARD}: missing or unknown: {differ}; get the package anew")
    return told


def _preparation(told: Mapping[str, Any]) -> Preparation:
    if told.keys() != {"features", "mean", "std", "clip"}:
        raise ValueError("a preparation has features, mean, std and clip")
    mean, std = (tuple(map(float, told[key])) for key in ("mean", "std"))
    return Preparation(told["features"], mean, std, told["clip"])


def _faults(card: Card) -> list[str]:
    faults = [
        f"{what} {str(value)[:MAX_TEXT]!r}; allowed: small letters, digits, '.', '_' and '-'"
        for what, value in (("name", card.name), ("version", card.version))
        if not (isinstance(value, str) and NAME.fullmatch(value))
    ]
    if card.kind not in KINDS:
        faults.append(f"kind {str(card.kind)[:MAX_TEXT]!r}; allowed: {', '.join(KINDS)}")
    for what, shape, most in (("inputs", card.inputs, 4), ("outputs", card.outputs, 4)):
        if not 1 <= len(shape) <= most or not all(type(n) is int and n > 0 for n in shape) or math.prod(shape) > MOST_VALUES:
            return [*faults, f"{what} {str(shape)[:MAX_TEXT]}; allowed: one to {most} lengths above 0"]
    if not isinstance(card.opset, int) or not HEX.fullmatch(str(card.weights_sha256)):
        faults.append("opset has to be a whole number, weights_sha256 a SHA-256 in hex")
    faults += _faults_of_classes(card) + card.preparation.faults(math.prod(card.inputs))
    if card.tolerances.keys() != TOLERANCES.keys() or not all(
        isinstance(value, float) and 0 < value <= MOST_TOLERANCES[name] for name, value in card.tolerances.items()
    ):
        faults.append(f"tolerances {str(dict(card.tolerances))[:MAX_TEXT]}; allowed: above 0, at most {MOST_TOLERANCES}")
    return faults + [
        f"file {name[:MAX_TEXT]!r} needs a SHA-256 in hex and a size in bytes"
        for name, file in card.files.items()
        if not HEX.fullmatch(str(file.sha256)) or type(file.bytes) is not int or file.bytes < 0
    ]


def _faults_of_classes(card: Card) -> list[str]:
    classes, faults = card.classes, []
    sound = all(isinstance(each, str) and each.isprintable() and 0 < len(each) <= MAX_TEXT for each in classes)
    if not sound or not 2 <= len(set(classes)) == len(classes) <= MOST_CLASSES:
        faults.append(f"{len(classes)} classes; allowed: 2 to {MOST_CLASSES} different printable names")
    logits = 1 if len(classes) == 2 else len(classes)
    space = card.inputs[1:] if card.kind == "segmentation" else ()
    if card.outputs != (logits, *space):
        faults.append(f"outputs {list(card.outputs)}; {len(classes)} classes of a {card.kind} need {[logits, *space]}")
    return faults
