"""What a model said about one image or series, and which model, prepared how, run where: all that a result must state."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedmed.errors import DataError

LONG_STRING = 64
"""Characters in a value of VR LO (PS3.5 section 6.2): names and meanings are shown in such attributes."""
MAX_CLASSES = 255
UID_FORM = re.compile(r"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)*")
"""PS3.5 section 9.1."""
SHORT_STRING = 16
"""Characters in a value of VR SH: code values and designators of coding schemes."""


@dataclass(frozen=True)
class Concept:
    """A class as a code of a terminology that hospitals share (PS3.16), as in `Concept("233604007", "SCT", "Pneumonia")`."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, eq=False)
class Finding:
    """One answer of a model; `probabilities` or `mask`, never both.

    Raises DataError, with every fault, for what no DICOM object could hold or no reader could understand.
    """

    model: str
    version: str
    digest: str
    """Of the package, as hex."""
    pipeline: str
    """Fingerprint of how images are prepared before the model sees them."""
    device: str
    """The box that the image came to, and that answers for this."""
    precision: str
    unix: float
    """Seconds since 1970 at which it was found."""
    classes: tuple[str, ...]
    probabilities: tuple[float, ...] | None = None
    """Of each class, 0 to 1; they need not add up to 1."""
    mask: NDArray[np.integer] | None = None
    """`(H, W)` or `(slices or frames, H, W)`: 0 nothing, k the k-th of `classes`."""
    computed_on: str = ""
    """The other machine of the clinic that the model ran on; empty where it ran on the device itself."""
    is_research: bool = True
    """The release is for research: every object says that it is not for diagnosis."""
    replaces: tuple[str, ...] = ()
    """SOP class, series and SOP Instance UID of the object of an earlier finding that this one takes the place of."""
    concepts: Mapping[str, Concept] = field(default_factory=dict)
    """Codes of classes that have one; the others get one of fedmed's own scheme."""

    def __post_init__(self) -> None:
        """Every fault at once."""
        faults = [*_bad_texts(self), *_bad_answer(self)]
        if faults:
            raise DataError(f"This finding cannot be told: {'; '.join(faults)}.")

    def marked(self) -> dict[str, int]:
        """How many pixels of the mask belong to each class; ValueError without a mask."""
        if self.mask is None:
            raise ValueError("this finding has probabilities, no mask")
        counts = np.bincount(self.mask.ravel(), minlength=len(self.classes) + 1)
        return dict(zip(self.classes, (int(count) for count in counts[1:]), strict=True))


def _bad_texts(finding: Finding) -> list[str]:
    """PS3.5 section 6.2: neither a backslash, which parts values, nor a control character stands in a text of VR LO."""
    texts = {name: str(getattr(finding, name)) for name in ("model", "version", "digest", "pipeline", "device", "precision")}
    texts |= {"place of computing": finding.computed_on} if finding.computed_on else {}
    texts |= {f"class {number}": name for number, name in enumerate(finding.classes, 1)}
    for name, concept in finding.concepts.items():
        texts |= {f"code of {name!r}": concept.value, f"scheme of {name!r}": concept.scheme}
        texts[f"meaning of {name!r}"] = concept.meaning
    faults = []
    for name, text in texts.items():
        most = SHORT_STRING if name.startswith(("code of", "scheme of")) else LONG_STRING
        if not 0 < len(text) <= most:
            faults.append(f"the {name} has {len(text)} characters; 1 to {most} are allowed")
        elif not text.isprintable() or "\\" in text or text != text.strip():
            faults.append(f"the {name} is {text!r}; no backslash, control character or blank at an end may stand in it")
    if strange := sorted(set(finding.concepts) - set(finding.classes)):
        faults.append(f"{strange} have codes and are no classes")
    return faults


def _bad_answer(finding: Finding) -> list[str]:
    count = len(finding.classes)
    faults = []
    if not 0 < count <= MAX_CLASSES or len(set(finding.classes)) != count:
        faults.append(f"{count} classes, {len(set(finding.classes))} of them different; 1 to {MAX_CLASSES} different ones")
    if not math.isfinite(finding.unix) or not 0 <= finding.unix < 2**33:
        faults.append(f"{finding.unix} is no time in seconds since 1970")
    if finding.replaces and not (len(finding.replaces) == 3 and all(map(UID_FORM.fullmatch, finding.replaces))):
        faults.append(f"it replaces {str(finding.replaces)[:200]}; the UIDs of a class, a series and an object are needed")
    if (finding.probabilities is None) == (finding.mask is None):
        faults.append("it needs either probabilities or a mask")
    if finding.probabilities is not None:
        if len(finding.probabilities) != count:
            faults.append(f"{len(finding.probabilities)} probabilities for {count} classes")
        if not all(0 <= each <= 1 for each in finding.probabilities):
            faults.append("a probability lies outside 0 to 1, or is no number")
    return faults + _bad_mask(finding.mask, count)


def _bad_mask(mask: NDArray[np.integer] | None, count: int) -> list[str]:
    if mask is None:
        return []
    if mask.ndim not in (2, 3) or mask.size == 0 or mask.dtype.kind not in "ui":
        return [f"a mask of shape {mask.shape} and type {mask.dtype}; whole numbers of shape (H, W) or (D, H, W) are one"]
    low, high = int(mask.min()), int(mask.max())
    if low < 0 or high > count:
        return [f"the mask holds {low} to {high}; 0 to {count}, the number of classes, may stand there"]
    return []
