"""The machines that are built in: `machines/profiles.yaml` beside the scenarios, each number with its source."""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from fedmed.config.catalogue import shipped
from fedmed.config.document import read_document
from fedmed.config.part import Part
from fedmed.config.quantities import ByteRate, Bytes, Money, Operations, Watts
from fedmed.config.topology import Precision
from fedmed.errors import ConfigError

FILE = "machines/profiles.yaml"
Kind = Literal["stated", "measured", "derived", "recalled", "assumed", "scenario"]
"""How a number is known; `scenario`: the file that is planned says so."""
Source = tuple[Kind, str]
Ratio = Annotated[float, Field(gt=0, le=1)]


class Built(Part):
    """One machine; each number beside the name of its source."""

    what: str
    auto: Precision
    speed: dict[Precision, tuple[Operations, str]]
    used: dict[Precision, tuple[Ratio, str]]
    memory: tuple[Bytes, str]
    bandwidth: tuple[ByteRate, str]
    power: tuple[Watts, str]
    idle: tuple[Watts, str]
    price: tuple[Money, str]


def _known(sources: dict[str, Source]) -> dict[str, Source]:
    if "scenario" in {kind for kind, _ in sources.values()}:
        raise ValueError("a built-in number is from no scenario")
    return sources


class Machines(Part):
    """The file."""

    machines: dict[str, Built] = Field(min_length=1)
    sources: Annotated[dict[str, Source], AfterValidator(_known)]

    @model_validator(mode="after")
    def _each_number_has_its_source(self) -> Machines:
        for name, built in self.machines.items():
            named = [*built.speed.values(), *built.used.values()]
            named += [built.memory, built.bandwidth, built.power, built.idle, built.price]
            if lacking := sorted({key for _, key in named} - set(self.sources)):
                raise ValueError(f"{name}: no source is called {', '.join(lacking)}")
            if built.auto not in built.speed or set(built.used) - set(built.speed) or built.auto not in built.used:
                raise ValueError(f"{name}: used and auto name precisions that speed lacks, or used lacks that of auto")
        return self


@cache
def machines() -> Machines:
    """All of them. Raises ConfigError where the file that travels with fedmed was damaged."""
    path = shipped("simulations") / FILE
    document = read_document(path.read_text(encoding="utf-8"), str(path))
    try:
        if document.faults:
            raise ConfigError(f"{document.faults[0]}; install fedmed again")
        return Machines.model_validate_json(json.dumps(document.value))
    except ValidationError as error:
        raise ConfigError(f"{path} cannot be read: {error}; install fedmed again") from error
