"""Whether a clinic's registered data set is what a center's scenario describes.

A scenario is written for the place where it was simulated. What it says of that place need not hold at a clinic:

- `data.folder` and `data.partition`: the clinic's cases lie elsewhere, and are one site;
- `data.split` and the seed: which patients are held back is the clinic's own affair; what differs is told, not refused;
- options that name files or columns, or that only say how fast to read (`LOCAL`).

All else decides what the model is shown, and has to be equal: the reader, and every other option of it.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from fedmed.config.allowed import shown
from fedmed.config.dataset import DataSet
from fedmed.config.scenario import Options, Scenario
from fedmed.sites.readers import reader_named

LOCAL: dict[str, frozenset[str]] = {
    "csv": frozenset({"file", "label", "site", "patient", "split"}),
    "npz": frozenset({"file"}),
    "heart": frozenset({"verify"}),
    "studies": frozenset({"cache_mb", "workers"}),
}
"""Options by reader that may differ from the scenario's."""


def faults(scenario: Scenario, dataset: DataSet) -> list[str]:
    """Why the data set cannot take part; empty where it can."""
    data = scenario.data
    if data.reader != dataset.reader:
        return [f"data.reader: the run reads {data.reader}, data set {dataset.name} was registered as {dataset.reader}"]
    asked, own = _full(data.reader, data.options), _full(data.reader, dataset.options)
    return [
        f"data.options.{key}: the run has {shown(asked.get(key))}, data set {dataset.name} {shown(own.get(key))}"
        for key in sorted({*asked, *own} - LOCAL.get(data.reader, frozenset()))
        if asked.get(key) != own.get(key)
    ]


def notes(scenario: Scenario, dataset: DataSet) -> list[str]:
    """What differs and may."""
    split, found = scenario.data.split, list[str]()
    for key in ("test", "validation"):
        asked, own = getattr(split, key), getattr(dataset.split, key)
        if asked != own:
            found.append(f"data.split.{key}: the run has {asked:g}, data set {dataset.name} {own:g}, which stays")
    theirs = scenario.seed if split.seed is None else split.seed
    ours = dataset.seed if dataset.split.seed is None else dataset.split.seed
    if theirs != ours:
        found.append(
            f"the seed of the split is {theirs} in the run and {ours} here, which stays: other patients are held back "
            "than in a simulation of the run"
        )
    return found


def _full(reader: str, options: Options) -> dict[str, Any]:
    """The options with those that were left out; as they are where they are wrong, which the reader says better."""
    try:
        return reader_named(reader).options.model_validate_json(json.dumps(options)).model_dump(mode="json")
    except ValidationError:
        return dict(options)
