"""What a center may ask of a clinic, judged by what is public before any data is looked at.

A clinic that refuses because of its data tells something of them by that. So no bound is the center's to choose: fields are
those of `secagg.questions` and what the round's order declares, and a weight's bound is at least what the site declared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fedmed.config.own_metrics import OwnMetrics
from fedmed.errors import ProtocolRefused
from fedmed.flower.keys import CONFIG_KEY
from fedmed.outbound.description import Sizes
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import questions
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.questions import Fields

METRICS: TypeAdapter[dict[str, float]] = TypeAdapter(OwnMetrics)
HAS = {
    Purpose.CENSUS: "a census has",
    Purpose.UPDATE: "an update and its order's training.metrics have",
    Purpose.EVALUATION: "an evaluation has",
}
SHOWN = 5  # fields named in a refusal


def declared(text: str) -> dict[str, float]:
    """Name -> largest absolute value, of canonical settings (`flower.proposal.text_of`); none where no order is in them.

    Raises ProtocolRefused for what no scenario can declare.
    """
    found: dict[str, float] = {}
    for order in _orders(json.loads(text)):
        training = order.get("training")
        told = training.get("metrics", {}) if isinstance(training, Mapping) else {}
        try:
            found |= METRICS.validate_python(told, strict=True)
        except ValidationError as error:
            raise ProtocolRefused(
                f"the order's training.metrics are none: {error.errors(include_url=False)[0]['msg']}"
            ) from error
    return found


def judge_fields(purpose: Purpose, layout: Layout, own: Mapping[str, float], sizes: Sizes) -> None:
    """Raise ProtocolRefused where a layout asks for other numbers, bounds or steps than its purpose has.

    `own`: bounds of what the order of an update declares. A largest weight above the site's declared size is allowed: it
    makes rounding coarser, and nothing else.
    """
    least = sizes.validation if purpose is Purpose.EVALUATION else sizes.training
    if layout.most_weight < least:
        raise ProtocolRefused(
            f"the center asks for a weight of at most {layout.most_weight}; allowed: at least {least}, the size that this "
            "site declared"
        )
    if layout.tensors and purpose is not Purpose.UPDATE:
        raise ProtocolRefused(f"the center asks for {len(layout.tensors)} tensors; allowed: none, for {HAS[purpose]} none")
    allowed = _fields_of(purpose, layout, own)
    if strange := {field.name for field in set(layout.fields) ^ set(allowed)}:
        raise ProtocolRefused(
            f"the center asks for other numbers than {HAS[purpose]}: {_shown(sorted(strange))}; "
            f"got {_named(layout.fields, strange)}; allowed: {_named(allowed, strange)}"
        )


def judge_bound(layout: Layout, least: float) -> None:
    """Raise ProtocolRefused where a layout's tensors have a narrower bound than the `least` that is allowed.

    A wider one is allowed: it makes rounding coarser, and nothing else.
    """
    if layout.tensors and not layout.bound >= least:
        raise ProtocolRefused(
            f"the center asks for changes of weights within ±{layout.bound:g}; allowed: a bound of at least {least:g}, for "
            "whatever lies beyond it is withheld, which would tell of the data"
        )


def _fields_of(purpose: Purpose, layout: Layout, own: Mapping[str, float]) -> Fields:
    """What the layout's fields must be, of as many classes, features and bins as it has."""
    most, counts = layout.most_weight, {field.name: field.count for field in layout.fields}
    if purpose is Purpose.UPDATE:
        return questions.update_fields(most, own)
    if purpose is Purpose.CENSUS:
        return questions.census_fields(counts.get(questions.CLASSES, 1), counts.get(questions.SUM), most)
    if questions.SCORES in counts:
        scores = questions.score_fields(counts[questions.SCORES], counts.get(questions.CORRECT), most)
        return *questions.loss_fields(most), *scores
    return *questions.loss_fields(most), *questions.mask_fields(most)


def _named(fields: Fields, names: Set[str]) -> str:
    return _shown([repr(field) for field in fields if field.name in names]) or "none"


def _shown(parts: Sequence[str]) -> str:
    return ", ".join(parts[:SHOWN]) + (f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else "")


def _orders(settings: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for record in settings.values():
        try:
            order = json.loads(record.get(CONFIG_KEY, ""))
        except (TypeError, ValueError, RecursionError):  # another center's app may tell its work in other words
            continue
        if isinstance(order, Mapping):
            yield order
