"""`fedmed data ledger`: a site's own look at what left it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from fedmed.cli import listing
from fedmed.errors import DataError
from fedmed.store import ledger


def show(file: Path, as_json: bool) -> None:
    """Print every entry. Raises StoreError where the ledger is not what was written."""
    entries = _entries(file)
    if as_json:
        sys.stdout.write(json.dumps([asdict(entry) for entry in entries], ensure_ascii=False) + "\n")
        return
    rows = [
        {
            "when": datetime.fromtimestamp(entry.unix, timezone.utc).isoformat(timespec="seconds"),
            "what": entry.what,
            "purpose": entry.purpose,
            "approved by": entry.approved,
            "data set": entry.dataset[:16],
            "bytes": str(len(entry.statement.encode())),
        }
        for entry in entries
    ]
    if rows:
        listing.show(rows, as_json=False)
    else:
        sys.stdout.write("nothing has left this site\n")


def verify(file: Path, as_json: bool) -> None:
    """Say how many lines were checked. Raises StoreError, naming the line, where one is wrong."""
    count = len(_entries(file))
    sys.stdout.write(json.dumps({"lines": count, "status": "ok"}) + "\n" if as_json else f"{count} lines, all as written\n")


def _entries(file: Path) -> list[ledger.Entry]:
    if not file.is_file():
        raise DataError(f"{file} is not there; give a site's ledger (.jsonl)")
    return ledger.verify(file)
