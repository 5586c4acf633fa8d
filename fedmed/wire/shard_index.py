"""The index of a folder of shards, `shards.json`: what holds for all samples, and which shards there are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.errors import DataError
from fedmed.wire.samples import Layout, layout_of

INDEX = "shards.json"
MAX_INDEX_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class Index:
    """What a reader needs to know of a folder of shards."""

    classes: tuple[str, ...]
    pipeline: Mapping[str, Any]
    """The record of what made the samples; empty where nobody said."""
    masks: bool | None
    """Whether every sample has a mask; None in an index that does not say."""
    layout: Layout
    shards: tuple[str, ...]
    """Names of the files."""


def index_of(classes: Sequence[str], pipeline: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """An index without samples as yet; what is unknown is left out."""
    told: dict[str, Any] = {"version": 1, "classes": list(classes), "pipeline": dict(pipeline), "samples": 0, "shards": []}
    told["position"] = layout.position
    if layout.spatial is not None:
        told["spatial"] = layout.spatial
    if layout.features:
        told["features"] = list(layout.features)
    return told


def read_index(folder: Path) -> Index | None:
    """The index of `folder`, where it has one. Raises DataError where it is damaged."""
    path = folder / INDEX
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise DataError(f"{path} is larger than {MAX_INDEX_BYTES} bytes; it is no index of shards")
        told = json.loads(path.read_text(encoding="utf-8"))
        classes, pipeline = told["classes"], told["pipeline"]
        shards, masks = [entry["file"] for entry in told.get("shards", [])], told.get("masks")
        layout = layout_of(told)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        kind = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} cannot be read ({kind}); remove it or pack the site anew") from error
    if not _texts(classes) or not _texts(shards) or not isinstance(pipeline, dict) or type(masks) not in (bool, type(None)):
        raise DataError(f"{path}: its classes, shards, masks or its pipeline are none; remove it or pack the site anew")
    return Index(tuple(classes), pipeline, masks, layout, tuple(shards))


def _texts(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)
