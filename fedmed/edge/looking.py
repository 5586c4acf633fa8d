"""What becomes of one image: a result for the hospital's own PACS, a copy without names for training.

Where the model looks at whole series the image waits for the rest of its own (`fedmed.edge.whole`), and its copy goes.

Both are made from the original, which then leaves the spool: what it gives is put in the same transaction. A result names
the patient, since it goes back into the record; a copy never does, and goes to the clinic alone. Where one of the two cannot
be made the other still is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.belonging import belonging
from fedmed.dicom.results.finding import Finding
from fedmed.edge.findings import packed
from fedmed.edge.preparing import Prepared, Recipe
from fedmed.edge.stages import Stages
from fedmed.errors import DataError, EngineFailed
from fedmed.serving.card import Card
from fedmed.store.spool.entry import MOST_GROUP, REAL_TIME, RESULT, SERIES, SOON, STUDY, USUAL, New

if TYPE_CHECKING:
    from fedmed.edge.volumes import VolumeRecipe

Floats = NDArray[np.float32]
DICOM, RECORD = "dicom", "json"


@dataclass(frozen=True)
class Model:
    """A released model as this device runs it."""

    recipe: Recipe | VolumeRecipe
    precision: str
    run: Callable[[Floats], Floats]
    """Inputs `(1, *inputs)` to logits `(1, *outputs)`; raises EngineFailed where there is no answer."""
    is_research: bool = True

    @property
    def card(self) -> Card:
        """Of its package."""
        return self.recipe.card

    @property
    def is_of_volumes(self) -> bool:
        """Whether it looks at whole series."""
        return not isinstance(self.recipe, Recipe)

    @property
    def image_recipe(self) -> Recipe:
        """How single images are prepared. Raises EngineFailed for a model of volumes."""
        if not isinstance(self.recipe, Recipe):
            raise EngineFailed(f"{self.card.name} {self.card.version} looks at whole series; a single image is none")
        return self.recipe

    def chances(self, x: Floats) -> Floats:
        """What the model says of one input, as `probabilities`. Raises EngineFailed where it says nothing, or no numbers."""
        return self.chances_in(self.run(x))

    def chances_in(self, logits: Floats) -> Floats:
        """Logits of one input `(1, *outputs)`, as `probabilities`. Raises EngineFailed where they are no numbers."""
        if not np.isfinite(logits).all():
            raise EngineFailed(f"{self.card.name} {self.card.version} answers with values that are not finite")
        found: Floats = probabilities(logits)[0]
        return found

    def answer(self, x: Floats) -> NDArray[Any]:
        """Of one input: probabilities `(K,)`, or the mask `([D,] H, W)` uint8 of likeliest classes. Raises EngineFailed."""
        return self.answer_in(self.run(x))

    def answer_in(self, logits: Floats) -> NDArray[Any]:
        """Logits of one input as an answer. Raises EngineFailed."""
        chances = self.chances_in(logits)
        return chances.argmax(0).astype(np.uint8) if self.card.kind == "segmentation" else chances

    def told(
        self,
        answer: NDArray[Any],
        device: str,
        unix: float,
        replaces: tuple[str, ...] = (),
        other: tuple[str, str] = ("", ""),
    ) -> Finding:
        """An answer, its mask on the scanner's own pixels, as a finding; `other` machine and its precision, where it was not
        this one that made it.
        """
        card = self.card
        is_mask = card.kind == "segmentation"
        return Finding(
            model=card.name,
            version=card.version,
            digest=card.digest,
            pipeline=card.pipeline.fingerprint(),
            device=device,
            precision=other[1] or self.precision,
            computed_on=other[0],
            unix=unix,
            classes=card.classes[1:] if is_mask else card.classes,
            probabilities=None if is_mask else tuple(float(each) for each in answer),
            mask=answer if is_mask else None,
            is_research=self.is_research,
            replaces=replaces,
        )


def probabilities(logits: Floats) -> Floats:
    """Logits `(N, 1 or K, ...)` as probabilities `(N, 2 or K, ...)`: one logit is that of the second class."""
    values = logits.astype(np.float64)
    if values.shape[1] == 1:
        positive = np.exp(-np.logaddexp(0.0, -values))
        return np.concatenate([1 - positive, positive], 1).astype(np.float32)
    powers = np.exp(values - values.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


@dataclass(frozen=True)
class Answered:
    """What another machine of the clinic made of an image that was prepared here."""

    prepared: Prepared
    logits: Floats
    """`(1, *outputs)`."""
    by: str
    precision: str


@dataclass(frozen=True)
class Looked:
    """What an image gives, and what of it could not be made."""

    new: tuple[New, ...]
    withheld: tuple[str, ...] = ()
    """Reasons, without anything of the patient."""


@dataclass(frozen=True)
class Desk:
    """How this device looks at images."""

    device: str
    model: Model | None
    """None before the first release: no result is owed then."""
    sends: bool
    """Whether a PACS takes results as DICOM; they are told in JSON all the same."""
    copied: Callable[[bytes], tuple[bytes, str]] | None
    """An image without names, and its pseudonymous study; None where the clinic is sent no studies."""
    stages: Stages

    def look(
        self,
        content: bytes,
        group: str,
        name: str,
        unix: float,
        facts: Mapping[str, Any] | None = None,
        answered: Answered | None = None,
    ) -> Looked:
        """What becomes of an image of the study `group`; errors call it `name`, and `facts` are known of it.

        `answered`: another machine has looked at it.
        """
        new: list[New] = []
        withheld: list[str] = []
        is_of_volumes = self.model is not None and self.model.is_of_volumes
        result = partial(self._waiting, facts or {}) if is_of_volumes else partial(self._result, answered)
        for what, make in (("no result", result), ("no copy for training", self._copy)):
            try:
                new += make(content, group, name, unix)
            except DataError as error:
                withheld.append(f"{what}: {error}")
        return Looked(tuple(new), tuple(withheld))

    def _result(self, answered: Answered | None, content: bytes, group: str, name: str, unix: float) -> list[New]:
        from fedmed.dicom.results.record import record

        if self.model is None:
            return []
        recipe = self.model.image_recipe
        if answered is None:
            with self.stages.of("prepare"):
                prepared = recipe.prepared(content, name)
            with self.stages.of("infer"):
                answered = Answered(prepared, self.model.run(prepared.values), "", "")
        with self.stages.of("tell"):
            answer, is_mask = self.model.answer_in(answered.logits), self.model.card.kind == "segmentation"
            told_of = recipe.back(answer, answered.prepared) if is_mask else answer
            finding = self.model.told(told_of, self.device, unix, other=(answered.by, answered.precision))
            told, facts = record([content], finding), {"of": name, "model": finding.digest}
        made = [New(RESULT, group, SOON, {**facts, "form": RECORD}, told)]
        return (
            [*made, New(RESULT, group, SOON, {**facts, "form": DICOM}, packed(finding, [content]))] if self.sends else made
        )

    def _waiting(self, facts: Mapping[str, Any], content: bytes, group: str, name: str, unix: float) -> list[New]:
        """An image that waits for the rest of its series, since the model looks at whole ones."""
        try:
            said = belonging(content)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        known = {**asdict(said), "association": str(facts.get("association") or "")}
        return [New(SERIES, f"{said.study}/{said.series}"[:MOST_GROUP], REAL_TIME, known, content)]

    def _copy(self, content: bytes, group: str, name: str, unix: float) -> list[New]:
        if self.copied is None:
            return []
        with self.stages.of("copy"):
            copy, study = self.copied(content)
        return [New(STUDY, study, USUAL, {"study": study}, copy)]
