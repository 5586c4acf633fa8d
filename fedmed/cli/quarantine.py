"""`fedmed data quarantine`: what is set aside, why, and a person's word that it may be used all the same."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedmed.store.quarantine import Quarantine

quarantine = typer.Typer(help="What was set aside because it cannot be trusted.", no_args_is_help=True)

Folder = Annotated[
    Path,
    typer.Option("--quarantine", envvar="FEDMED_QUARANTINE", help="Folder that `fedmed data scan --quarantine` filled."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]
Name = Annotated[str, typer.Argument(metavar="ID", help="An id of the list, or the beginning of one.")]
HERE = Path("quarantine")


@quarantine.command("list")
def list_(folder: Folder = HERE, as_json: Json = False) -> None:
    """List what is set aside, the oldest first."""
    from fedmed.cli.listing import show as show_rows

    records, faults = _open(folder).records()
    for fault in faults:
        sys.stderr.write(f"fedmed: damaged record: {fault}\n")
    if as_json:
        sys.stdout.write(json.dumps([record.as_json() for record in records]) + "\n")
        return
    if not records:
        sys.stdout.write("nothing is set aside\n")
        return
    show_rows(
        [
            {
                "id": record.id,
                "since": time.strftime("%Y-%m-%d %H:%M", time.localtime(record.since)),
                "what": record.case.level,
                "reason": record.case.reason.value,
                "released": record.release.who if record.release else "no" if record.case.releasable else "cannot be",
                "where": record.case.where,
            }
            for record in records
        ],
        as_json=False,
    )


@quarantine.command()
def show(name: Name, folder: Folder = HERE, as_json: Json = False) -> None:
    """Show all of one record."""
    facts = _open(folder).record(name).as_json()
    if as_json:
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    for key, value in facts.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        sys.stdout.write(f"{key + ':':12} {shown}\n")


@quarantine.command()
def release(
    name: Name,
    who: Annotated[str, typer.Option(help="Who decides; kept in the record.")],
    why: Annotated[str, typer.Option(help="On what ground; kept in the record.")],
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """Let it be used from the next scan on, as long as its bytes stay as they are. Only judgements can be overruled."""
    record = _open(folder).release(name, who, why)
    text = f"{record.id}: released by {who}; it is used from the next scan on, unless its files change"
    sys.stdout.write((json.dumps(record.as_json()) if as_json else text) + "\n")


def _open(folder: Path) -> Quarantine:
    from fedmed.clock import SystemClock
    from fedmed.store.quarantine import Quarantine

    return Quarantine(folder, SystemClock())
