"""`fedmed data import` and `export`: the two sealed stores from the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from fedmed.cli.deid import progress, site_key
from fedmed.cli.labels import join_labels
from fedmed.cli.tally import Tally
from fedmed.dicom.deid.folder import files_of
from fedmed.errors import DataError
from fedmed.store import filling
from fedmed.store.studies import Studies, deidentified


def fill(source: Path, store: Path, key: Path | None, labels: Path | None) -> None:
    """Import a folder's files and their labels. Raises DataError for a source that is no folder or holds the store."""
    if not source.is_dir() or store.resolve().is_relative_to(source.resolve()):
        raise DataError(f"{source}: is no folder, or the store {store} lies in it; keep originals and stores apart")
    paths, tally = files_of(source), Tally()
    secret = site_key(key)
    for outcome in progress("import", filling.import_files(paths, store, secret), len(paths)):
        tally.add(outcome)
    if labels:
        copies = deidentified(store, secret)
        joined = join_labels(
            labels, tally, filling.pseudonyms_of(secret), lambda place, content: _keep(copies, place, content)
        )
        sys.stdout.write(f"labels: {joined['rows']} rows joined, {joined['unmatched']} left out\n")
    sys.stdout.write(f"{tally.written} objects imported with a de-identified copy, {len(tally.quarantined)} without, ")
    sys.stdout.write(f"{tally.not_dicom} files that are no DICOM\n")
    for one in tally.quarantined:
        sys.stdout.write(f"  {one['path']}: {one['reason']}. {one['sentence']} {one['detail']}\n")


def _keep(copies: Studies, place: str, content: bytes) -> None:
    copies.put(content, {"place": place})


def empty_into(out: Path, store: Path, key: Path | None) -> None:
    """Export the de-identified copies as files."""
    sys.stdout.write(f"{filling.export(store, site_key(key), out)} files written to {out}\n")
