"""The cases of one site out of its own files, as a clinic registers them and a device trains on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedmed.config.scenario import Data, Split
from fedmed.errors import ConfigError
from fedmed.sites.cases import Site
from fedmed.sites.partition import refuse_site_names
from fedmed.sites.prepare import certified
from fedmed.sites.readers import pipeline_of, read, reader_named
from fedmed.sites.split import split

MADE = "-"
"""Stands for the folder of a set that its reader makes itself."""


class SeveralSites(ConfigError):
    """The files hold more than one site, and none was chosen."""

    def __init__(self, sites: tuple[str, ...]) -> None:
        super().__init__(f"the files hold {len(sites)} sites; say which is this clinic's: --site {' | '.join(sites)}")
        self.sites = sites


@dataclass(frozen=True)
class Source:
    """Where a data set's cases come from, and how they are read."""

    reader: str
    folder: str
    options: dict[str, Any]
    site: str | None
    split: Split
    seed: int


def site_of(source: Source, member: str) -> tuple[Site, tuple[str, ...]]:
    """The clinic's cases, split, under its own name, and the names of all sites that the files hold."""
    data, root = _data(source)
    cases = read(data, root, source.seed, "")
    names = tuple(dict.fromkeys(cases.site.tolist())) if cases.site is not None else ()
    refuse_site_names(names)
    chosen = source.site if source.site is not None else (names[0] if len(names) == 1 else None)
    if source.site is not None and source.site not in names:
        raise ConfigError(f"the files hold no site {source.site!r}; they hold: {', '.join(names) or 'one, without a name'}")
    if chosen is None and names:
        raise SeveralSites(names)
    if chosen is not None:
        cases = cases.take((cases.site == chosen).nonzero()[0])  # type: ignore[union-attr]
    own = replace(split(chosen or member, cases, data.split, source.seed), name=member)
    parity = certified(cases) if reader_named(data.reader).kernels else None
    return replace(own, pipeline=pipeline_of(data, root, chosen or member), parity=parity), names


def _data(source: Source) -> tuple[Data, Path | None]:
    needs = reader_named(source.reader).needs_folder
    if needs != (source.folder != MADE):
        wanted = "reads a folder: give --folder PATH" if needs else "makes its cases itself: leave out --folder"
        raise ConfigError(f"the reader {source.reader!r} {wanted}")
    root = Path(source.folder) if needs else None
    if root is not None and not root.exists():
        raise ConfigError(f"{root} is not there; give the folder (or file) of the data set with --folder")
    return Data(reader=source.reader, options=source.options, split=source.split), root
