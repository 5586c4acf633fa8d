"""What an agent takes out of the way: objects that it can do nothing with, sealed, with the reason; and what it is at.

`working.json` names the image that is being worked on, and those whose work ended an earlier process: others may be worked
on before they come again. It is not synced: the death of the process does not lose it, and that of the machine is no fault
of the image.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fedmed.clock import Clock
from fedmed.errors import StoreError
from fedmed.store.spool.entry import Entry
from fedmed.store.studies import Studies

WORKING = "working.json"
SET_ASIDE = "set aside"
"""Why such an entry leaves the spool, as it is counted and told."""
MOST = 32
"""Images that are remembered so; the newest stay."""


class Aside:
    """A sealed store in the agent's folder."""

    def __init__(self, folder: Path, key: bytes, clock: Clock) -> None:
        self._studies, self._beside, self._clock = Studies(folder, key), folder.parent, clock

    def keep(self, entry: Entry, content: bytes, why: str) -> None:
        """Keep an object, and why. Raises StoreError where the disk refuses."""
        facts = {"kind": entry.kind, "group": entry.group, "why": why, "put": entry.unix, "aside": self._clock.unix()}
        self._studies.put(content, {**facts, "facts": dict(entry.facts)})

    def listed(self, through: Callable[[list[str]], Iterable[str]] = iter) -> dict[str, dict[str, object]]:
        """What is there: address and what is known of it; addresses go `through` what shows progress. Raises StoreError."""
        return {address: self._studies.facts(address) for address in through(self._studies.addresses())}

    def content(self, address: str) -> bytes:
        """An object. Raises StoreError."""
        return self._studies.get(address)

    @contextmanager
    def trying(self, entry: Entry, lane: str = "") -> Iterator[int]:
        """Work on an image, and how often that has been begun and never ended, this time included. Raises StoreError.

        `lane`: which of several that work at the same time.
        """
        path = self._beside / (f"working-{lane}.json" if lane else WORKING)
        begun = _begun(path)
        tries = 1 + begun.pop(entry.number, 0)
        _note(path, {**begun, entry.number: tries})
        try:
            yield tries
        finally:
            _note(path, begun)


def _begun(path: Path) -> dict[int, int]:
    """What never ended, by its number, and how often; the newest last."""
    try:
        known: dict[str, int] = json.loads(path.read_bytes())
        return {int(number): int(tries) for number, tries in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # nothing was under way, or the machine died while it was noted


def _note(path: Path, begun: dict[int, int]) -> None:
    try:
        if begun:
            path.write_text(json.dumps(dict(list(begun.items())[-MOST:])))
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}); make room or mend the disk") from error
