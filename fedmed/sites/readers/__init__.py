"""Readers by name: how the files of a set become cases."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

from pydantic import ValidationError

from fedmed.config.part import Part
from fedmed.config.scenario import Data
from fedmed.errors import ConfigError, DataError
from fedmed.preprocess.pipeline import Pipeline
from fedmed.sites.cases import Cases, check
from fedmed.sites.readers.chase import CHASE
from fedmed.sites.readers.folder import FOLDER
from fedmed.sites.readers.heart import HEART
from fedmed.sites.readers.masks import MASKS
from fedmed.sites.readers.nodules import NODULES
from fedmed.sites.readers.npz import NPZ
from fedmed.sites.readers.phantom import PHANTOM
from fedmed.sites.readers.pneumonia import PNEUMONIA
from fedmed.sites.readers.reader import MissingData, Reader, locate
from fedmed.sites.readers.shards import SHARDS
from fedmed.sites.readers.skin import SKIN
from fedmed.sites.readers.studies import STUDIES
from fedmed.sites.readers.tabular import CSV

GROUP = "fedmed.readers"
READERS: dict[str, Reader] = {
    "chase": CHASE,
    "csv": CSV,
    "folder": FOLDER,
    "heart": HEART,
    "masks": MASKS,
    "nodules": NODULES,
    "npz": NPZ,
    "phantom": PHANTOM,
    "pneumonia": PNEUMONIA,
    "shards": SHARDS,
    "skin": SKIN,
    "studies": STUDIES,
}

__all__ = ["GROUP", "READERS", "MissingData", "Reader", "read", "reader_named", "reader_names"]


def reader_names() -> tuple[str, ...]:
    """Every reader that a scenario can name: built in, then those of the entry-point group `fedmed.readers`."""
    added = {point.name for point in entry_points(group=GROUP)} - READERS.keys()
    return (*READERS, *sorted(added))


def reader_named(name: str) -> Reader:
    """The reader `name`, a built-in one first; raises ConfigError naming those that are known."""
    if name in READERS:
        return READERS[name]
    for point in entry_points(group=GROUP, name=name):
        try:
            found = point.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"reader {name!r} ({point.value}) cannot be loaded: {error}") from error
        if isinstance(found, Reader):
            return found
        raise ConfigError(f"reader {name!r} ({point.value}) is a {type(found).__name__}; expected fedmed.sites.Reader")
    raise ConfigError(f"data.reader is {name!r}; known readers are {', '.join(reader_names())}")


def read(data: Data, root: Path | None, seed: int, source: str) -> Cases:
    """The cases that `data` describes, from below `root`; `source` says where the set is published.

    Raises ConfigError for an unknown reader or wrong options (all of them at once), DataError for data that is missing
    or cannot be used.
    """
    reader = reader_named(data.reader)
    options = _options(data, reader)
    try:
        folder = locate(data.folder, root) if reader.needs_folder else None
        cases = reader.read(folder, options, seed)
    except MissingData as error:
        published = f"\nThe set: {source}" if source else ""
        raise DataError(
            f"{error}{published}\nSay where it lies with --data DIR or FEDMED_DATA=DIR; "
            f"DIR holds {data.folder or 'the files'!r} itself"
        ) from error
    check(cases, f"reader {data.reader!r}")
    return cases


def pipeline_of(data: Data, root: Path | None, site: str) -> Pipeline:
    """How the images of one site of `data` are prepared. Raises ConfigError and DataError as `read` does."""
    reader = reader_named(data.reader)
    return reader.pipeline(locate(data.folder, root) if reader.needs_folder else None, _options(data, reader), site)


def _options(data: Data, reader: Reader) -> Part:
    try:
        # Through JSON, so that a YAML list is a tuple and nothing else is converted.
        return reader.options.model_validate_json(json.dumps(data.options, default=str))
    except ValidationError as error:
        allowed = ", ".join(reader.options.model_fields) or "none"
        faults = "\n  ".join(
            f"data.options.{'.'.join(map(str, fault['loc']))} is {fault['input']!r}: {fault['msg']}"
            for fault in error.errors()
        )
        raise ConfigError(f"options of reader {data.reader!r} (it has: {allowed}):\n  {faults}") from error
