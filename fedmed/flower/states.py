"""What an app keeps between rounds (Flower's context state), on the clinic's disk: one file a run, and the one before it.

A message may be handed out again after a crash. It then meets the state that it met the first time, so that what the app
counts is counted once. The files are sealed under the clinic's key.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.errors import FedmedError, StoreError, UpdateRefused
from fedmed.flower import sealed
from fedmed.flower.hearsay import described
from fedmed.flower.resting import AtRest
from fedmed.identity.files import fill
from fedmed.wire.tensors import Tensors

MOST = 2**28
"""Octets of one run's state."""
RUNS = 16
"""Runs whose states are kept; the one that was changed longest ago goes."""
NOTHING: dict[str, Any] = {"arrays": [], "metrics": {}, "configs": {}}


@dataclass(frozen=True)
class State:
    """What an app kept when it had answered a message."""

    message: str
    description: dict[str, Any]
    tensors: Tensors


class States:
    """A folder of them."""

    def __init__(self, folder: Path, rest: AtRest, most: int = MOST, runs: int = RUNS) -> None:
        self._folder, self._rest, self._most, self._runs = folder, rest, most, runs
        self._newest: dict[int, bytes] = {}
        self._of: dict[int, str] = {}
        """The message of each run's newest state."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def before(self, run: int, message: str) -> State | None:
        """What the app is to find when it is given this message. Raises StoreError for a file that was damaged."""
        newest = self._read(self._path(run))
        self._of[run] = "" if newest is None else newest.message
        if newest is not None and newest.message == message:
            return self._read(self._path(run, "before"))
        return newest

    def keep(self, run: int, state: State) -> None:
        """Put a state on the disk, unless it is as it was. Raises UpdateRefused for one that is too large, StoreError."""
        content = b"".join(sealed.pieces(json.dumps(state.description).encode(), state.tensors))
        digest = hashlib.sha256(content).digest()
        if self._newest.get(run) == digest or (state.description == NOTHING and not self._path(run).exists()):
            return
        if len(content) > self._most:
            raise UpdateRefused(f"the app keeps {len(content)} bytes between rounds; {self._most} are allowed")
        head = json.dumps({"message": state.message, "state": state.description}).encode()
        try:
            if self._path(run).exists() and self._of.get(run) != state.message:
                self._path(run, "before").unlink(missing_ok=True)
                self._path(run, "before").hardlink_to(self._path(run))  # the newest is there at every moment
            fill(self._path(run), self._rest.closed(str(run), sealed.pieces(head, state.tensors)))
            self._forget_old()
        except OSError as error:
            raise StoreError(
                f"{self._folder}: what the app keeps cannot be written ({error.strerror}); make room"
            ) from error
        self._newest[run], self._of[run] = digest, state.message

    def _forget_old(self) -> None:
        kept = sorted(self._folder.glob("*.state"), key=lambda path: path.stat().st_mtime_ns)
        for path in kept[: -self._runs]:
            path.unlink()
            path.with_suffix(".before").unlink(missing_ok=True)

    def _path(self, run: int, kind: str = "state") -> Path:
        return self._folder / f"{run}.{kind}"

    def _read(self, path: Path) -> State | None:
        try:
            head, tensors = sealed.opened(self._rest.read(path.stem, path))
            told = json.loads(head)
            if not described(told["state"]):
                raise ValueError("no description")
            return State(str(told["message"]), told["state"], tensors)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, FedmedError) as error:
            raise StoreError(f"{path} is damaged; put a copy back, or remove it: the app then begins anew") from error
