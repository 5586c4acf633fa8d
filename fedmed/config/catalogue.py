"""Finds the scenario and role files that travel with fedmed: in the wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fedmed.config.allowed import nearest
from fedmed.errors import ConfigError, MissingPart

Kind = Literal["simulations", "server", "clients", "kernels"]

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(kind: Kind) -> Path:
    """Folder of the files shipped under `kind`.

    A folder beside the package counts only in a checkout: beside an installed package it is somebody else's.
    Raises MissingPart where neither is there.
    """
    inside = _PACKAGE / "shipped" / kind
    if inside.is_dir():
        return inside
    beside = _PACKAGE.parent / kind
    if (_PACKAGE.parent / "pyproject.toml").is_file() and beside.is_dir():
        return beside
    raise MissingPart(f"the {kind} files are neither in {inside} nor in {beside}; install fedmed again")


def builtin_scenarios() -> dict[str, Path]:
    """File of each built-in scenario by name, sorted."""
    return {file.stem: file for file in sorted(shipped("simulations").glob("*.yaml"))}


def find(name_or_path: str) -> Path:
    """File of a built-in scenario, or the scenario file named; ConfigError with the names known where there is none."""
    known = builtin_scenarios()
    if name_or_path in known:
        return known[name_or_path]
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise ConfigError(
        f"got the scenario {name_or_path!r}{nearest(name_or_path, list(known))}, "
        f"allowed: a built-in name ({', '.join(known)}) or a scenario file (YAML)"
    )
