"""Sites as folders of WebDataset shards, as `fedmed data pack` writes them: finished tensors, no image format between."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.config.scenario import Part
from fedmed.errors import DataError
from fedmed.preprocess.pipeline import AS_STORED, Pipeline, parse
from fedmed.sites.cases import SPLITS, Cases, pool
from fedmed.sites.partition import refuse_site_names
from fedmed.sites.readers.reader import MissingData, Reader
from fedmed.wire.samples import Sample
from fedmed.wire.shards import INDEX, Damage, read_shard

SUFFIX = ".tar"
SHOWN = 10
MAX_INDEX_BYTES = 16 * 1024**2


class ShardOptions(Part):
    """What belongs to all sites."""

    classes: tuple[str, ...] = ()
    """Labels in the order of their class index; when empty, those that the sites' `shards.json` name, else those found."""


def read_shards(folder: Path | None, options: ShardOptions, seed: int) -> Cases:
    """The cases of every sub-folder with shards, or of the folder itself where it holds them; `site` is its name.

    A sample that cannot be used is logged with its shard, key and reason, and left out. Raises DataError where a site has
    no usable sample, and for a label that is no class.
    """
    if folder is None:
        raise MissingData("no data folder was given")
    sites = {site.name: _samples(site) for site in _site_folders(folder)}
    refuse_site_names(sites)
    found = sorted({sample.label for samples in sites.values() for sample in samples})
    classes = options.classes or _named_classes(_site_folders(folder)) or tuple(found)
    if strange := sorted(set(found) - set(classes)):
        raise DataError(f"{folder}: samples have the labels {', '.join(strange)}; the classes are {', '.join(classes)}")
    if len(classes) < 2:
        raise DataError(f"{folder}: all sites together have the one label {classes[0]!r}; learning needs two classes")
    return pool([_cases(name, samples, classes) for name, samples in sites.items()])


def _site_folders(folder: Path) -> list[Path]:
    if _shards(folder):
        return [folder]
    sites = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not sites or not all(map(_shards, sites)):
        without = [path.name for path in sites if not _shards(path)]
        raise MissingData(
            f"{folder} holds no shards ({SUFFIX}), and these site folders neither: {', '.join(without) or 'none'}"
        )
    return sites


def _shards(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def _samples(site: Path) -> list[Sample]:
    """The site's usable samples of the commonest shape and type; the others are logged."""
    read: list[tuple[str, Sample]] = []
    left_out: list[Damage] = []
    for shard in _shards(site):
        for found in read_shard(shard):
            if isinstance(found, Damage):
                left_out.append(found)
            else:
                read.append((shard.name, found))
    if read:
        kinds = Counter((sample.array.shape, sample.array.dtype.name) for _, sample in read)
        [(kind, _)] = kinds.most_common(1)
        odd = [(shard, s) for shard, s in read if (s.array.shape, s.array.dtype.name) != kind]
        left_out += [
            Damage(shard, s.key, f"it is {s.array.shape}, most samples are {kind[0]} {kind[1]}") for shard, s in odd
        ]
        read = [(shard, s) for shard, s in read if (s.array.shape, s.array.dtype.name) == kind]
    _log(site.name, left_out)
    if not read:
        raise DataError(f"{site}: none of the samples can be used: {left_out[0] if left_out else 'the shards are empty'}")
    return [sample for _, sample in read]


def _log(site: str, left_out: Sequence[Damage]) -> None:
    log = logging.getLogger("fedmed")
    for damage in left_out[:SHOWN]:
        log.warning("site %s: %s", site, damage)
    if len(left_out) > SHOWN:
        log.warning("site %s: %d more samples are left out", site, len(left_out) - SHOWN)


def _index(site: Path) -> dict[str, Any] | None:
    """The site's `shards.json`, where it has one. Raises DataError where it is damaged."""
    path = site / INDEX
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise DataError(f"{path} is larger than {MAX_INDEX_BYTES} bytes; it is no index of shards")
        index = json.loads(path.read_text(encoding="utf-8"))
        classes, pipeline = index["classes"], index["pipeline"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}); remove it or pack the site anew") from error
    if not isinstance(classes, list) or not all(isinstance(each, str) for each in classes) or not isinstance(pipeline, dict):
        raise DataError(f"{path}: its classes or its pipeline are none; remove it or pack the site anew")
    return {"classes": tuple(classes), "pipeline": pipeline}


def _named_classes(sites: Sequence[Path]) -> tuple[str, ...]:
    """The classes of the sites' indexes, where all have one and they agree."""
    named = {index["classes"] if index is not None else () for index in map(_index, sites)}
    if () in named:
        return ()
    if len(named) > 1:
        raise DataError(f"the sites' {INDEX} name different classes: {'; '.join(', '.join(each) for each in sorted(named))}")
    return next(iter(named), ())


def _packed_by(folder: Path | None, options: ShardOptions, site: str) -> Pipeline:
    """What the site's samples were made by, as its index says; a damaged one is refused on reading."""
    if folder is None or not folder.is_dir():
        return AS_STORED
    index = _index(folder if _shards(folder) else folder / site)
    if index is None or not index["pipeline"]:
        return AS_STORED
    try:
        return parse(index["pipeline"])
    except ValueError as error:
        raise DataError(f"{folder}: the {INDEX} of site {site} names no pipeline ({error}); pack the site anew") from error


def _cases(name: str, samples: list[Sample], classes: tuple[str, ...]) -> Cases:
    labels = np.array([classes.index(sample.label) for sample in samples], np.int64)
    x: NDArray[np.generic] = np.stack([sample.array for sample in samples])
    images = x if x.dtype in (np.uint8, np.uint16) else x.astype(np.float32, copy=False)
    patients = np.array([sample.patient for sample in samples], np.str_)
    splits = np.array([sample.split for sample in samples], np.str_)
    for column, values in (("patient", patients), ("split", splits)):
        if values.astype(bool).any() and not values.astype(bool).all():
            raise DataError(f"site {name}: only some samples have a {column}; give it to all or to none")
    if strange := sorted(set(splits.tolist()) - {"", *SPLITS}):
        raise DataError(f"site {name}: splits {strange} are unknown; a case is in one of {', '.join(SPLITS)}")
    return Cases(
        images,
        labels,
        classes,
        patients if patients.astype(bool).all() else None,
        np.full(len(samples), name),
        splits if splits.astype(bool).all() else None,
    )


SHARDS = Reader(read_shards, ShardOptions, pipeline=_packed_by)
