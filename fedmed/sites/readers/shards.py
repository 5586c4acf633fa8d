"""Sites as folders of WebDataset shards, as `fedmed data pack` writes them: finished tensors, no image format between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmed.config.part import Part
from fedmed.errors import DataError
from fedmed.preprocess.fingerprint import ORIENTATIONS
from fedmed.preprocess.pipeline import AS_STORED, Pipeline, parse
from fedmed.sites.cases import SPLITS, Cases, SetAside, pool
from fedmed.sites.partition import refuse_site_names
from fedmed.sites.readers.reader import MissingData, Reader
from fedmed.wire.samples import Layout, Sample
from fedmed.wire.shard_index import INDEX, Index, read_index
from fedmed.wire.shards import Damage, read_shard

SUFFIX = ".tar"
SHOWN = 1000
"""Samples of one site that are named when they are left out; the others are counted."""
MASK_CLASSES = ("background", "foreground")


class ShardOptions(Part):
    """What belongs to all sites."""

    classes: tuple[str, ...] = ()
    """Labels in the order of their class index, or names of the masks' classes; when empty, those that the sites'
    `shards.json` name, else those found."""


@dataclass(frozen=True)
class _Site:
    """What was read of one site."""

    name: str
    index: Index | None
    read: list[tuple[str, Sample]]
    """The usable samples, each with its shard."""
    left_out: list[Damage]

    @property
    def samples(self) -> list[Sample]:
        return [sample for _, sample in self.read]

    @property
    def layout(self) -> Layout:
        return self.index.layout if self.index else Layout()

    @property
    def has_masks(self) -> bool:
        return self.read[0][1].mask is not None


def read_shards(folder: Path | None, options: ShardOptions, seed: int) -> Cases:
    """The cases of every sub-folder with shards, or of the folder itself where it holds them; `site` is its name.

    Sites come in the order in which they were packed, then by name. A sample that cannot be used is in `set_aside` with its
    shard, key and reason. Raises DataError where a site has no usable sample, for a label that is no class, and where only
    some sites have masks.
    """
    if folder is None:
        raise MissingData("no data folder was given")
    folders = _site_folders(folder)
    refuse_site_names(site.name for site in folders)
    sites = sorted(map(_site, folders), key=lambda site: site.layout.position)
    if len({site.has_masks for site in sites}) > 1:
        without = ", ".join(site.name for site in sites if not site.has_masks)
        raise DataError(f"{folder}: these sites have no masks, the others do: {without}; learning needs one or the other")
    classes = _classes(folder, sites, options)
    return pool([_cases(site, classes) for site in sites])


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


def _site(folder: Path) -> _Site:
    """The site's usable samples of the commonest shape and type, and why the others are left out."""
    index = read_index(folder)
    read: list[tuple[str, Sample]] = []
    there = _shards(folder)
    gone = sorted(set(index.shards if index else ()) - {shard.name for shard in there})
    left_out = [Damage(name, "", f"the {INDEX} names this file, and it is not there") for name in gone]
    for shard in there:
        for found in read_shard(shard):
            if isinstance(found, Damage):
                left_out.append(found)
            elif reason := _against(index, found):
                left_out.append(Damage(shard.name, found.key, reason))
            else:
                read.append((shard.name, found))
    kinds = Counter(_kind(sample) for _, sample in read).most_common(1)
    left_out += [
        Damage(shard, sample.key, f"it is {_kind(sample)}, most samples are {kinds[0][0]}")
        for shard, sample in read
        if _kind(sample) != kinds[0][0]
    ]
    usable = [(shard, sample) for shard, sample in read if _kind(sample) == kinds[0][0]]
    _refuse_none(folder.name, usable, left_out)
    return _Site(folder.name, index, usable, left_out)


def _against(index: Index | None, sample: Sample) -> str:
    """What the index says otherwise of a sample."""
    if index is None:
        return ""
    if index.layout.spatial == 3 and sample.array.ndim not in (3, 4):
        return f"it is {sample.array.shape}; the {INDEX} says volumes"
    if index.masks is None:
        return ""
    if index.masks != (sample.mask is not None):
        return f"it has {'no mask' if index.masks else 'a mask'}, against what the {INDEX} says"
    if sample.mask is not None and index.layout.spatial not in (None, sample.mask.ndim):
        return f"its mask has {sample.mask.ndim} axes; the {INDEX} says {index.layout.spatial}"
    return ""


def _kind(sample: Sample) -> str:
    mask = "" if sample.mask is None else f" with a mask of {sample.mask.shape}"
    return f"{sample.array.shape} {sample.array.dtype.name}{mask}"


def _refuse_none(name: str, samples: Sequence[object], left_out: Sequence[Damage]) -> None:
    if not samples:
        raise DataError(
            f"site {name}: none of the samples can be used: {left_out[0] if left_out else 'the shards are empty'}"
        )


