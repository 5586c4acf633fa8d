"""What `fedmed twin record` and `fedmed twin replay` do: files in, a scenario or a table out."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from fedmed import __version__
from fedmed.cli.listing import show
from fedmed.config.loading import load
from fedmed.config.scenario import Scenario
from fedmed.config.topology import Topology
from fedmed.errors import ConfigError, StoreError
from fedmed.report import replay as pages
from fedmed.report.document import write
from fedmed.twin.profiles import names
from fedmed.twin.recording import Recording, mbit, recording
from fedmed.twin.records import read
from fedmed.twin.replaying import Replay, replay
from fedmed.twin.twinfile import text


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    scenario: Path
    overrides: tuple[str, ...]
    html: Path | None
    csv: Path | None
    as_json: bool


def write_twin(center: str, out: Path, run: str | None, as_json: bool) -> None:
    """Record, and say what was measured and what could not be."""
    if "://" in center:
        raise ConfigError(
            f"{center} is an address; metrics have no times of single sites, nor speeds of their lines: name the center's "
            "folder, or a copy of it"
        )
    if out.exists():
        raise ConfigError(f"--out: {out} is there already; give another file, or take it away")
    found = recording(read(Path(center), run))
    try:
        out.write_text(text(found, __version__), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"--out: {out} cannot be written: {error.strerror or error}; give another file") from error
    if as_json:
        told = {key: value for key, value in asdict(found).items() if key != "scenario"}
        sys.stdout.write(json.dumps({"file": str(out.resolve()), **told}, ensure_ascii=False) + "\n")
    else:
        _tell_recorded(found, out)


def _tell_recorded(found: Recording, out: Path) -> None:
    rows = [
        {
            "name": each.name,
            "cases": str(each.cases),
            "training": f"{each.trains:.3g} s",
            "up": mbit(each.up) if each.is_up_seen else f"{mbit(each.up)} at least",
            "down": mbit(each.down) if each.is_down_seen else f"{mbit(each.down)}, taken",
            "answers": str(each.answers),
            "absences": str(len(each.absences)),
        }
        for each in found.sites
    ]
    show(rows, False)
    seconds = median(found.rounds)
    sys.stdout.write(
        f"{len(found.rounds)} rounds of {found.run}, median {seconds:.2f} s; center {found.center:.2f} s of that\n"
    )
    sys.stdout.write("not known:\n" + "".join(f"  {each}\n" for each in found.unknown))
    sys.stdout.write(f"written to {out}; run it: fedmed twin replay {out}\n")


def run(options: Options) -> None:
    """Replay and show."""
    overrides = [in_whole(each) for each in options.overrides]
    scenario = load(options.scenario, overrides, names())
    found = replay(scenario)
    told = facts(found, options.overrides)
    if options.html is not None:
        write(options.html, pages.page(f"Replay of {_run_of(scenario)}", told))
    if options.csv is not None:
        write(options.csv, pages.table(told))
    if options.as_json:
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    else:
        _tell_replayed(told)


def in_whole(override: str) -> str:
    """`lines.a.up=5 Mbit/s` is of the topology; keys of the scenario itself stay as they are."""
    first = override.partition("=")[0].strip().split(".")[0]
    is_topology = first in Topology.model_fields and first not in Scenario.model_fields
    return f"topology.{override}" if is_topology else override


def _run_of(scenario: Scenario) -> str:
    recorded = scenario.topology.recorded if scenario.topology is not None else None
    return recorded.run if recorded is not None else scenario.name


def facts(found: Replay, changed: tuple[str, ...]) -> dict[str, Any]:
    """For machines; seconds, and parts of what was observed."""
    rounds = [
        {
            "round": each.number,
            "predicted_s": each.predicted,
            "observed_s": each.observed,
            "error": None if each.observed is None else each.predicted / each.observed - 1,
            "verdict": each.verdict,
            "transfer": each.transfer,
            "missing": dict(each.missing),
            "sites": {name: asdict(spent) for name, spent in each.spent.items()},
        }
        for each in found.rounds
    ]
    return {
        "predicted_s": found.predicted,
        "observed_s": found.observed,
        "error": found.error,
        "transfer": median(each.transfer for each in found.rounds),
        "changed": list(changed),
        "sites": _by_site(found),
        "rounds": rounds,
        "unknown": list(found.unknown),
    }


def _by_site(found: Replay) -> dict[str, dict[str, float]]:
    """Medians over the rounds that a site is in; it waits for the others, and for the center, for the rest."""
    told: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for each in found.rounds for name in each.spent):
        mine = [(each.predicted, each.spent[name]) for each in found.rounds if name in each.spent]
        parts = {f"{part}_s": median(getattr(spent, part) for _, spent in mine) for part in ("down", "work", "up")}
        waited = median(whole - spent.down - spent.work - spent.up for whole, spent in mine)
        told[name] = {**parts, "waited_s": waited}
    return told


def _tell_replayed(told: dict[str, Any]) -> None:
    keys = ("round", "predicted, s", "observed, s", "error", "without")
    show([dict(zip(keys, row, strict=True)) for row in pages.rounds_of(told)], False)
    sys.stdout.write("\n")
    keys = ("name", "down, s", "work, s", "up, s", "waiting, s")
    if told["sites"]:
        show([dict(zip(keys, row, strict=True)) for row in pages.sites_of(told)], False)
    sys.stdout.write(
        f"\nmedian: {told['predicted_s']:.2f} s predicted, {told['observed_s']:.2f} s observed ({told['error']:+.1%}); "
        f"{told['transfer']:.0%} of a round is transfer\n"
    )
    if told["changed"]:
        sys.stdout.write(f"changed: {', '.join(told['changed'])}; what was observed was without that\n")
    sys.stdout.write("not known:\n" + "".join(f"  {each}\n" for each in told["unknown"]))
