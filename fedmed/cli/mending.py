"""`fedmed edge resume --seen-to CARD`: staff has seen to a card, and the agent looks whether it is well again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fedmed.cli.waiting import Waiting
from fedmed.clock import Clock, SystemClock
from fedmed.edge import standing
from fedmed.edge.folder import open_edge
from fedmed.errors import ConfigError, FederationError
from fedmed.store.standing import is_serving

WAITS_S, LOOKS_S = 30.0, 0.1


def say_seen_to(at: Path, device: str, as_json: bool, clock: Clock | None = None) -> None:
    """Ask the agent to take work again.

    Raises ConfigError where it is not up or does not answer, FederationError where the card's reading is still bad.
    """
    clock, name = clock or SystemClock(), open_edge(at, SystemClock()).config.name
    if not is_serving(at):
        raise ConfigError(f"the agent of {at} is not up, so nothing keeps it from work; start it, it reads the card first")
    standing.say_seen_to(at, device)
    with Waiting() as waits:
        waits(f"the agent reads {device} once more", WAITS_S)
        kept = _heard(at, clock)
    if kept:
        raise FederationError(f"{name} takes no work, as before: {kept}; mend it, then say it again")
    said = f"{name} takes work: nothing of {device} keeps it from it"
    sys.stdout.write(json.dumps({"seen_to": device, "takes_work": True}) + "\n" if as_json else f"{said}\n")


def _heard(at: Path, clock: Clock) -> str:
    """The agent's answer: what still keeps the device from work."""
    end = clock.now() + WAITS_S
    while (kept := standing.answered(at)) is None:
        if clock.now() >= end or not (at / standing.SEEN_TO).exists():
            (at / standing.SEEN_TO).unlink(missing_ok=True)
            raise ConfigError(f"the agent of {at} did not answer; its log says why, and so does: fedmed edge status")
        clock.sleep(LOOKS_S)
    return kept
