"""A series as the input of a released model of volumes: the very code that training took, or a refusal.

`fedmed.sites.studies` judges the headers, decodes and resamples, as for a folder; what is here asks it for one series whose
images lie in a spool. Several volumes in one series are refused, as training refuses a label for them: nothing says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.reasons import SENTENCES
from fedmed.dicom.sources import Source
from fedmed.dicom.stacks import Stack
from fedmed.dicom.survey import Survey, headers_of
from fedmed.errors import ConfigError
from fedmed.preprocess.fused.backends import chosen
from fedmed.preprocess.grid import Grid, to_voxel
from fedmed.preprocess.labels import nearest
from fedmed.preprocess.pipeline import Pipeline, Step, differences
from fedmed.serving.card import Card
from fedmed.serving.inputs import prepare
from fedmed.sites.cases import SetAside
from fedmed.sites.readers.studies import MAX_VOXELS
from fedmed.sites.studies import Study, Target, Workshop, volumes_of

AMBIGUOUS, SCOUT = "ambiguous", "scout"
"""Reasons of a series that holds several volumes, as in training; of a localiser that came with a volume."""


@dataclass(frozen=True)
class Refused:
    """Images that are not looked at, and why: in the words of `fedmed.dicom.reasons` or of training."""

    reason: str
    sentence: str
    sop_instances: tuple[str, ...]

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {"reason": self.reason, "sentence": self.sentence, "sop_instances": list(self.sop_instances)}


@dataclass(frozen=True)
class Read:
    """What a series came to."""

    study: Study | None
    """None where it has no volume that can be trusted, or several."""
    refused: tuple[Refused, ...]
    backend: str
    """What resampled it: two of them differ by rounding (`fedmed.preprocess.fused.parity`)."""


@dataclass(frozen=True)
class VolumeRecipe:
    """How a device prepares a series for the model of a card."""

    card: Card
    target: Target

    @property
    def pipeline(self) -> Pipeline:
        """The same steps in training's words (`fedmed.sites.readers.studies`)."""
        return self.target.pipeline()

    @property
    def is_sliced(self) -> bool:
        """Whether each slice of the prepared volume is a case of its own (`slices: true`)."""
        return len(self.card.inputs) == 3

    def inputs(self, image: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """`Study.image` as the model takes it, one case `(1, *inputs)` after the other. Raises DataError as `prepare`."""
        for case in image if self.is_sliced else (image,):
            yield prepare(self.card, case[None])

    def back(self, mask: NDArray[np.uint8], study: Study) -> NDArray[np.uint8]:
        """A mask on the target's grid on the scanner's own voxels `Study.shape`: the nearest; 0 beyond the grid."""
        return nearest(mask, to_voxel(study.grid.affine, Grid(study.scanned, study.shape)), study.shape)


def read_series(sources: Sequence[Source], target: Target, workers: int = 1, limits: Limits = LIMITS) -> Read:
    """The one volume of a series, as `fedmed.sites.studies.prepared` makes it of a folder of the same files.

    `sources` are called by their SOP Instance UIDs; their order does not matter. One volume is in memory, and the files as
    they are read. Raises what reading a source raises beside Untrusted, ConfigError and MissingPart for a back end.
    """
    found = headers_of(sorted(sources, key=lambda source: source.name), limits)
    backend, refused = chosen().NAME, [*_files(found), *_stacks(found)]
    sound = [stack for stack in found.stacks if stack.grid is not None and stack.grid.located]
    if any(not _is_scout(stack) for stack in sound):
        scouts = [stack for stack in sound if _is_scout(stack)]
        refused += [_left(found, [stack], SCOUT, "It is a scout beside the volume.") for stack in scouts]
        sound = [stack for stack in sound if stack not in scouts]
    if len(sound) > 1:
        refused.append(
            _left(found, sound, AMBIGUOUS, f"{len(sound)} volumes are in this series; nothing says which is meant.")
        )
    if len(sound) != 1:
        return Read(None, tuple(refused), backend)
    study: Study | None = None
    for each in volumes_of(replace(found, stacks=sound), Workshop(target, workers=workers, limits=limits)):
        if not isinstance(each, SetAside):
            study = each
        elif each.what == sound[0].subject:
            refused.append(_left(found, sound, each.reason, each.sentence))
    return Read(study, tuple(refused), backend)


def _is_scout(stack: Stack) -> bool:
    """Whether its images call themselves localisers (Image Type, PS3.3 C.8.2.1.1.1 and C.8.3.1.1.1)."""
    return "image-type=LOCALIZER" in stack.kind


def _files(found: Survey) -> Iterator[Refused]:
    for file in found.files:
        if file.reason is not None:
            yield Refused(file.reason.value, f"{SENTENCES[file.reason]} {file.detail}", (file.path,))
        elif file.shape is None:
            yield Refused(file.status.value, file.detail, (file.path,))


def _stacks(found: Survey) -> Iterator[Refused]:
    for stack in found.stacks:
        if stack.refusal is not None:
            yield _left(found, [stack], stack.refusal.reason.value, str(stack.refusal))
        elif stack.grid is None or not stack.grid.located:
            yield _left(found, [stack], "no-geometry", "It is one picture, whose place in the patient is unknown.")


def _left(found: Survey, stacks: Sequence[Stack], reason: str, sentence: str) -> Refused:
    names = [found.instances[index].header.sop_instance for stack in stacks for index, _ in stack.frames]
    return Refused(reason, sentence, tuple(dict.fromkeys(names)))


def volume_recipe_of(card: Card) -> VolumeRecipe:
    """How to prepare for a package. Raises ConfigError for steps that this device does not take as training did."""
    steps = {step.name: step for step in card.pipeline.steps}
    size, spacing = (_numbers(steps, "resample", name, 3) for name in ("size", "spacing_mm"))
    low, high = _numbers(steps, "window", "from", 2)
    whole = [int(count) for count in size]
    if whole != list(size) or min(whole) < 1 or np.prod(size) > MAX_VOXELS:
        raise ConfigError(f"the model's volumes have {list(size)} voxels; a device prepares 1 to {MAX_VOXELS} in all")
    if not (min(spacing) > 0 and max(spacing) <= 100 and low < high):
        raise ConfigError(f"the model's volumes have voxels of {list(spacing)} mm and a window from {low} to {high}")
    target = Target((whole[0], whole[1], whole[2]), (spacing[0], spacing[1], spacing[2]), (low, high))
    found = VolumeRecipe(card, target)
    if found.pipeline.fingerprint() != card.pipeline.fingerprint():
        told = "; ".join(differences(found.pipeline, card.pipeline))
        raise ConfigError(f"this device cannot prepare volumes as the model's training did: {told}")
    space = (1, *whole[1:]) if found.is_sliced else (1, *whole)
    if card.inputs != space or (found.is_sliced and card.kind != "segmentation"):
        raise ConfigError(
            f"a {card.kind} of inputs {list(card.inputs)} on volumes of {whole} voxels; a device takes volumes of "
            f"{[1, *whole]}, or for masks slices of {[1, *whole[1:]]}"
        )
    return found


def _numbers(steps: dict[str, Step], step: str, name: str, count: int) -> tuple[float, ...]:
    value = steps[step].parameters.get(name) if step in steps else None
    found = tuple(each for each in value if isinstance(each, (int, float))) if isinstance(value, tuple) else ()
    if found != value or len(found) != count:
        raise ConfigError(f"the model's {step}.{name} is {value!r}; a device prepares volumes with {count} numbers there")
    return found
