"""The last prepared images of this device, sealed: what the rungs of the ladder are shown where nobody labelled any.

    checks/SPACE/NUMBER    one image as the model sees it, float32, sealed under that name with a key of its own

A space is one way of preparing; images of another are of no use and are removed. They never leave the device, and go
with the agent's folder. None is synced: what a power cut takes is replaced by the next images.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np

from fedmed.errors import StoreError
from fedmed.privacy.keys import derived
from fedmed.privacy.sealing import seal, unsealed
from fedmed.serving.card import Card
from fedmed.serving.engines.engine import Floats
from fedmed.store.disk import Disk
from fedmed.wire.canonical import digest

FOLDER, MOST = "checks", 128
"""Below the agent's folder; images of one space."""


def space_of(card: Card) -> str:
    """What two releases have in common whose images are prepared alike."""
    return digest({"pipeline": card.pipeline.record(), "preparation": asdict(card.preparation), "inputs": card.inputs})[:32]


class CheckSet:
    """For one thread."""

    def __init__(self, folder: Path, key: bytes, most: int = MOST) -> None:
        self._folder, self._key, self._most = folder / FOLDER, derived(key, "check images"), most

    def keep(self, card: Card, image: Floats) -> None:
        """Keep one more image `(*inputs)`; the oldest goes where there are enough. Raises StoreError."""
        space = space_of(card)
        names = self._names(space)
        name = f"{1 + int(names[-1]) if names else 0:012d}"
        path = self._folder / space / name
        try:
            Disk().make_folder(path.parent)
            with path.with_name(f".{name}").open("wb") as file:
                seal(self._key, f"{space}/{name}", BytesIO(np.ascontiguousarray(image, np.float32).tobytes()), file)
            path.with_name(f".{name}").replace(path)
            for old in names[: max(0, len(names) + 1 - self._most)]:
                (self._folder / space / old).unlink(missing_ok=True)
        except OSError as error:
            with suppress(OSError):
                path.with_name(f".{name}").unlink()
            raise StoreError(f"{path} cannot be written ({error.strerror}); make room or mend the disk") from error

    def count(self, card: Card) -> int:
        """How many there are of this preparation."""
        return len(self._names(space_of(card)))

    def images(self, card: Card, count: int) -> Iterator[Floats]:
        """The newest `count`, `(*inputs)` each. Raises StoreError for one that was changed, and removes it."""
        space = space_of(card)
        for name in self._names(space)[-count:]:
            path = self._folder / space / name
            try:
                with path.open("rb") as file:
                    content = b"".join(unsealed(self._key, f"{space}/{name}", file))
                yield np.frombuffer(content, np.float32).reshape(card.inputs)
            except (OSError, ValueError, StoreError) as error:
                with suppress(OSError):
                    path.unlink()
                raise StoreError(f"{path} was damaged ({error}), and is removed; it is tried again without it") from error

    def empty(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def keep_only(self, card: Card) -> None:
        """Remove images that are prepared otherwise; what cannot be removed is of no use, and stays."""
        with suppress(OSError):
            for place in self._folder.iterdir():
                if place.name != space_of(card):
                    shutil.rmtree(place, ignore_errors=True)

    def _names(self, space: str) -> list[str]:
        with suppress(OSError):
            return sorted(path.name for path in (self._folder / space).iterdir() if path.name.isdecimal())
        return []
