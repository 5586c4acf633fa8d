"""Flower's strategies by name, and how one is built from a scenario."""

from __future__ import annotations

import importlib
import inspect
import logging
from typing import Any

from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAdam, Strategy

from fedmed.config import plugins
from fedmed.errors import ConfigError
from fedmed.flower.fltrust import FLTrust
from fedmed.flower.memory import owners

GROUP = "fedmed.strategies"

TABLE: dict[str, type[Strategy]] = {
    "fedavg": flower.FedAvg,
    "fedavgm": flower.FedAvgM,
    "fedprox": flower.FedProx,
    "fedadam": FedAdam,
    "fedyogi": flower.FedYogi,
    "fedadagrad": flower.FedAdagrad,
    "fedmedian": flower.FedMedian,
    "fedtrimmedavg": flower.FedTrimmedAvg,
    "qfedavg": flower.QFedAvg,
    "krum": flower.Krum,
    "multikrum": flower.MultiKrum,
    "bulyan": flower.Bulyan,
}

OWN: dict[str, type[Strategy]] = {"fltrust": FLTrust}
"""Strategies that Flower does not have."""

AVAILABILITY = ("min_train_nodes", "min_evaluate_nodes", "min_available_nodes")
FRACTIONS = ("fraction_train", "fraction_evaluate")
TYPES: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (int, float), "str": (str,)}
OURS: dict[str, dict[str, Any]] = {"qfedavg": {"train_loss_key": "loss"}}  # what our clients call it


def find(name: str) -> type[Strategy]:
    """The strategy class of a table name, an entry point or `module:Class`. Raises ConfigError for any other."""
    if name in TABLE or name in OWN:
        return {**TABLE, **OWN}[name]
    loaded = plugins.load(GROUP, name, "strategy.name")
    if loaded is None:
        module, colon, attribute = name.partition(":")
        if not colon:
            known = ", ".join(sorted([*TABLE, *OWN, *plugins.names(GROUP)]))
            raise ConfigError(f"strategy.name: got {name!r}, allowed: {known}, or module:Class of your own Flower Strategy")
        try:
            loaded = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise ConfigError(
                f"strategy.name: {name!r} cannot be imported: {error}. Where {module} is a file of this folder, put the "
                "folder on the path: PYTHONPATH=."
            ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Strategy)):
        raise ConfigError(f"strategy.name: {name!r} is {loaded!r}, not a flwr.serverapp.strategy.Strategy class")
    return loaded


def build(name: str, options: dict[str, Any], sites: int) -> Strategy:
    """The strategy, told how many sites there are where it has no wish of its own.

    Flower waits for ever for nodes that never come; asking for more than there are is refused here. Raises ConfigError.
    """
    chosen = find(name)
    allowed = arguments(chosen)
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ConfigError(f"strategy.options: {', '.join(unknown)} unknown to {name}; allowed: {', '.join(allowed)}")
    _check_types(options, allowed)
    if "proximal_mu" in options and chosen is flower.FedProx:
        raise ConfigError("strategy.options.proximal_mu: FedProx's term is the sites' work here; set training.proximal_mu")
    logging.getLogger("flwr").setLevel(logging.ERROR)  # FedProx warns of a term of 0, which is not where ours comes from
    settings = {key: min(2, sites) for key in AVAILABILITY if key in allowed} | OURS.get(name, {}) | options
    try:
        strategy = chosen(**settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"strategy.options: {name} refuses {options}: {error}") from error
    for path, owner in owners(strategy):
        _check_demands(path, owner, sites)
    return strategy


def _check_types(options: dict[str, Any], allowed: dict[str, inspect.Parameter]) -> None:
    for key, value in options.items():
        told = allowed[key].annotation
        name = told if isinstance(told, str) else getattr(told, "__name__", "")
        fits = isinstance(value, TYPES.get(name, object)) and (name == "bool" or not isinstance(value, bool))
        if name in TYPES and not fits and key not in (*AVAILABILITY, *FRACTIONS):
            raise ConfigError(f"strategy.options.{key}: got {value!r}, allowed: {name}")
        if key.endswith("_aggr_fn"):
            raise ConfigError(f"strategy.options.{key}: a scenario cannot hold a function; name a Strategy of your own")


def _check_demands(path: str, strategy: Strategy, sites: int) -> None:
    for key, most in [*dict.fromkeys(AVAILABILITY, sites).items(), *dict.fromkeys(FRACTIONS, 1).items()]:
        wished = getattr(strategy, key, 0)
        if not isinstance(wished, (int, float)) or not 0 <= wished <= most:
            where = f"{path}{key} of {type(strategy).__name__}" if path else f"strategy.options.{key}"
            raise ConfigError(f"{where}: got {wished!r}, allowed: 0 to {most}" + (" (the sites)" if most == sites else ""))


def arguments(chosen: type[Strategy]) -> dict[str, inspect.Parameter]:
    """Keyword arguments that a strategy class takes, those of its bases included."""
    found: dict[str, inspect.Parameter] = {}
    for base in inspect.getmro(chosen):
        for parameter in _constructor(base):
            if parameter.name != "self" and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found.setdefault(parameter.name, parameter)
        if "__init__" in vars(base) and not _forwards(base):
            break
    return found


def _forwards(base: type) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in _constructor(base))


def _constructor(base: type) -> list[inspect.Parameter]:
    return list(inspect.signature(vars(base)["__init__"]).parameters.values()) if "__init__" in vars(base) else []