def _classes(folder: Path, sites: Sequence[_Site], options: ShardOptions) -> tuple[str, ...]:
    named = _named_classes(sites)
    if sites[0].has_masks:
        if options.classes and named and options.classes != named:
            raise DataError(
                f"{folder}: the masks were packed with the classes {', '.join(named)}; data.options.classes "
                f"has {', '.join(options.classes)}; leave it out"
            )
        return options.classes or named or MASK_CLASSES
    found = sorted({sample.label for site in sites for sample in site.samples})
    classes = options.classes or named or tuple(found)
    if strange := sorted(set(found) - set(classes)):
        raise DataError(f"{folder}: samples have the labels {', '.join(strange)}; the classes are {', '.join(classes)}")
    if len(classes) < 2:
        raise DataError(f"{folder}: all sites together have the one label {classes[0]!r}; learning needs two classes")
    return classes


def _named_classes(sites: Sequence[_Site]) -> tuple[str, ...]:
    """The classes of the sites' indexes, where all have one and they agree."""
    named = {site.index.classes if site.index is not None else () for site in sites}
    if () in named:
        return ()
    if len(named) > 1:
        raise DataError(f"the sites' {INDEX} name different classes: {'; '.join(', '.join(each) for each in sorted(named))}")
    return next(iter(named), ())


def _packed_by(folder: Path | None, options: ShardOptions, site: str) -> Pipeline:
    """What the site's samples were made by, as its index says; a damaged one is refused on reading."""
    if folder is None or not folder.is_dir():
        return AS_STORED
    index = read_index(folder if _shards(folder) else folder / site)
    if index is None or not index.pipeline:
        return AS_STORED
    try:
        return parse(index.pipeline)
    except ValueError as error:
        raise DataError(f"{folder}: the {INDEX} of site {site} names no pipeline ({error}); pack the site anew") from error


def _cases(site: _Site, classes: tuple[str, ...]) -> Cases:
    samples, left_out = _drawn(site, classes) if site.has_masks else (site.samples, site.left_out)
    _refuse_none(site.name, samples, left_out)
    x: NDArray[np.generic] = np.stack([sample.array for sample in samples])
    y = np.array([sample.mask if site.has_masks else classes.index(sample.label) for sample in samples])
    spatial = site.layout.spatial or (3 if site.has_masks and y.ndim == 4 else 2)
    columns = {name: _column(site.name, name, samples) for name in ("patient", "split")}
    if strange := sorted(set(() if columns["split"] is None else columns["split"].tolist()) - set(SPLITS)):
        raise DataError(f"site {site.name}: splits {strange} are unknown; a case is in one of {', '.join(SPLITS)}")
    return Cases(
        x if x.dtype in (np.uint8, np.uint16) else x.astype(np.float32, copy=False),
        y.astype(np.uint8 if site.has_masks else np.int64, copy=False),
        classes,
        columns["patient"],
        np.full(len(samples), site.name),
        columns["split"],
        _spacings(samples),
        _orientations(samples),
        site.layout.features,
        spatial,
        tuple((site.name, each) for each in _aside(left_out)),
    )


def _drawn(site: _Site, classes: tuple[str, ...]) -> tuple[list[Sample], list[Damage]]:
    """The samples whose masks hold nothing but classes, and those that are left out, the others among them."""
    kept, left_out = list[Sample](), list(site.left_out)
    for shard, sample in site.read:
        highest = 0 if sample.mask is None or sample.mask.size == 0 else int(sample.mask.max())
        if highest < len(classes):
            kept.append(sample)
        else:
            left_out.append(Damage(shard, sample.key, f"its mask holds {highest}; the classes are {', '.join(classes)}"))
    return kept, left_out


def _column(site: str, name: str, samples: Sequence[Sample]) -> NDArray[np.str_] | None:
    values = np.array([getattr(sample, name) for sample in samples], np.str_)
    given = values.astype(bool)
    if given.any() and not given.all():
        raise DataError(f"site {site}: only some samples have a {name}; give it to all or to none")
    return values if given.all() else None


def _spacings(samples: Sequence[Sample]) -> NDArray[np.float32] | None:
    found = [sample.spacing_mm for sample in samples]
    if not any(found):
        return None
    return np.array([[np.nan if mm is None else mm for mm in each or (None,) * 3] for each in found], np.float32)


def _orientations(samples: Sequence[Sample]) -> NDArray[np.str_] | None:
    if not any(sample.orientation for sample in samples):
        return None
    unknown = ORIENTATIONS[0]
    return np.array([sample.orientation if sample.orientation in ORIENTATIONS else unknown for sample in samples], np.str_)


def _aside(left_out: Sequence[Damage]) -> list[SetAside]:
    named = [SetAside(f"{each.shard}/{each.key or '(unknown)'}", "damaged-sample", each.reason) for each in left_out[:SHOWN]]
    if len(left_out) > SHOWN:
        named.append(SetAside("others", "damaged-sample", f"{len(left_out) - SHOWN} more samples are left out"))
    return named


SHARDS = Reader(read_shards, ShardOptions, pipeline=_packed_by)
