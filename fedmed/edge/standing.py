"""What commands and the agent of one folder have in common: files by which one tells the other."""

from __future__ import annotations

from pathlib import Path

PAUSED, RESULTS = "paused", "results"
"""A file that is there while staff wants no image to be looked at; the folder of results."""


def results_of(folder: Path) -> list[Path]:
    """Results as JSON, the oldest first."""
    return sorted((folder / RESULTS).glob("*/*.json"), key=lambda path: (path.parent.name, path.stat().st_mtime_ns))
