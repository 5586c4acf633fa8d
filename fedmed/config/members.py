"""Those who train in a topology, one by one: what each is called, and how many training cases it has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedmed.clock import generator
from fedmed.config.topology import Cases, Clinics, Topology


def trainers(topology: Topology) -> Iterator[str]:
    """Names in the order of the file: each clinic that trains, followed by its devices.

    `small#7` is the seventh of its group, `small#7#boxes#2` the second of the devices `boxes` there: who is `small/7` among
    the topology's faults. No group's own name has a `#`, so that no two are alike; files can be called so.
    """
    for group in topology.clinics:
        for clinic in _numbered(group.name, group.count):
            yield from [clinic] if group.trains else []
            for devices in group.devices:
                yield from _numbered(f"{clinic}#{devices.name}", devices.count)


def _numbered(name: str, count: int) -> Iterator[str]:
    return (f"{name}#{number}" for number in range(1, count + 1))


def cases(topology: Topology, seed: int) -> NDArray[np.int64]:
    """Training cases of each of `trainers`, in their order, at least 1: int64 (N,), log-normal by the run's `seed`."""
    return np.concatenate([_of_group(group, seed) for group in topology.clinics])


def _of_group(group: Clinics, seed: int) -> NDArray[np.int64]:
    """A row for each clinic, its own cases first."""
    columns = [_drawn(group.cases, (group.count, 1), seed, group.name)] if group.trains else []
    columns += [
        _drawn(devices.cases, (group.count, devices.count), seed, group.name, devices.name) for devices in group.devices
    ]
    return np.concatenate(columns, axis=1).reshape(-1)


def _drawn(how: Cases, shape: tuple[int, int], seed: int, *names: str) -> NDArray[np.int64]:
    normal = generator(seed, "cases", *names).standard_normal(shape)
    return np.maximum(np.rint(how.median * np.exp(how.spread * normal)), 1).astype(np.int64)
