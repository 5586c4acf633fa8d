"""The table of back ends: which there are, which can run here with which precision, and why the others cannot."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Container
from typing import Protocol, cast

from fedmed.errors import ConfigError, MissingPart
from fedmed.serving.engines.engine import PLAIN, Engine, Options
from fedmed.serving.packages import Package

TABLE = {
    "tensorrt": "fedmed.serving.engines.tensorrt",
    "cuda": "fedmed.serving.engines.ort_cuda",
    "cpu": "fedmed.serving.engines.ort_cpu",
}
"""Module of each back end, the fastest first."""
PRECISIONS = ("fp32", "fp16", "int8")
"""From the safest to the fastest."""
AUTO = "auto"


class Backend(Protocol):
    """What the module of a back end offers."""

    FILES: dict[str, str]

    def why_not(self) -> str | None:
        """Why it cannot run here, or None."""

    def is_available(self) -> bool:
        """Whether it can run here."""

    def open_package(self, package: Package, precision: str, options: Options = PLAIN) -> Engine:
        """The package's model, opened."""


def versions() -> str:
    """Of what computes here: a plan, a latency and a rounding are one version's."""
    found = []
    for name in ("onnxruntime", "tensorrt"):
        if importlib.util.find_spec(name) is not None:
            found.append(f"{name} {importlib.import_module(name).__version__}")
    return ", ".join(found)


def report() -> dict[str, str]:
    """Each back end with its precisions where it runs, or why it cannot."""
    return {name: module(name).why_not() or f"runs {', '.join(module(name).FILES)}" for name in TABLE}


def module(name: str) -> Backend:
    """The back end of this name. Raises ConfigError for one that the table does not have."""
    if name not in TABLE:
        raise ConfigError(f"got the back end {name!r}, allowed: {', '.join((AUTO, *TABLE))}")
    return cast(Backend, importlib.import_module(TABLE[name]))


def able(package: Package, precision: str, backend: str = AUTO) -> list[str]:
    """The back ends that can run the package in this precision here, the fastest first."""
    return able_with(package.models, precision, backend)


def able_with(files: Container[str | None], precision: str, backend: str = AUTO) -> list[str]:
    """The same for a package that has these files, read or not."""
    names = list(TABLE) if backend == AUTO else [backend]
    return [name for name in names if module(name).is_available() and module(name).FILES.get(precision) in files]


def file_of(files: Container[str | None], precision: str, backend: str = AUTO) -> str | None:
    """The one file of a package that `open_engine` would open; None where there is none."""
    found = able_with(files, precision, backend)
    return module(found[0]).FILES[precision] if found else None


def open_engine(package: Package, precision: str = "fp32", backend: str = AUTO, options: Options = PLAIN) -> Engine:
    """The package's model, opened by the back end named or the fastest that can.

    Raises ConfigError for names that are not in the tables or a package without this precision, MissingPart for a back end
    that cannot run here, EngineFailed where it does not open the model.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"got the precision {precision!r}, allowed: {', '.join(PRECISIONS)}")
    if found := able(package, precision, backend):
        return module(found[0]).open_package(package, precision, options)
    if backend != AUTO and (reason := module(backend).why_not()):
        others = "; ".join(f"{other}: {state}" for other, state in report().items() if other != backend)
        raise MissingPart(f"the back end {backend} cannot run here: {reason}. Of the others, {others}")
    states = "; ".join(f"{name}: {state}" for name, state in report().items())
    held = ", ".join(sorted(package.models))
    raise ConfigError(f"{precision} of {package.card.name} cannot be opened here. It has {held}; back ends: {states}")
