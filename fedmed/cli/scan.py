"""`fedmed data scan`: what a folder holds, as a table for a person or a line of JSON an object for a program."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fedmed.cli.bars import Bar
from fedmed.clock import SystemClock
from fedmed.dicom.reasons import SENTENCES, Status
from fedmed.dicom.stacks import Stack
from fedmed.dicom.survey import Survey, survey
from fedmed.errors import DataError
from fedmed.store.intake import take_in
from fedmed.store.quarantine import Quarantine
from fedmed.wire.words import count

SHOWN, NAMED = 24, 4  # letters of a series UID in the table; series and files named for each reason


@dataclass(frozen=True)
class Options:
    """Of the command line."""

    root: Path
    quarantine: Path | None
    pixels: bool
    workers: int
    as_json: bool


def run(options: Options) -> None:
    """Scan and print. What is quarantined is a result, not a failure."""
    if not options.root.exists():
        raise DataError(f"{options.root}: there is no such folder or file")
    with Bar() as bar:
        if options.quarantine is None:
            found = survey(options.root, pixels=options.pixels, workers=options.workers, progress=bar)
        else:
            quarantine = Quarantine(options.quarantine, SystemClock())
            found = take_in(options.root, quarantine, pixels=options.pixels, workers=options.workers, progress=bar)
    if options.as_json:
        for facts in (*(file.as_json() for file in found.files), *(series_facts(found, stack) for stack in found.stacks)):
            sys.stdout.write(json.dumps(facts, allow_nan=False) + "\n")
        return
    _show(found)


def series_facts(found: Survey, stack: Stack) -> dict[str, Any]:
    """A series, or one of several volumes in it, as one JSON object; lengths that no file says are null."""
    grid, refusal = stack.grid, stack.refusal
    return {
        "series": stack.series,
        "stack": stack.number,
        "status": (Status.QUARANTINED if refusal else Status.OK).value,
        "reason": refusal.reason.value if refusal else None,
        "shape": shape_of(found, stack) if grid else None,
        "spacing_mm": [None if math.isnan(length) else length for length in grid.spacing_mm] if grid else None,
        "affine": grid.affine.tolist() if grid and grid.located else None,
        "modality": _modality(found, stack),
        "files": len({index for index, _ in stack.frames}),
        "sentence": str(refusal) if refusal else None,
    }


def shape_of(found: Survey, stack: Stack) -> tuple[int, int, int]:
    """(D, H, W) of a stack that has frames."""
    header = found.instances[stack.frames[0][0]].header
    return len(stack.frames), header.rows, header.columns


def _modality(found: Survey, stack: Stack) -> str:
    return found.instances[stack.frames[0][0]].header.modality if stack.frames else ""


def _show(found: Survey) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("series", "modality", "slices x rows x columns", "spacing in mm", "status"):
        table.add_column(column, overflow="fold")
    for stack in found.stacks:
        shape = " x ".join(map(str, shape_of(found, stack))) if stack.frames else "-"
        spacing = " x ".join("?" if math.isnan(mm) else f"{mm:.4g}" for mm in stack.grid.spacing_mm) if stack.grid else "-"
        table.add_row(
            _short(stack.subject), _modality(found, stack), shape, spacing, stack.refusal.reason if stack.refusal else "ok"
        )
    if found.stacks:
        console.print(table, highlight=False)
    console.print(_counts(found), highlight=False, markup=False)
    volumes = [(stack.refusal.reason, _short(stack.subject)) for stack in found.stacks if stack.refusal]
    files = [(file.reason, file.path) for file in found.files if file.reason]
    for what, aside in (("volume", volumes), ("file", files)):
        for reason, number in Counter(reason for reason, _ in aside).most_common():
            console.print(
                f"{count(number, what)} set aside, {reason.value}: {SENTENCES[reason]}", highlight=False, markup=False
            )
            names = [name for its, name in aside if its is reason]
            more = f" and {number - NAMED} more (--json lists them all)" if number > NAMED else ""
            console.print(f"  {', '.join(names[:NAMED])}{more}", highlight=False, markup=False)


def _short(subject: str) -> str:
    """The end of a UID: its beginning names the maker of the scanner."""
    return subject if len(subject) <= SHOWN else "…" + subject[1 - SHOWN :]


def _counts(found: Survey) -> str:
    files = Counter(file.status.value for file in found.files)
    sound = sum(stack.refusal is None for stack in found.stacks)
    said = ", ".join(f"{files[status.value]} {status.value}" for status in Status if files[status.value])
    return (
        f"{count(len(found.files), 'file')} ({said or 'none'}); {sound} of {count(len(found.stacks), 'volume')} can be used"
    )
