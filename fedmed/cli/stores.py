"""`fedmed data import` and `export`: the two sealed stores from the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedmed.cli.bars import Bar, counted
from fedmed.cli.deid import site_key
from fedmed.cli.labels import join_labels
from fedmed.cli.tally import Tally, foreign
from fedmed.dicom.deid.folder import files_of
from fedmed.errors import DataError
from fedmed.store import filling
from fedmed.store.studies import Studies, deidentified
from fedmed.wire.words import count


def fill(source: Path, store: Path, key: Path | None, labels: Path | None, as_json: bool) -> None:
    """Import a folder's files and their labels. Raises DataError for a source that is no folder or holds the store."""
    if not source.is_dir() or store.resolve().is_relative_to(source.resolve()):
        raise DataError(f"{source}: is no folder, or the store {store} lies in it; keep originals and stores apart")
    paths, tally = files_of(source), Tally()
    secret = site_key(key)
    for outcome in counted("import", filling.import_files(paths, store, secret), len(paths)):
        tally.add(outcome)
    facts: dict[str, Any] = {"written": tally.written, "quarantined": tally.quarantined, "not_dicom": tally.not_dicom}
    if labels:
        copies = deidentified(store, secret)
        facts["labels"] = join_labels(
            labels, tally, filling.pseudonyms_of(secret), lambda place, content: _keep(copies, place, content)
        )
    if as_json:
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(facts)))


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    aside = facts["quarantined"]
    if "labels" in facts:
        yield f"labels: {count(facts['labels']['rows'], 'row')} joined, {facts['labels']['unmatched']} left out"
    copied = f"{count(facts['written'], 'object')} imported with a de-identified copy, {len(aside)} without"
    yield f"{copied}, {foreign(facts)}"
    for one in aside:
        yield f"  {one['path']}: {one['reason']}. {one['sentence']} {one['detail']}"


def _keep(copies: Studies, place: str, content: bytes) -> None:
    copies.put(content, {"place": place})


def empty_into(out: Path, store: Path, key: Path | None, as_json: bool) -> None:
    """Export the de-identified copies as files."""
    with Bar() as bar:
        written = filling.export(store, site_key(key), out, bar)
    away = deidentified(store, site_key(key)).away()
    facts = {"written": written, "out": str(out), **({"archived": away} if away else {})}
    sys.stdout.write((json.dumps(facts) if as_json else f"{count(written, 'file')} written to {out}") + "\n")
    if away:
        sys.stderr.write(f"{away} more are in the archive alone; for all of them: fedmed clinic archive list, recall\n")
