"""What the archive needs of the place where a hub keeps what devices sent; `fedmed.hub.kept` has both that there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Kept:
    """One object of a device that is here."""

    name: str
    """Within its holding; the same for the same content."""
    study: str
    """Its pseudonymous Study Instance UID; what else names it alone where it has none."""
    size: int
    """Bytes on the disk."""
    unix: float
    """When it came, seconds since 1970."""


class Holding(Protocol):
    """Objects of devices, each whole or absent. All methods raise StoreError, and OSError where the disk refuses."""

    def kept(self) -> list[Kept]:
        """What devices sent and is here, in the order of names."""

    def read(self, name: str) -> tuple[bytes, Mapping[str, Any]]:
        """The content of an object, and what is known of it."""

    def put(self, name: str, content: bytes, facts: Mapping[str, Any]) -> bool:
        """Have an object here under its name, on the disk; whether it was not before. One that is here stays as it is."""

    def remove(self, name: str) -> None:
        """Have an object here no more, on the disk; one that is not here, or half removed, is no error."""

    def where(self, name: str) -> Path:
        """The file of an object."""

    def tell(self, away: int) -> None:
        """Let who reads all that is here know how many objects are in the archive alone."""
