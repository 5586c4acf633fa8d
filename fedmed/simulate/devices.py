"""Devices of simulated clinics: whose cases they are, and how a clinic's own process trains them along.

    order -> the app on the clinic's cases -> the same app on each device's, those whose updates are there in time -> fold

A device is not a node: its clinic's process calls the app for it, on its cases, and folds what it makes by cases as a hub
does (`fedmed.tiers.fold`), within the gate. Who is there in time is the world's to say and comes with the message. Updates
of devices are folded as they are: the masks of a clinic's own round are not made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fedmed.config.members import trainers
from fedmed.config.topology import Topology
from fedmed.flower.below import with_devices
from fedmed.outbound.description import declared
from fedmed.outbound.update import CASES, Change
from fedmed.sites.cases import SPLITS, Site, pool
from fedmed.tiers import fold
from fedmed.wire.tensors import Tensors

NOTE = "devices.json"


@dataclass(frozen=True)
class Dealt:
    """The sites of a run: those that are nodes, and the devices below them."""

    clinics: tuple[Site, ...]
    devices: tuple[Site, ...]
    """They train, and nothing else."""
    under: Mapping[int, tuple[int, ...]]
    """By number of a clinic, the numbers of its devices; these are counted on from the clinics."""

    @property
    def all(self) -> tuple[Site, ...]:
        """By number."""
        return (*self.clinics, *self.devices)

    def note(self, folder: Path) -> None:
        """Write down in a folder of prepared sites how many cases each clinic's devices have together."""
        cases = [
            sum(len(self.all[each].train) for each in self.under.get(number, ())) for number in range(len(self.clinics))
        ]
        (folder / NOTE).write_text(json.dumps(cases), encoding="ascii")


def dealt(sites: Sequence[Site], topology: Topology | None) -> Dealt:
    """Sites that stand in the order of `trainers`, apart by what they are.

    What of a device's cases is for validation or for tests is its clinic's: devices are asked for updates and nothing else.
    """
    names = [] if topology is None else list(trainers(topology))
    is_device = [len(name.split("#")) > 2 for name in names] or [False] * len(sites)
    count, under, kept = is_device.count(False), dict[int, tuple[int, ...]](), list[list[Site]]()
    for site, is_one in zip(sites, is_device, strict=True):
        if is_one:
            kept[-1].append(site)
        else:
            kept.append([site])
    number, devices = count, list[Site]()
    for clinic, (_, *below) in enumerate(kept):
        if below:
            under[clinic] = tuple(range(number, number + len(below)))
            number += len(below)
            devices += [_training_alone(site) for site in below]
    return Dealt(tuple(_with(own, below) for own, *below in kept), tuple(devices), under)


def _with(own: Site, devices: Sequence[Site]) -> Site:
    if not devices:
        return own
    validation, test = (pool([getattr(site, part) for site in (own, *devices)]) for part in SPLITS[1:])
    return replace(own, validation=validation, test=test)


def _training_alone(site: Site) -> Site:
    none = np.empty(0, np.int64)
    return replace(site, validation=site.validation.take(none), test=site.test.take(none))


@lru_cache(maxsize=4)
def _cases_below(folder: Path) -> tuple[int, ...]:
    try:
        return tuple(json.loads((folder / NOTE).read_text(encoding="ascii")))
    except FileNotFoundError:
        return ()


def cases_below(folder: Path, number: int) -> int:
    """Training cases of the devices of the `number`-th clinic of a folder of prepared sites, together."""
    cases = _cases_below(folder)
    return cases[number] if number < len(cases) else 0


def around(app: Any) -> Any:
    """A ClientApp that trains a clinic's devices along, where virtual time says which."""
    return with_devices(app, _part, _folded, _described)


def _described(text: str, config: Mapping[str, Any]) -> str:
    """A site's description with the training cases of its devices: declared sizes where it declares its own."""
    told = json.loads(text)
    own, below = told["examples"]["train"], cases_below(Path(config["sites-folder"]), int(config["partition-id"]))
    told["examples"]["train"] = own + below if "class_counts" in told else declared(own + below)
    return json.dumps(told)


def _part(model: Tensors, made: Tensors, values: Mapping[str, Any]) -> fold.Part:
    """What one trainer made, of tensors that can be averaged."""
    changes = {name: np.subtract(made[name], value) for name, value in model.items() if value.dtype.kind == "f"}
    return fold.as_part(Change.of(changes), int(values[CASES]), values)


def _folded(model: Tensors, own: Tensors, parts: Sequence[fold.Part]) -> tuple[Tensors, Mapping[str, Any]]:
    """One update of all, and of what cannot be averaged the clinic's own. Raises UpdateRefused."""
    folded = fold.fold(parts, model)
    return {**own, **{name: np.add(model[name], made) for name, made in folded.change.tensors.items()}}, folded.values
