"""Numbers of the researcher's own that a round's order declares: beside the loss, they alone may be asked of an app."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fedmed.config.own_metrics import OwnMetrics
from fedmed.errors import UpdateRefused
from fedmed.flower.keys import CONFIG_KEY
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.metrics import own_fields

COMMON = ("weight", "loss.sum", "loss.weight")
"""Names of the fields of every update."""
METRICS: TypeAdapter[dict[str, float]] = TypeAdapter(OwnMetrics)


def declared(text: str) -> dict[str, float]:
    """Name -> largest absolute value, of canonical settings (`flower.proposal.text_of`); none where no order is in them.

    Raises UpdateRefused for what no scenario can declare.
    """
    found: dict[str, float] = {}
    for order in _orders(json.loads(text)):
        training = order.get("training")
        told = training.get("metrics", {}) if isinstance(training, Mapping) else {}
        try:
            found |= METRICS.validate_python(told, strict=True)
        except ValidationError as error:
            raise UpdateRefused(
                f"the order's training.metrics are none: {error.errors(include_url=False)[0]['msg']}"
            ) from error
    return found


def check(layout: Layout, own: Mapping[str, float]) -> None:
    """Raise UpdateRefused where the layout asks for other numbers, or other bounds and steps, than the order declares."""
    asked = {field for field in layout.fields if field.name not in COMMON}
    if asked != (agreed := set(own_fields(own, layout.most_weight))):
        strange = sorted({field.name for field in asked ^ agreed})
        raise UpdateRefused(
            f"the center asks for numbers otherwise than its order declares them: {', '.join(strange[:5])}; allowed: "
            f"its training.metrics, which are {sorted(own)}"
        )


def _orders(settings: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for record in settings.values():
        try:
            order = json.loads(record.get(CONFIG_KEY, ""))
        except (TypeError, ValueError, RecursionError):  # another center's app may tell its work in other words
            continue
        if isinstance(order, Mapping):
            yield order
