"""The table of readers: which are here, and one list of readings from all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fedmed.errors import MissingPart
from fedmed.health.host import Host
from fedmed.health.jetson import Jetson
from fedmed.health.nvml import Nvml
from fedmed.health.readings import Reading, merged


class Reader(Protocol):
    """One way to read a machine."""

    @property
    def name(self) -> str:
        """For messages."""

    def why_not(self) -> str | None:
        """Why it cannot be used here; None where it can."""

    def is_available(self) -> bool:
        """Whether it can be used here."""

    def read(self) -> list[Reading]:
        """All that it tells; raises MissingPart where it cannot be used after all."""


def readers(root: Path = Path("/"), data: Path = Path("/")) -> tuple[Reader, ...]:
    """All of them, the most trusted first; no NVML on a Jetson but a Thor, where it says 0 for what it cannot read."""
    jetson = Jetson(root)
    card: tuple[Reader, ...] = () if jetson.is_available() and not jetson.is_thor else (Nvml(),)
    return (jetson, *card, Host(root, data))


def read_all(among: Sequence[Reader]) -> list[Reading]:
    """Readings of those that are available, each quantity of a device once."""
    groups: list[list[Reading]] = []
    for reader in among:
        try:
            if reader.is_available():
                groups.append(reader.read())
        except MissingPart:
            continue  # its driver went away between the two calls
    return merged(*groups)


def lines(among: Sequence[Reader]) -> list[str]:
    """For people: each reader, and why it is not used."""
    return [f"{reader.name}: {reader.why_not() or 'read'}" for reader in among]
