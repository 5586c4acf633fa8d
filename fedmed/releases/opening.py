"""The folder of an authority, for programs that start without python-tuf."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fedmed.clock import Clock
from fedmed.errors import MissingPart
from fedmed.releases.fetching import METADATA

if TYPE_CHECKING:
    from fedmed.releases.repository import Repository


def repository(folder: Path, clock: Clock) -> Repository:
    """The folder, begun or not. Raises MissingPart without python-tuf."""
    try:
        from fedmed.releases.repository import Repository
    except ModuleNotFoundError as error:
        raise MissingPart(f"releases need {error.name}, which is not installed: pip install 'fedmed[edge]'") from error
    return Repository(folder, clock)


def is_begun(folder: Path) -> bool:
    """Whether there is a channel in it."""
    return (folder / METADATA / "timestamp.json").is_file()
