"""An instance as the input of a released model: the very steps that training took, or a refusal.

A package's card names its pipeline (`fedmed.preprocess.pipeline`). A device takes the steps that it knows and checks that a
pipeline of them has the card's own fingerprint: what it would do otherwise is never done in silence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.single_frame import image_of
from fedmed.dicom.sources import of_bytes
from fedmed.errors import ConfigError, DataError
from fedmed.preprocess.image import resample, standardise
from fedmed.preprocess.pipeline import Pipeline, Step, differences
from fedmed.serving.card import Card
from fedmed.serving.inputs import prepare

if TYPE_CHECKING:
    from fedmed.edge.volumes import VolumeRecipe

STANDARDISED = "each image: mean 0, deviation 1"


@dataclass(frozen=True)
class Prepared:
    """One image as a model sees it, and where its own pixels lie."""

    values: NDArray[np.float32]
    """`(1, *inputs)`."""
    shape: tuple[int, int]
    """Rows and columns of the image itself."""
    spacing_mm: tuple[float, float]
    """Between its rows, between its columns; 1 where it does not say."""


@dataclass(frozen=True)
class Recipe:
    """How a device prepares one grey single-frame image for the model of a card."""

    card: Card
    size: int
    """Pixels on a side."""
    field_of_view_mm: float | None
    standardised: bool

    @property
    def pipeline(self) -> Pipeline:
        """The same steps in training's words (`fedmed.sites.readers.folder`)."""
        grid = {"size": self.size, "field_of_view_mm": self.field_of_view_mm, "shrink": "area", "grow": "linear"}
        return Pipeline(
            (
                Step("read", {"values": "modality units", "channels": 1}),
                Step("resample", grid),
                Step("normalise", {"how": STANDARDISED if self.standardised else "none"}),
                Step("cast", {"type": "float32"}),
            )
        )

    def prepared(self, content: bytes, name: str) -> Prepared:
        """A DICOM object as the model sees it.

        Raises DataError, which calls the object `name`, for one that training would have refused as well.
        """
        image = image_of(of_bytes(name, content), name)
        if image.spacing_mm is None and self.field_of_view_mm is not None:
            raise DataError(f"{name}: states no pixel spacing, and the model was trained on a field in mm")
        spacing = image.spacing_mm or (1.0, 1.0)
        pixels = resample(image.pixels, spacing, self.size, self.field_of_view_mm)
        values = prepare(self.card, (standardise(pixels) if self.standardised else pixels)[None])
        rows, columns = image.pixels.shape
        return Prepared(values, (rows, columns), spacing)

    def back(self, mask: NDArray[np.uint8], of: Prepared) -> NDArray[np.uint8]:
        """A mask `(size, size)` on the image's own pixels `(H, W)`: the nearest of the grid; 0 beyond it."""
        lengths = [count * mm for count, mm in zip(of.shape, of.spacing_mm, strict=True)]
        step = (self.field_of_view_mm or max(lengths)) / self.size
        rows, columns = (_nearest(count, mm / step, self.size) for count, mm in zip(of.shape, of.spacing_mm, strict=True))
        found = mask[np.clip(rows, 0, self.size - 1)[:, None], np.clip(columns, 0, self.size - 1)[None]]
        return np.where(_inside(rows, self.size)[:, None] & _inside(columns, self.size)[None], found, 0).astype(np.uint8)


def values_of(content: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """What another machine sent, little-endian float32 `(1, *shape)`.

    Raises DataError for another size, and for values that are not finite.
    """
    needed = 4 * math.prod(shape)
    if len(content) != needed:
        raise DataError(f"{len(content)} bytes; {list(shape)} float32 are {needed}")
    values = np.frombuffer(content, "<f4").astype(np.float32).reshape(1, *shape)
    if not np.isfinite(values).all():
        raise DataError("values that are not finite")
    return values


def _nearest(count: int, step: float, size: int) -> NDArray[np.int64]:
    """For each of `count` pixels, `step` grid pixels apart, the grid pixel that it lies in; both have one centre."""
    places = (np.arange(count) - (count - 1) / 2) * step + size / 2
    return np.asarray(np.floor(places), np.int64)


def _inside(places: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    return np.asarray((places >= 0) & (places < size))


def recipe_of(card: Card) -> Recipe | VolumeRecipe:
    """How to prepare for a package. Raises ConfigError for steps that this device does not take as training did."""
    if any(step.name == "orient" for step in card.pipeline.steps):
        from fedmed.edge.volumes import volume_recipe_of  # a device whose model looks at images does not load that

        return volume_recipe_of(card)
    return _image_recipe_of(card)


def _image_recipe_of(card: Card) -> Recipe:
    steps = {step.name: step.parameters for step in card.pipeline.steps}
    wanted = steps.get("resample", {})
    found = Recipe(
        card=card,
        size=_whole(wanted.get("size")),
        field_of_view_mm=_length(wanted.get("field_of_view_mm")),
        standardised=steps.get("normalise", {}).get("how") == STANDARDISED,
    )
    if found.pipeline.fingerprint() != card.pipeline.fingerprint():
        told = "; ".join(differences(found.pipeline, card.pipeline))
        raise ConfigError(f"this device cannot prepare images as the model's training did: {told}")
    return found


def _whole(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= 4096:
        raise ConfigError(f"the model's images have a side of {value!r}; a device prepares sides of 1 to 4096 pixels")
    return value


def _length(value: Any) -> float | None:
    if value is None or (isinstance(value, (int, float)) and 0 < value <= 5000):
        return value
    raise ConfigError(f"the model's field of view is {value!r}; allowed: up to 5000 mm, or none")
