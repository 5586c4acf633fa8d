"""`fedmed data pack`: finished samples of any scenario, folder or pack into shards or into one mapped file."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.cli.bars import Bar
from fedmed.config.catalogue import builtin_scenarios, find
from fedmed.config.loading import load
from fedmed.errors import ConfigError, DataError
from fedmed.preprocess.pipeline import Pipeline
from fedmed.sites.cases import Cases, SetAside
from fedmed.sites.partition import partition
from fedmed.sites.readers import pipeline_of, read
from fedmed.sites.readers.folder import FolderOptions, prepared_by, read_folder
from fedmed.store.packs import Pack, write_pack
from fedmed.twin import profiles
from fedmed.wire.samples import NO_LAYOUT, Layout, Sample
from fedmed.wire.shards import write_shards

PACK = ".pack"
SCENARIO = (".yaml", ".yml")
SIZE = 224
SHOWN = 20
"""What was set aside, as far as a person is shown it; --json has it all."""


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    source: str
    out: Path
    data: Path | None
    overrides: tuple[str, ...]
    shard_bytes: int
    size: int | None
    as_json: bool


@dataclass(frozen=True)
class Lot:
    """One site's samples on their way into a pack or into shards; any reader can make one."""

    name: str
    """Of the site; empty where OUT itself is the one site."""
    samples: Iterable[Sample]
    count: int
    classes: tuple[str, ...]
    pipeline: Mapping[str, Any]
    """The record of the pipeline that made them."""
    layout: Layout = NO_LAYOUT


@dataclass(frozen=True)
class Load:
    """All that is to be packed, and what its reader left out."""

    lots: tuple[Lot, ...]
    set_aside: tuple[tuple[str, SetAside], ...] = ()


def run(options: Options) -> None:
    """Pack what `options` name and say what was written. Raises ConfigError, DataError or StoreError."""
    if options.out.exists() and (options.out.is_file() or any(options.out.iterdir())):
        raise ConfigError(f"{options.out} is there already; name a new folder or file, or remove it first")
    with Bar("cases") as bar:
        load = _load(options, bar)
        if options.out.suffix == PACK and len(load.lots) > 1:
            names = ", ".join(lot.name for lot in load.lots)
            raise ConfigError(
                f"{options.out} would be one file for the sites {names}; name a folder, or one site's folder as IN"
            )
        written, total, done = list[dict[str, Any]](), sum(lot.count for lot in load.lots), 0
        for lot in load.lots:
            written.append(_write(lot, _counted(lot.samples, bar, done, total), options))
            done += lot.count
    aside = [{"site": site, **asdict(each)} for site, each in load.set_aside]
    if options.as_json:
        sys.stdout.write(json.dumps({"sites": written, "set_aside": aside}, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(written, aside)))


def _counted(samples: Iterable[Sample], bar: Bar, before: int, total: int) -> Iterator[Sample]:
    for done, sample in enumerate(samples, before + 1):
        yield sample
        bar("pack", done, total)


def _write(lot: Lot, samples: Iterable[Sample], options: Options) -> dict[str, Any]:
    if options.out.suffix == PACK:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        count = write_pack(options.out, samples, lot.pipeline, lot.classes, lot.layout)
        return {"site": lot.name, "path": str(options.out), "samples": count}
    target = options.out / lot.name
    index = write_shards(target, samples, lot.classes, lot.pipeline, options.shard_bytes, lot.layout)
    return {
        "site": lot.name,
        "path": str(target),
        "samples": index["samples"],
        "shards": len(index["shards"]),
        "masks": index["masks"],
    }


def _lines(written: list[dict[str, Any]], aside: list[dict[str, str]]) -> Iterator[str]:
    for each in written:
        yield f"{each['path']}: {each['samples']} samples{' with masks' if each.get('masks') else ''}"
    for one in aside[:SHOWN]:
        yield f"  {one['site']}: {one['what']} was set aside: {one['reason']}. {one['sentence']}"
    if len(aside) > SHOWN:
        yield f"  and {len(aside) - SHOWN} more; --json lists them all"


