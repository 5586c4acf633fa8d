"""What becomes of a whole series: one result about all images that were used, and the names of those that were not.

The result is told in JSON, and as SR or SEG where a PACS takes results; their entries hold the images' headers alone. Where
nothing can be looked at the JSON says why, so that no series ends without a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.results.finding import Finding
from fedmed.dicom.results.identifiers import uid_of
from fedmed.dicom.results.origin import without_pixels
from fedmed.dicom.sources import Source
from fedmed.edge.findings import packed
from fedmed.edge.looking import DICOM, RECORD, Desk, Model
from fedmed.edge.series import Because
from fedmed.errors import DataError
from fedmed.sites.studies import Study
from fedmed.store.spool.entry import RESULT, SOON, New
from fedmed.wire.canonical import canonical

REFUSAL = "fedmed.refusal/1"
"""Schema of what is told of a series without a result."""
COMPREHENSIVE_SR, SEGMENTATION = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.66.4"


@dataclass(frozen=True)
class Whole:
    """A series that is to be looked at."""

    name: str
    """What errors call it: nothing of the patient."""
    study: str
    series: str
    sources: Sequence[Source]
    """Its images, called by their SOP Instance UIDs, in any order."""
    because: Because
    announced: int | None
    """How many images its headers speak of."""
    replaces: tuple[str, ...] = ()
    """`Finding.replaces`."""

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {"whole": self.because.value, "came": len(self.sources), "announced": self.announced}


@dataclass(frozen=True)
class Answer:
    """What a series gives."""

    new: tuple[New, ...]
    document: tuple[str, ...] = ()
    """SOP class, series and SOP Instance UID of the object that it becomes for the PACS; empty without a result."""
    why_not: str = ""
    """Why there is no result."""


def look_at(whole: Whole, desk: Desk, unix: float, workers: int = 1, limits: Limits = LIMITS) -> Answer:
    """Look at a series with the desk's model. Raises EngineFailed, and what reading the images raises but DataError."""
    from fedmed.edge.volumes import VolumeRecipe, read_series

    model = desk.model
    if model is None or not isinstance(model.recipe, VolumeRecipe):
        return unlooked(whole, desk, unix, "no-model", "no model that looks at series runs here")
    with desk.stages.of("read series"):
        read = read_series(whole.sources, model.recipe.target, workers, limits)
    refused = [each.told() for each in read.refused]
    if read.study is None:
        first = read.refused[0] if read.refused else None
        reason, sentence = (first.reason, first.sentence) if first else ("no-pixels", "none of its images has pixels")
        return unlooked(whole, desk, unix, reason, sentence, refused)
    try:
        return _result(whole, desk, model, read.study, unix, {"refused": refused, **_kernel(read.study, read.backend)})
    except DataError as error:  # no result can be about it: it names no patient, or its texts cannot be read
        return unlooked(whole, desk, unix, "no-result", str(error), refused)


def _kernel(study: Study, backend: str) -> dict[str, Any]:
    stored, grid = study.kernel
    return {"kernel": {"backend": backend, "stored": stored, "grid": grid}}


def _result(whole: Whole, desk: Desk, model: Model, study: Study, unix: float, told: Mapping[str, Any]) -> Answer:
    from fedmed.dicom.results.record import record

    with desk.stages.of("infer series"):
        answer = _answer(model, study)
    with desk.stages.of("tell series"):
        finding = model.told(answer, desk.device, unix, whole.replaces)
        by_name = {source.name: source for source in whole.sources}
        used = list(dict.fromkeys(study.slices))
        headers = [without_pixels(by_name[name]) for name in used]
        document = _document(finding, whole, used)
        result = {**whole.told(), "used": len(used), **told, "result": document[-1]}
        facts = {"of": whole.name, "model": finding.digest}
        made = [New(RESULT, whole.study, SOON, {**facts, "form": RECORD}, record(headers, finding, series=result))]
        if desk.sends:
            made.append(New(RESULT, whole.study, SOON, {**facts, "form": DICOM}, packed(finding, headers)))
    return Answer(tuple(made), document)


def _answer(model: Model, study: Study) -> NDArray[Any]:
    """Probabilities, or a mask on the frames of the series' instances as `results.segments` takes it."""
    from fedmed.edge.volumes import VolumeRecipe

    recipe = model.recipe
    assert isinstance(recipe, VolumeRecipe)
    answers = [model.answer(case) for case in recipe.inputs(study.image)]
    if model.card.kind != "segmentation":
        return answers[0]
    mask = recipe.back(np.stack(answers) if recipe.is_sliced else answers[0], study)
    if study.header.frames == 1:
        return mask
    whole = np.zeros((study.header.frames, *mask.shape[1:]), np.uint8)
    whole[list(study.frames)] = mask
    return whole


def _document(finding: Finding, whole: Whole, used: Sequence[str]) -> tuple[str, str, str]:
    """How the object for the PACS will be called (`results.writing.named`); an empty mask is told by a report."""
    is_drawn = finding.mask is not None and bool(finding.mask.any())
    kind, sop_class = ("SEG", SEGMENTATION) if is_drawn else ("SR", COMPREHENSIVE_SR)
    return sop_class, uid_of(f"{kind} series", [whole.study, whole.series], finding), uid_of(kind, used, finding)


def unlooked(
    whole: Whole, desk: Desk, unix: float, reason: str, sentence: str, refused: Sequence[Mapping[str, Any]] = ()
) -> Answer:
    """A word in place of a result; `stands` is the earlier result of the series, which nothing replaces."""
    card = None if desk.model is None else desk.model.card
    told = {
        "schema": REFUSAL,
        "model": None if card is None else {"name": card.name, "version": card.version, "digest": card.digest},
        "pipeline": None if card is None else card.pipeline.fingerprint(),
        "device": desk.device,
        "unix": unix,
        "study": whole.study,
        "series_instance": whole.series,
        "reason": reason,
        "sentence": sentence,
        "series": {**whole.told(), "used": 0, "refused": list(refused)},
        **({"stands": whole.replaces[-1]} if whole.replaces else {}),
    }
    new = New(RESULT, whole.study, SOON, {"of": whole.name, "form": RECORD}, canonical(told))
    return Answer((new,), (), f"{reason}: {sentence}")
