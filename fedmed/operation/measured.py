"""Rows that a room without Prometheus makes, as Prometheus shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

Measure = tuple[str, str, str, Mapping[str, str], float]
"""Name with its unit, help, unit (empty for a number of things), labels, value."""
COUNTER = "_total"


class Measured:
    """A collector for `Metrics.registry`; the rows are made in the thread that answers a scrape."""

    def __init__(self, rows: Callable[[], Iterable[Measure]]) -> None:
        self._rows = rows

    def collect(self) -> Iterable[Metric]:
        """Rows of one name make one family; a name that ends with `_total` is a counter's."""
        from prometheus_client.metrics_core import Metric

        families: dict[str, Metric] = {}
        for name, about, _, labels, value in self._rows():
            if name not in families:
                kind = "counter" if name.endswith(COUNTER) else "gauge"
                families[name] = Metric(name.removesuffix(COUNTER), about, kind)
            families[name].add_sample(name, dict(labels), value)
        return families.values()
