"""`fedmed data pack`: finished samples into shards or into one mapped file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedmed.errors import ConfigError
from fedmed.preprocess.pipeline import Pipeline
from fedmed.sites.cases import Cases
from fedmed.sites.readers.folder import FolderOptions, prepared_by, read_folder
from fedmed.store.packs import Pack, write_pack
from fedmed.wire.samples import Sample
from fedmed.wire.shards import write_shards

PACK = ".pack"


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    source: Path
    out: Path
    shard_bytes: int
    size: int
    as_json: bool


@dataclass(frozen=True)
class Lot:
    """One site's samples on their way into a pack or into shards; any reader can make one."""

    name: str
    """Of the site; empty where there is only one."""
    samples: Iterable[Sample]
    classes: tuple[str, ...]
    pipeline: Mapping[str, Any]
    """The record of the pipeline that made them."""


def run(options: Options) -> None:
    """Pack what `options` name and say what was written. Raises ConfigError, DataError or StoreError."""
    if options.out.exists() and (options.out.is_file() or any(options.out.iterdir())):
        raise ConfigError(f"{options.out} is there already; name a new folder or file, or remove it first")
    lots = _lots(options)
    if options.out.suffix == PACK and len(lots) > 1:
        names = ", ".join(lot.name for lot in lots)
        raise ConfigError(
            f"{options.out} would be one file for the sites {names}; name a folder, or one site's folder as IN"
        )
    written = [_write(lot, options) for lot in lots]
    if options.as_json:
        sys.stdout.write(json.dumps({"sites": written}) + "\n")
    else:
        sys.stdout.write("".join(f"{each['path']}: {each['samples']} samples\n" for each in written))


def _write(lot: Lot, options: Options) -> dict[str, Any]:
    target = options.out / lot.name
    if options.out.suffix == PACK:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        return {"site": lot.name, "path": str(options.out), "samples": write_pack(options.out, lot.samples, lot.pipeline)}
    index = write_shards(target, lot.samples, lot.classes, lot.pipeline, options.shard_bytes)
    return {"site": lot.name, "path": str(target), "samples": index["samples"], "shards": len(index["shards"])}


def _lots(options: Options) -> list[Lot]:
    if options.source.is_file():
        pack = Pack(options.source)
        return [Lot("", pack.samples(), tuple(sorted(set(pack.about.labels))), pack.about.pipeline)]
    if not options.source.is_dir():
        raise ConfigError(f"{options.source} is neither a folder of sites nor a {PACK} file")
    how = FolderOptions(size=options.size)
    return list(lots_of(read_folder(options.source, how, 0), prepared_by(how)))


def lots_of(cases: Cases, pipeline: Pipeline) -> Iterator[Lot]:
    """The cases of each site, under keys that number them."""
    sites = np.full(len(cases), "") if cases.site is None else cases.site
    names = list(dict.fromkeys(sites.tolist()))
    for name in names:
        yield Lot(
            name if len(names) > 1 else "",
            _samples(cases, np.flatnonzero(sites == name)),
            cases.classes,
            pipeline.record(),
        )


def _samples(cases: Cases, rows: Any) -> Iterator[Sample]:
    for number, row in enumerate(rows):
        patient = "" if cases.patient is None else str(cases.patient[row])
        split = "" if cases.split is None else str(cases.split[row])
        yield Sample(f"{number:08d}", cases.x[row], cases.classes[cases.y[row]], patient, split)
