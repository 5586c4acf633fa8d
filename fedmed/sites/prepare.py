"""From the data section of a scenario to its sites."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fedmed.config.scenario import Data
from fedmed.sites.cases import Site
from fedmed.sites.partition import partition
from fedmed.sites.readers import pipeline_of, read
from fedmed.sites.split import split


def sites_of(data: Data, root: Path | None, seed: int, source: str) -> list[Site]:
    """The sites that `data` describes, read from below `root`, in order of first appearance.

    Raises ConfigError for a reader, option or partition that cannot be, DataError for data that is missing or unusable.
    """
    cases = read(data, root, seed, source)
    sites = [split(name, own, data.split, seed) for name, own in partition(cases, data.partition, seed).items()]
    return [replace(site, pipeline=pipeline_of(data, root, site.name)) for site in sites]
