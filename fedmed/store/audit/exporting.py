"""Events of a stretch of time for an auditor: JSON lines or CSV, with proofs of the first and the last."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from io import TextIOBase
from pathlib import Path
from typing import Any, cast

from fedmed.errors import ConfigError, DataError, StoreError
from fedmed.store.audit import proofs
from fedmed.store.audit.event import FIELDS, Event
from fedmed.store.audit.reading import Opened

SUFFIXES = (".jsonl", ".csv")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Exported:
    """The files, and the numbers of the first and last event in them."""

    path: Path
    events: int
    first: int
    last: int
    proofs: tuple[Path, ...]
    """Of the first, and of the last that a signed head covers."""
    unproved: int
    """Events that are newer than the newest signed head."""


def export(opened: Opened, to: Path, since: float | None = None, until: float | None = None) -> Exported:
    """Write the events from `since` on and before `until` (seconds since 1970), and two proofs beside them.

    Raises ConfigError for another ending, DataError where there is no such event, StoreError where the log is damaged or
    the file cannot be written.
    """
    if to.suffix not in SUFFIXES:
        raise ConfigError(f"{to} ends in {to.suffix!r}; allowed are {' and '.join(SUFFIXES)}")
    numbers: list[int] = []
    with _written(to) as file:
        write = _as_csv(file) if to.suffix == ".csv" else _as_lines(file)
        for number, each in opened.events():
            if (since is None or each.unix >= since) and (until is None or each.unix < until):
                write(number, each)
                numbers.append(number)
        if not numbers:
            raise DataError(f"{opened.folder} has no event in that time; leave out --from or --until")
        covered = [number for number in numbers if opened.newest is not None and number < opened.newest.size]
        made = [proofs.make(opened, index) for index in (covered[0], covered[-1])] if covered else []
    paths: list[Path] = []
    for end, proof in zip(("first", "last"), made, strict=False):
        paths.append(to.with_name(f"{to.name}.{end}.proof.json"))
        with _written(paths[-1]) as file:
            file.write(json.dumps(proof, ensure_ascii=False, indent=1) + "\n")
    return Exported(to, len(numbers), numbers[0], numbers[-1], tuple(paths), len(numbers) - len(covered))


def _as_lines(file: TextIOBase) -> Any:
    return lambda number, each: file.write(json.dumps({"index": number, **each.as_json()}, ensure_ascii=False) + "\n")


def _as_csv(file: TextIOBase) -> Any:
    rows = csv.writer(cast(Any, file))
    rows.writerow(("index", "time", *FIELDS))

    def write(number: int, each: Event) -> None:
        when = datetime.fromtimestamp(each.unix, timezone.utc).isoformat(timespec="milliseconds")
        said = each.as_json() | {"details": json.dumps(dict(each.details), sort_keys=True, ensure_ascii=False)}
        rows.writerow((number, when, *(_cell(said[name]) for name in FIELDS)))

    return write


def _cell(value: Any) -> Any:
    """What a spreadsheet would take for a formula is marked as text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


@contextmanager
def _written(path: Path) -> Iterator[TextIOBase]:
    """A file that is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield cast(TextIOBase, file)
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror or error}); name another place") from error
    finally:
        temporary.unlink(missing_ok=True)
