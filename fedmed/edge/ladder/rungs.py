"""In which precision a committed release runs, as those who run it ask; and the answer of a machine that does not choose."""

from __future__ import annotations

from typing import Any, Protocol

from fedmed.config.edge import Inference
from fedmed.serving.engines.engine import Floats
from fedmed.serving.ladder import REFERENCE


class Rungs(Protocol):
    """See `fedmed.edge.ladder.climber.Climber`. Safe from any thread."""

    def rung(self, package: str) -> tuple[str, str]:
        """Precision and back end that the committed release of this digest is opened in."""

    def seen(self, package: str, image: Floats) -> None:
        """An image `(*inputs)` that was looked at."""

    def fell(self, package: str, why: str) -> None:
        """A rung that was chosen gave no answer."""

    def facts(self) -> dict[str, Any]:
        """For status and heartbeats."""


class Reference:
    """Always the reference: for a machine that looks at few images, and those of others."""

    def __init__(self, wanted: Inference) -> None:
        self._backend = wanted.backend

    def rung(self, package: str) -> tuple[str, str]:
        """The reference."""
        return REFERENCE, self._backend

    def seen(self, package: str, image: Floats) -> None:
        """Nothing is kept."""

    def fell(self, package: str, why: str) -> None:
        """There is no safer one."""

    def facts(self) -> dict[str, Any]:
        """Nothing was chosen."""
        return {"wanted": REFERENCE, "why": ""}
