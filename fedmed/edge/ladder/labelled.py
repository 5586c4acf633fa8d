"""Images of the device's own that staff labelled: a folder a class, `inference.check` in edge.yaml. They are only read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.edge.preparing import Recipe
from fedmed.errors import DataError
from fedmed.serving.engines.engine import Floats

MOST, MOST_BYTES = 2000, 64 << 20
"""Images that are looked at, and bytes of one."""


@dataclass(frozen=True)
class Labelled:
    """Which there are; nothing was opened yet."""

    paths: tuple[Path, ...]
    y: NDArray[np.integer]
    """Their classes `(N,)`, as places in the card's."""

    def images(self, recipe: Recipe) -> Iterator[Floats]:
        """Each prepared, `(*inputs)`. Raises DataError for one that cannot be."""
        for path in self.paths:
            try:
                with path.open("rb") as file:
                    content = file.read(MOST_BYTES + 1)
            except OSError as error:
                raise DataError(f"{path} cannot be read ({error.strerror})") from error
            if len(content) > MOST_BYTES:
                raise DataError(f"{path} has more than {MOST_BYTES} bytes")
            yield recipe.prepared(content, path.name).values[0]


def labelled(folder: Path, classes: tuple[str, ...]) -> Labelled:
    """What is in the folders of these classes. Raises DataError where a folder is of no class, or there is none at all."""
    try:
        found = sorted(each.name for each in folder.iterdir() if each.is_dir())
        files = {name: sorted(each for each in (folder / name).iterdir() if each.is_file()) for name in found}
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}); it holds a folder for each class") from error
    if unknown := sorted(set(found) - set(classes)):
        raise DataError(f"{folder}: {', '.join(unknown)[:200]} are no classes of the model; it has {', '.join(classes)}")
    pairs = [(path, classes.index(name)) for name in found for path in files[name]]
    step = max(1, -(-len(pairs) // MOST))
    chosen = pairs[::step]
    return Labelled(tuple(path for path, _ in chosen), np.array([number for _, number in chosen], np.int64))