def _load(options: Options, bar: Bar) -> Load:
    path = Path(options.source)
    if _is_scenario(options.source):
        if options.size is not None:
            raise ConfigError("--size is for folders with manifests; a scenario says itself what its images become (--set)")
        return _of_scenario(options, bar)
    if options.overrides:
        raise ConfigError(f"--set is for scenarios, and {path} is none")
    if path.is_file():
        return Load((_of_pack(path),))
    if not path.is_dir():
        known = ", ".join(builtin_scenarios())
        raise ConfigError(
            f"{path} is neither a folder of sites nor a {PACK} file, and no scenario: a file (.yaml), or one of {known}"
        )
    bar("read", 0, None)
    how = FolderOptions(size=options.size or SIZE)
    cases = _numbered(read_folder(path, how, 0))
    bar("read", len(cases), len(cases))
    return Load(tuple(lots_of(cases, prepared_by(how))), cases.set_aside)


def _is_scenario(source: str) -> bool:
    """Raises ConfigError where it may mean either of two things."""
    built_in = source in builtin_scenarios()
    if built_in and Path(source).exists():
        raise ConfigError(f"{source!r} is a built-in scenario, and a folder or file here; write ./{source} for the latter")
    return built_in or source.lower().endswith(SCENARIO)


def _of_scenario(options: Options, bar: Bar) -> Load:
    """The sites of a scenario, read and dealt as `fedmed simulate` does."""
    scenario = load(find(options.source), options.overrides, profiles.names())
    bar("read", 0, None)
    cases = _numbered(read(scenario.data, options.data, scenario.seed, scenario.source))
    bar("read", len(cases), len(cases))
    sites = partition(cases, scenario.data.partition, scenario.seed, scenario.topology)
    lots = tuple(
        _lot(name, own, np.arange(len(own)), pipeline_of(scenario.data, options.data, name), position)
        for position, (name, own) in enumerate(sites.items())
    )
    return Load(lots, cases.set_aside)


def _of_pack(path: Path) -> Lot:
    pack = Pack(path)
    classes = tuple(pack.about.classes) or tuple(sorted(set(pack.about.labels)))
    return Lot("", pack.samples(), len(pack), classes, pack.about.pipeline, pack.layout)


def lots_of(cases: Cases, pipeline: Pipeline) -> Iterator[Lot]:
    """The cases of each site, under keys that number them."""
    sites = np.full(len(cases), "") if cases.site is None else cases.site
    names = list(dict.fromkeys(sites.tolist()))
    for position, name in enumerate(names):
        yield _lot(name if len(names) > 1 else "", cases, np.flatnonzero(sites == name), pipeline, position)


def _numbered(cases: Cases) -> Cases:
    """Patients by number, in order of first appearance: shards travel, and need only say whose cases belong together."""
    if cases.patient is None:
        return cases
    if not all(cases.patient.tolist()):
        raise DataError("a case has an empty patient; fill it, or leave the whole column out")
    numbers = {name: f"{number:06d}" for number, name in enumerate(dict.fromkeys(cases.patient.tolist()))}
    return replace(cases, patient=np.array([numbers[name] for name in cases.patient.tolist()]))


def _lot(name: str, cases: Cases, rows: NDArray[np.integer], pipeline: Pipeline, position: int) -> Lot:
    layout = Layout(cases.spatial, cases.features, position)
    return Lot(name, _samples(cases, rows), len(rows), cases.classes, pipeline.record(), layout)


def _samples(cases: Cases, rows: NDArray[np.integer]) -> Iterator[Sample]:
    for number, row in enumerate(rows.tolist()):
        yield Sample(
            f"{number:08d}",
            cases.x[row],
            "" if cases.has_masks else cases.classes[cases.y[row]],
            _text(cases.patient, row, "patient"),
            _text(cases.split, row, "split"),
            cases.y[row] if cases.has_masks else None,
            None if cases.spacing_mm is None else _lengths(cases.spacing_mm[row]),
            "" if cases.orientation is None else str(cases.orientation[row]),
        )


def _text(column: NDArray[np.str_] | None, row: int, name: str) -> str:
    text = "" if column is None else str(column[row])
    if column is not None and not text:
        raise DataError(f"case {row} has an empty {name}; fill it, or leave the whole column out")
    return text


def _lengths(spacing: NDArray[np.float32]) -> tuple[float | None, ...]:
    return tuple(float(mm) if math.isfinite(mm) else None for mm in spacing)
