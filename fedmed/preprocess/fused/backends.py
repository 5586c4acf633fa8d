"""The table of back ends: one definition, who computes it here, and why the others cannot."""

from __future__ import annotations

import importlib
import os
from typing import Any, Protocol, cast

from fedmed.config.allowed import nearest
from fedmed.errors import ConfigError, MissingPart

VARIABLE = "FEDMED_BACKEND"
"""Names a back end for the whole process; an argument goes before it."""
TABLE = {
    "cupy": "fedmed.preprocess.fused.cuda",
    "numba": "fedmed.preprocess.fused.compiled",
    "numpy": "fedmed.preprocess.fused.twin",
}
"""Module of each back end, the fastest first; the last one is the definition, and always runs."""


class Backend(Protocol):
    """What every back end offers, under the same names and with the same arguments (twin.py documents them)."""

    NAME: str

    def why_not(self) -> str | None:
        """Why it cannot run here, or None."""

    def version(self) -> str:
        """Of what computes."""

    def source_sha256(self) -> str:
        """Of the source that computes."""

    def resample(self, *arguments: Any, **options: Any) -> Any:
        """Stored voxels to a tensor: twin.resample."""

    def augment(self, *arguments: Any, **options: Any) -> Any:
        """Images changed: twin_augment.augment."""

    def augment_labels(self, *arguments: Any, **options: Any) -> Any:
        """Labels moved likewise: twin_augment.augment_labels."""

    def adopted(self, array: Any) -> Any:
        """An array of another library (DLPack) as one of this back end's, without a copy where it lies there."""

    def to_host(self, array: Any) -> Any:
        """A result as a NumPy array."""


def report() -> dict[str, str]:
    """Each back end with "runs", or why it cannot run here."""
    return {name: _module(name).why_not() or "runs" for name in TABLE}


def best() -> Backend:
    """The fastest that runs here."""
    return next(module for module in map(_module, TABLE) if module.why_not() is None)


def chosen(name: str | None = None) -> Backend:
    """The back end named, or the one that FEDMED_BACKEND names, or the fastest that runs here.

    Raises ConfigError for a name that is not in the table, and MissingPart for one that cannot run here.
    """
    wanted = name or os.environ.get(VARIABLE)
    if not wanted:
        return best()
    if wanted not in TABLE:
        raise ConfigError(f"got the back end {wanted!r}{nearest(wanted, list(TABLE))}, allowed: {', '.join(TABLE)}")
    module = _module(wanted)
    if reason := module.why_not():
        others = "; ".join(f"{other}: {state}" for other, state in report().items() if other != wanted)
        raise MissingPart(f"the back end {wanted} cannot run here: {reason}. Of the others, {others}")
    return module


def _module(name: str) -> Backend:
    return cast(Backend, importlib.import_module(TABLE[name]))
