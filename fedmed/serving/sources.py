"""Where a trained model is found: the folder of a run, or what `fedmed center models export` wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.config.loading import load as load_scenario
from fedmed.errors import ConfigError
from fedmed.learning import order as orders
from fedmed.learning import plan, weights
from fedmed.learning.order import ModelSpec
from fedmed.preprocess import pipeline as pipelines
from fedmed.preprocess.pipeline import AS_STORED, Pipeline
from fedmed.serving.exporting import Trained, card_preparation
from fedmed.store.commits import Commits
from fedmed.store.models import lineage
from fedmed.store.models.index import LINEAGE, MODEL
from fedmed.wire import tensors
from fedmed.wire.tensors import Tensors

REPORT = "report.json"
MAX_PIPELINE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Asked:
    """What is said beside the folder; what is not said is taken from it where it is there."""

    name: str
    version: str
    classes: tuple[str, ...] = ()
    scenario: Path | None = None
    """Of an exported model: what its preparation is read from."""
    pipeline: Path | None = None
    """JSON of `Pipeline.record()`: how the images were made tensors."""


def trained(folder: Path, asked: Asked) -> Trained:
    """The model in a folder. Raises ConfigError for what is not there, DataError, StoreError."""
    if (folder / "commits").is_dir():
        return of_run(folder, asked)
    place = folder / "model" if (folder / "model" / LINEAGE).is_file() else folder
    if (place / LINEAGE).is_file():
        return of_export(place, asked)
    raise ConfigError(
        f"{folder} holds neither a run (commits/) nor an exported model ({LINEAGE}); give a run's folder, or one that "
        "`fedmed center models export` wrote"
    )


def of_run(folder: Path, asked: Asked) -> Trained:
    """The final model of a run: `model.safetensors` with the specification and preparation of its last commit."""
    commit, faults = Commits(folder).latest()
    if commit is None:
        raise ConfigError(f"{folder}: no commit can be read ({'; '.join(faults) or 'there is none'})")
    spec = ModelSpec.model_validate(commit.state["spec"])
    told = orders.Preparation.model_validate(commit.state["preparation"])
    held = tensors.load(folder / MODEL)
    classes = asked.classes or _classes_of(folder, spec)
    pipeline = _pipeline(asked, commit.state.get("fingerprints", {}))
    return Trained(asked.name, asked.version, spec, _weights(spec, held), classes, card_preparation(told), pipeline)


def of_export(folder: Path, asked: Asked) -> Trained:
    """A model of the registry: its specification is in the lineage, its preparation in the scenario of the run."""
    if asked.scenario is None or not asked.classes:
        raise ConfigError(
            f"{folder}: an exported model needs --scenario, for its preparation, and --classes, in their order"
        )
    try:
        spec = ModelSpec.model_validate(lineage.read((folder / LINEAGE).read_bytes())["spec"])
    except (OSError, ValueError, LookupError) as error:
        raise ConfigError(f"{folder / LINEAGE} cannot be read ({error}); export the model anew") from error
    held = tensors.load(folder / MODEL)
    told = plan.first_preparation(load_scenario(asked.scenario))
    scale = {key: tuple(map(float, held[f"{plan.SCALE_PREFIX}{key}"])) for key in ("mean", "std") if _scaled(held)}
    said = card_preparation(told.model_copy(update=scale))
    return Trained(asked.name, asked.version, spec, _weights(spec, held), asked.classes, said, _pipeline(asked, {}))


def _scaled(held: Tensors) -> bool:
    return {f"{plan.SCALE_PREFIX}mean", f"{plan.SCALE_PREFIX}std"} <= held.keys()


def _weights(spec: ModelSpec, held: Tensors) -> Tensors:
    own = {name: value for name, value in held.items() if not name.startswith(plan.SCALE_PREFIX)}
    return weights.fit_spec(spec, own)


def _classes_of(folder: Path, spec: ModelSpec) -> tuple[str, ...]:
    """As a simulation's report has them, where there is one."""
    try:
        sites = json.loads((folder / REPORT).read_text(encoding="utf-8"))["sites"]
        named = {tuple(site["classes"]) for site in sites.values()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        named = set()
    found = named.pop() if len(named) == 1 else ()
    if len(found) != spec.classes:
        raise ConfigError(f"{folder} does not tell the names of its {spec.classes} classes; give --classes, in their order")
    return found


def _pipeline(asked: Asked, fingerprints: dict[str, Any]) -> Pipeline:
    """The one asked for, or the one that all sites of the run have told, or `AS_STORED`."""
    if asked.pipeline is not None:
        try:
            with asked.pipeline.open("rb") as file:
                return pipelines.parse(json.loads(file.read(MAX_PIPELINE_BYTES)))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{asked.pipeline}: no pipeline ({error}); give the JSON of one") from error
    return _agreed([site["pipeline"] for site in fingerprints.values()]) or AS_STORED


def _agreed(told: Sequence[dict[str, Any]]) -> Pipeline | None:
    found = [pipelines.parse(record) for record in told]
    if not found:
        return None
    if len({each.fingerprint() for each in found}) > 1:
        raise ConfigError("the sites of the run prepared their images in different ways; give --pipeline, the device's own")
    return found[0]
