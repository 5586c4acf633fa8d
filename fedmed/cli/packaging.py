"""What the commands of `fedmed model` do."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedmed.cli import listing
from fedmed.clock import SystemClock
from fedmed.config.catalogue import find
from fedmed.config.loading import load
from fedmed.errors import ConfigError, EngineFailed
from fedmed.report.formats import data_size
from fedmed.serving import cases as own_cases
from fedmed.serving.climbing import CheckSet, Trial, rungs
from fedmed.serving.engines import table
from fedmed.serving.ladder import choose
from fedmed.serving.packages import Package
from fedmed.serving.testing import Limits, self_test_apart
from fedmed.sites.cases import Cases


@dataclass(frozen=True)
class Named:
    """What the command line says of a model."""

    name: str
    version: str
    classes: str
    scenario: Path | None
    pipeline: Path | None


@dataclass(frozen=True)
class Own:
    """What the command line says of the clinic's cases."""

    scenario: str
    data: Path | None
    site: str | None
    part: str

    def read(self) -> Cases:
        """The cases."""
        return own_cases.read_cases(load(find(self.scenario)), self.data, self.part, self.site)


def export_model(source: Path, out: Path, said: Named, as_json: bool) -> None:
    """Export. Raises ConfigError, DataError, EngineFailed, MissingPart, PackageRefused."""
    from fedmed.serving.exporting import export
    from fedmed.serving.sources import Asked, trained

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not an empty folder; name a new one")
    names = tuple(part.strip() for part in said.classes.split(",") if part.strip())
    asked = Asked(said.name, said.version, names, said.scenario, said.pipeline)
    _tell(export(trained(source, asked), out), as_json)


def quantise_model(folder: Path, own: Own, count: int, ranges: str, as_json: bool) -> None:
    """Quantise. Raises ConfigError, DataError, EngineFailed, MissingPart, PackageRefused."""
    from fedmed.serving.quantising import quantise

    package = Package.load(folder)
    _tell(quantise(package, own_cases.spread(package.card, own.read(), count), ranges), as_json)


def check_package(folder: Path, backend: str, seconds: float, as_json: bool) -> None:
    """Check. Raises PackageRefused, ConfigError, MissingPart, and EngineFailed where a self-test fails."""
    package = Package.load(folder)
    tried = [(one, name) for one in table.PRECISIONS for name in table.able(package, one, backend)]
    if not tried:
        table.open_engine(package, table.PRECISIONS[0], backend)  # says why there is none
    verdicts = [(*one, self_test_apart(folder, *one, Limits(seconds=seconds))) for one in tried]
    told = [{"precision": one, "backend": name, **asdict(verdict)} for one, name, verdict in verdicts]
    failed = [f"{one['precision']} on {one['backend']}: {one['reason']}" for one in told if not one["passed"]]
    if as_json:
        _write({**_facts(package), "tests": told})
    else:
        sys.stdout.write(_line(package))
        rows = [{key: str(one[key]) for key in ("precision", "backend", "passed", "reason")} for one in told]
        listing.show(rows, as_json)
    if failed:
        raise EngineFailed(f"the self-test failed ({'; '.join(failed)}); do not release it to devices like this one")


def climb(folder: Path, own: Own, measure: str, runs: int, as_json: bool) -> None:
    """Choose a precision. Raises ConfigError, DataError, PackageRefused, and EngineFailed where none is left."""
    package = Package.load(folder)
    x, y = own_cases.check_set(package.card, own.read())
    choice = choose(list(rungs(package, CheckSet(x, y, measure), SystemClock(), Trial(runs))))
    if as_json:
        chosen = None if choice.rung is None else {"precision": choice.rung.precision, "backend": choice.rung.backend}
        _write({**_facts(package), "chosen": chosen, "cases": len(x), "rungs": [asdict(row) for row in choice.rows]})
    else:
        listing.show([_row(asdict(row)) for row in choice.rows], as_json)
    if choice.rung is None:
        raise EngineFailed("no precision of this model can run here; the reasons are above")


def _row(told: dict[str, Any]) -> dict[str, str]:
    latency, lost = told["median_ms"], told["loss_points"]
    return {
        "precision": told["precision"],
        "backend": told["backend"],
        "median ms": "" if latency is None else f"{latency:.2f}",
        "points lost": "" if lost is None else f"{lost:.2f}",
        "reason": told["reason"],
    }


def _facts(package: Package) -> dict[str, Any]:
    card = package.card
    files = {name: file.bytes for name, file in card.files.items()}
    named = {"name": card.name, "version": card.version, "digest": card.digest, "folder": str(package.folder.resolve())}
    return {**named, "files": files, "tolerances": dict(card.tolerances)}


def _line(package: Package) -> str:
    card = package.card
    files = ", ".join(f"{name} ({data_size(file.bytes)})" for name, file in sorted(card.files.items()))
    return f"{card.name} {card.version}: {files}\ndigest {card.digest}\n"


def _tell(package: Package, as_json: bool) -> None:
    if as_json:
        _write(_facts(package))
    else:
        sys.stdout.write(_line(package))


def _write(facts: Any) -> None:
    sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
