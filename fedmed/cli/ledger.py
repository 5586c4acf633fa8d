"""`fedmed ledger`, `fedmed data ledger`: a clinic's own look at what left it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from fedmed.cli import listing
from fedmed.errors import DataError
from fedmed.store import ledgers
from fedmed.store.departures import carried_by
from fedmed.wire.visible import visible

if TYPE_CHECKING:
    from fedmed.store.departures import Departure
    from fedmed.store.ledger import Entry
    from fedmed.store.ledgers import Clinic

NOTHING = "nothing has left this site\n"
_SHORT = 8  # digits of a digest: enough to look it up


def tell(path: Path, html: Path | None, as_json: bool) -> None:
    """Print what the ledgers at `path` hold, or write the page. Raises DataError and StoreError, as `ledgers.read`."""
    clinics = ledgers.read(path)
    if html is not None:
        from fedmed.clock import SystemClock
        from fedmed.report.departures import write_page

        write_page(clinics, html, SystemClock().unix())
    if as_json:
        sys.stdout.write(json.dumps({"clinics": [each.as_json() for each in clinics]}, ensure_ascii=False) + "\n")
    elif html is not None:
        sys.stdout.write(f"{html.resolve()}\n")
    else:
        for number, clinic in enumerate(clinics):
            sys.stdout.write("\n" * bool(number))
            _tell(clinic)


def tell_own(folder: Path, html: Path | None, as_json: bool) -> None:
    """The same for a clinic's folder. Raises ConfigError for a folder that is none, and as `tell`."""
    from fedmed.clinic.folder import open_clinic
    from fedmed.clock import SystemClock

    own = open_clinic(folder, SystemClock()).path / ledgers.FOLDER
    if html is None and not any(own.glob("*")):
        sys.stdout.write('{"clinics": []}\n' if as_json else NOTHING)
    else:
        tell(own, html, as_json)


def show(file: Path, as_json: bool) -> None:
    """Print every entry of one file. Raises StoreError where the ledger is not what was written."""
    clinic = _one(file)
    if as_json:
        entries = [asdict(entry) for entry in clinic.statements] + [asdict(entry) for entry in clinic.departures]
        sys.stdout.write(json.dumps(entries, ensure_ascii=False) + "\n")
        return
    _tables(clinic)


def verify(file: Path, as_json: bool) -> None:
    """Say how many lines were checked. Raises StoreError, naming the line, where one is wrong."""
    count = _one(file).files[0].lines
    sys.stdout.write(json.dumps({"lines": count, "status": "ok"}) + "\n" if as_json else f"{count} lines, all as written\n")


def _one(file: Path) -> Clinic:
    if not file.is_file():
        raise DataError(f"{file} is not there; give a site's ledger (.jsonl)")
    return ledgers.read(file)[0]


def _tell(clinic: Clinic) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    console.print(Text(f"clinic {visible(clinic.name)}", style="bold"))
    _tables(clinic)
    for file in clinic.files:
        lines = f"{file.lines} line{'s' if file.lines != 1 else ''}"
        console.print(Text(f"{visible(str(file.path))}: {lines}, all as written; head {file.head}"))
    for warning in _warnings(clinic.departures):
        console.print(Text(warning, style="bold red"))


def _tables(clinic: Clinic) -> None:
    for run, departures in groupby(clinic.departures, lambda each: (each.federation, each.run, each.mode)):
        federation, name, mode = map(visible, run)
        sys.stdout.write(f"federation {federation}, run {name}, masks {mode}\n")
        listing.show(_sendings(list(departures)), as_json=False)
    if clinic.statements:
        listing.show([_told(each) for each in clinic.statements], as_json=False)
    if not clinic.departures and not clinic.statements:
        sys.stdout.write(NOTHING)


def _sendings(sent: list[Departure]) -> list[dict[str, str]]:
    rows = [_sent(each) for each in sent]
    if any(each.carried for each in sent):
        for row, each in zip(rows, sent, strict=True):
            row["carries"] = carried_by(each, sent)
    return rows


def _sent(departure: Departure) -> dict[str, str]:
    return {
        "when": _when(departure.unix),
        "round": "" if departure.round is None else str(departure.round),
        "purpose": departure.purpose,
        "bytes": str(departure.bytes),
        "cohort": f"{departure.cohort}/{departure.members}",
        "norm": _number(departure.norm),
        "noise": _number(departure.noise),
        "epsilon": _number(departure.epsilon),
        "digest": departure.vector_blake3[:_SHORT],
    }


def _told(entry: Entry) -> dict[str, str]:
    return {
        "when": _when(entry.unix),
        "what": entry.what,
        "purpose": entry.purpose,
        "approved by": entry.approved,
        "data set": entry.dataset[:16],
        "bytes": str(len(entry.statement.encode())),
    }


def _warnings(sent: Sequence[Departure]) -> list[str]:
    open_ = sum(not each.is_masked for each in sent)
    return [f"{open_} of {len(sent)} left without masks: whoever received them could read them"] if open_ else []


def _when(unix: float) -> str:
    return datetime.fromtimestamp(unix, timezone.utc).strftime("%Y-%m-%d %H:%M")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
