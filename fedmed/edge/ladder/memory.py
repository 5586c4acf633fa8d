"""What a device came to, on its disk: a restart measures nothing again. The newest first; a damaged file is as none."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedmed.edge.ladder.climb import Climb, Key, Phase
from fedmed.errors import FedmedError, StoreError
from fedmed.identity import files
from fedmed.serving.ladder import Row
from fedmed.wire.canonical import canonical, digest

FILE, MOST, MOST_BYTES = "precision.json", 8, 1 << 20
"""In the agent's folder; climbs that are remembered; bytes."""


class Memory:
    """Safe from any thread."""

    def __init__(self, folder: Path) -> None:
        self._path, self._turn = folder / FILE, threading.Lock()
        self._climbs = self._read()

    def get(self, key: Key) -> Climb:
        """What is remembered of it, or a beginning."""
        return next((each for each in self._climbs if each.key == key), Climb(key))

    def all(self) -> tuple[Climb, ...]:
        """Everything that is remembered."""
        return self._climbs

    def put(self, *climbs: Climb) -> None:
        """On the disk before this returns. Raises StoreError: then only what leads back to the reference holds."""
        new = {each.key for each in climbs}
        with self._turn:
            kept = (*climbs, *(each for each in self._climbs if each.key not in new))[:MOST]
            body = [_told(each) for each in kept]
            if not any(each.is_fast for each in climbs):
                self._climbs = kept
            try:
                files.replace(self._path, canonical({"body": body, "sha256": digest(body)}))
            except OSError as error:
                raise StoreError(f"{self._path} cannot be written ({error.strerror}); mend the disk") from error
            self._climbs = kept

    def _read(self) -> tuple[Climb, ...]:
        try:
            said = json.loads(files.read(self._path, MOST_BYTES))
            if said["sha256"] != digest(said["body"]):
                return ()
            return tuple(_climb_of(each) for each in said["body"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError, FedmedError):
            return ()


def _told(climb: Climb) -> dict[str, Any]:
    return {**asdict(climb), "phase": climb.phase.value}


def _climb_of(said: dict[str, Any]) -> Climb:
    rows: Iterable[dict[str, Any]] = said["rows"]
    kept = {**said, "key": Key(**said["key"]), "phase": Phase(said["phase"]), "rows": tuple(Row(**row) for row in rows)}
    return Climb(**kept)
