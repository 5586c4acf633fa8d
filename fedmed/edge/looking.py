"""What becomes of one image: a result for the hospital's own PACS, a copy without names for training.

Both are made from the original, which then leaves the spool: what it gives is put in the same transaction. A result names
the patient, since it goes back into the record; a copy never does, and goes to the clinic alone. Where one of the two cannot
be made the other still is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.results.finding import Finding
from fedmed.edge.findings import packed
from fedmed.edge.preparing import Prepared, Recipe
from fedmed.edge.stages import Stages
from fedmed.errors import DataError, EngineFailed
from fedmed.serving.card import Card
from fedmed.store.spool.entry import RESULT, SOON, STUDY, USUAL, New

Floats = NDArray[np.float32]
DICOM, RECORD = "dicom", "json"


@dataclass(frozen=True)
class Model:
    """A released model as this device runs it."""

    recipe: Recipe
    precision: str
    run: Callable[[Floats], Floats]
    """Inputs `(1, *inputs)` to logits `(1, *outputs)`; raises EngineFailed where there is no answer."""
    is_research: bool = True

    @property
    def card(self) -> Card:
        """Of its package."""
        return self.recipe.card

    def told(self, logits: Floats, prepared: Prepared, device: str, unix: float) -> Finding:
        """Logits as a finding. Raises EngineFailed where they are not finite."""
        card = self.card
        if not np.isfinite(logits).all():
            raise EngineFailed(f"{card.name} {card.version} answers with values that are not finite")
        chances = probabilities(logits)[0]
        answer: dict[str, Any] = {}
        if card.kind == "segmentation":
            answer["mask"], classes = self.recipe.back(chances.argmax(0).astype(np.uint8), prepared), card.classes[1:]
        else:
            answer["probabilities"], classes = tuple(float(each) for each in chances), card.classes
        return Finding(
            model=card.name,
            version=card.version,
            digest=card.digest,
            pipeline=card.pipeline.fingerprint(),
            device=device,
            precision=self.precision,
            unix=unix,
            classes=classes,
            is_research=self.is_research,
            **answer,
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

    def look(self, content: bytes, group: str, name: str, unix: float) -> Looked:
        """What becomes of an image of the study `group`; errors call it `name`."""
        new: list[New] = []
        withheld: list[str] = []
        for what, make in (("no result", self._result), ("no copy for training", self._copy)):
            try:
                new += make(content, group, name, unix)
            except DataError as error:
                withheld.append(f"{what}: {error}")
        return Looked(tuple(new), tuple(withheld))

    def _result(self, content: bytes, group: str, name: str, unix: float) -> list[New]:
        from fedmed.dicom.results.record import record

        if self.model is None:
            return []
        with self.stages.of("prepare"):
            prepared = self.model.recipe.prepared(content, name)
        with self.stages.of("infer"):
            logits = self.model.run(prepared.values)
        with self.stages.of("tell"):
            finding = self.model.told(logits, prepared, self.device, unix)
            told, facts = record([content], finding), {"of": name, "model": finding.digest}
        made = [New(RESULT, group, SOON, {**facts, "form": RECORD}, told)]
        return [*made, New(RESULT, group, SOON, {**facts, "form": DICOM}, packed(finding, content))] if self.sends else made

    def _copy(self, content: bytes, group: str, name: str, unix: float) -> list[New]:
        if self.copied is None:
            return []
        with self.stages.of("copy"):
            copy, study = self.copied(content)
        return [New(STUDY, study, USUAL, {"study": study}, copy)]
