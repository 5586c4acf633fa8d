"""What each run's global models were worth at this clinic, on its own test cases: a file a run, private, never sent."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.errors import ConfigError, StoreError
from fedmed.wire.asides import Aside, read

FOLDER, SUFFIX = "gains", ".jsonl"
MOST_BYTES = 64 << 20
LOWER_IS_BETTER = frozenset({"loss"})


@dataclass(frozen=True)
class Gain:
    """One run."""

    reference: str
    """`RUN@DIGEST`."""
    seen: tuple[Aside, ...]
    """One a round, in order; of a round that was tried again, the last."""
    unix: float
    """When the last was noted."""

    @property
    def leading(self) -> str:
        """The figure that matters."""
        return next(iter(self.seen[-1].figures))

    def ends(self) -> tuple[float | None, float | None]:
        """The leading figure of the first and of the last model."""
        return self.seen[0].figures.get(self.leading), self.seen[-1].figures[self.leading]

    def gained(self) -> float | None:
        """By how much the last model is better than the first; None where either is undefined, or there is one."""
        first, last = self.ends()
        if first is None or last is None or len(self.seen) < 2:
            return None
        return first - last if self.leading in LOWER_IS_BETTER else last - first

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        first, last = self.ends()
        told = {"run": self.reference, "unix": self.unix, "measure": self.leading, "first": first, "last": last}
        return {**told, "gained": self.gained(), "rounds": [each.as_json() for each in self.seen]}


class Gains:
    """Those of one clinic."""

    def __init__(self, clinic: Path) -> None:
        """`clinic` is the clinic's folder."""
        self.folder = clinic / FOLDER

    def note(self, reference: str, aside: Aside, unix: float) -> None:
        """Add a line. Raises StoreError."""
        path = self.folder / f"{reference.replace('/', '_')}{SUFFIX}"
        line = json.dumps({"unix": unix, **aside.as_json()}) + "\n"
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(line.encode())
        except OSError as error:
            raise StoreError(f"{path} cannot be written ({error.strerror}); make room") from error

    def names(self) -> list[str]:
        """`RUN@DIGEST` of each, the newest last."""
        found = [path for path in self.folder.glob(f"[!.]*{SUFFIX}") if path.is_file()]
        return [path.name.removesuffix(SUFFIX) for path in sorted(found, key=lambda path: (path.stat().st_mtime, path.name))]

    def the_one(self, named: str) -> Gain:
        """The newest of a run's name, or of `RUN@` and first digits. Raises ConfigError where none is, StoreError."""
        run, _, digits = named.partition("@")
        names = self.names()
        fitting = [each for each in names if each.partition("@")[0] == run and each.partition("@")[2].startswith(digits)]
        if not fitting:
            there = ", ".join(f"{each.partition('@')[0]}@{each.partition('@')[2][:12]}" for each in names) or "none"
            raise ConfigError(
                f"nothing was noted here of a run {named[:80]!r}; there are: {there}. A run is noted once its first round "
                "began here, if the data set holds test cases back"
            )
        return self._read(fitting[-1])

    def _read(self, reference: str) -> Gain:
        path = self.folder / f"{reference}{SUFFIX}"
        seen, unix = dict[int, Aside](), 0.0
        try:
            with path.open("rb") as file:
                lines = file.read(MOST_BYTES).decode().split("\n")[:-1]  # a last line without an end was being written
            for line in lines:
                said = json.loads(line)
                unix = float(said.pop("unix"))
                aside = read(said)
                seen[aside.round] = aside
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise StoreError(f"{path} cannot be read ({type(error).__name__}); nothing but this report needs it") from error
        if not seen:
            raise StoreError(f"{path} is empty; nothing but this report needs it")
        return Gain(reference, tuple(seen[number] for number in sorted(seen)), unix)
