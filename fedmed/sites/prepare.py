"""From the data section of a scenario to its sites."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fedmed.config.members import trainers
from fedmed.config.scenario import Data
from fedmed.config.topology import Topology
from fedmed.errors import ConfigError
from fedmed.sites.cases import Cases, Site
from fedmed.sites.partition import partition
from fedmed.sites.readers import pipeline_of, read, reader_named
from fedmed.sites.split import split


def sites_of(data: Data, root: Path | None, seed: int, source: str, topology: Topology | None = None) -> list[Site]:
    """The sites that `data` describes, read from below `root`, in order of first appearance, or of those who train.

    Raises ConfigError for a reader, option or partition that cannot be, or sites that are not those who train in
    `topology`; DataError for data that is missing or unusable.
    """
    cases = read(data, root, seed, source)
    dealt = partition(cases, data.partition, seed, topology)
    if topology is not None and topology.learning == "real":
        _refuse_another_number(list(dealt), sum(1 for _ in trainers(topology)))
    sites = [split(name, own, data.split, seed) for name, own in dealt.items()]
    parity = certified(cases) if reader_named(data.reader).kernels else None
    return [replace(site, pipeline=pipeline_of(data, root, site.name), parity=parity) for site in sites]


def _refuse_another_number(names: list[str], train: int) -> None:
    if len(names) != train:
        raise ConfigError(
            f"the data has {len(names)} sites ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}), and {train} "
            "train in the topology, each on a site of its own; write data.partition.by: topology, which deals to each its "
            "share, or other counts"
        )


def certified(cases: Cases) -> dict[str, Any]:
    """The certificate of the kernels on this machine, for the uses that these cases were made by, or for all."""
    from fedmed.preprocess.fused.parity import certificate

    uses: Any = cases.kernels
    found = certificate(uses=uses, results=("float32",)) if uses else certificate()
    return found.as_dict()
