"""From the data section of a scenario to its sites."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fedmed.config.scenario import Data
from fedmed.sites.cases import Cases, Site
from fedmed.sites.partition import partition
from fedmed.sites.readers import pipeline_of, read, reader_named
from fedmed.sites.split import split


def sites_of(data: Data, root: Path | None, seed: int, source: str) -> list[Site]:
    """The sites that `data` describes, read from below `root`, in order of first appearance.

    Raises ConfigError for a reader, option or partition that cannot be, DataError for data that is missing or unusable.
    """
    cases = read(data, root, seed, source)
    sites = [split(name, own, data.split, seed) for name, own in partition(cases, data.partition, seed).items()]
    parity = certified(cases) if reader_named(data.reader).kernels else None
    return [replace(site, pipeline=pipeline_of(data, root, site.name), parity=parity) for site in sites]


def certified(cases: Cases) -> dict[str, Any]:
    """The certificate of the kernels on this machine, for the uses that these cases were made by, or for all."""
    from fedmed.preprocess.fused.parity import certificate

    uses: Any = cases.kernels
    found = certificate(uses=uses, results=("float32",)) if uses else certificate()
    return found.as_dict()
