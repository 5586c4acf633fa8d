"""What a reader is, where its folder lies, and what is said when there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fedmed.config.part import Part
from fedmed.errors import ConfigError, DataError
from fedmed.preprocess.pipeline import AS_STORED, Pipeline
from fedmed.sites.cases import Cases


@dataclass(frozen=True)
class Reader:
    """One row of the table of readers; an entry point of the group `fedmed.readers` names an instance of this."""

    read: Callable[[Path | None, Any, int], Cases]
    """`(folder, options, seed) -> Cases`; `folder` exists, and is None only where the reader needs none."""
    options: type[Part]
    """Frozen pydantic model of the reader's own options."""
    needs_folder: bool = True
    kernels: bool = False
    """It prepares images with the fused kernels: the site certifies that they compute here what their definition says."""
    pipeline: Callable[[Path | None, Any, str], Pipeline] = lambda folder, options, site: AS_STORED
    """`(folder, options, site) -> Pipeline`: how a site's images are prepared; what only says where things are, such as
    file names, stays out."""


class MissingData(DataError):
    """A folder or file of a set is not there; the reader's caller adds where the set is published."""


def locate(folder: str, root: Path | None) -> Path:
    """The existing, non-empty folder (or file) `folder` below the data root.

    Raises ConfigError for a path that leaves the root, MissingData for one that is not there or holds nothing.
    """
    parts = PurePosixPath(folder)
    if parts.is_absolute() or ".." in parts.parts:
        raise ConfigError(f"data.folder is {folder!r}; it must lie below the data folder, without '..' or a leading '/'")
    if root is None:
        raise MissingData(f"no data folder was given; it must hold {folder!r}" if folder else "no data folder was given")
    path = root / folder
    if not path.exists():
        raise MissingData(f"{path} was looked for and is not there")
    if path.is_dir() and not any(path.iterdir()):
        raise MissingData(f"{path} is an empty folder")
    return path


def existing_file(folder: Path | None, name: str) -> Path:
    """The file `name` in `folder`, or `folder` itself where the scenario names a file; raises MissingData."""
    if folder is None:
        raise MissingData("no data folder was given")
    path = folder if folder.is_file() else folder / name
    if not path.is_file():
        raise MissingData(f"{path} was looked for and is not there")
    return path
