"""What the center has to show for its masked rounds: kept in every commit, so that a report cannot say otherwise."""

from __future__ import annotations

from typing import Any

from fedmed.federation.journal import Voice

KEPT = ("epoch", "left-out", "unopened", "accused")
"""Events of secure aggregation that a run's result tells."""


class Account:
    """Passes events on and keeps those that the result tells."""

    def __init__(self, voice: Voice, told: dict[str, Any] | None = None) -> None:
        """`told` is what an earlier commit of the run holds."""
        told = told or {}
        self._voice = voice
        self._events: dict[str, list[dict[str, Any]]] = {event: list(told.get(event, ())) for event in KEPT}
        self._before = told.get("bytes", {"down": 0, "up": 0})
        self._bytes = dict(self._before)

    def say(self, event: str, **details: Any) -> None:
        """Tell one event."""
        if event in KEPT:
            self._events[event].append(details)
        self._voice.say(event, **details)

    def moved(self, down: int, up: int) -> None:
        """Bytes of the protocol's messages, out and back, since the center was started."""
        self._bytes = {"down": self._before["down"] + down, "up": self._before["up"] + up}

    def record(self) -> dict[str, Any]:
        """For a commit: the events by name, and `bytes`."""
        return {**{event: list(found) for event, found in self._events.items()}, "bytes": dict(self._bytes)}
