"""What `fedmed clinic archive` does; recalls are in the clinic's audit log before they are done."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from fedmed.cli import listing
from fedmed.cli.hubs import DOWN
from fedmed.clinic.archiving import archive_of
from fedmed.clinic.folder import open_clinic
from fedmed.clock import SystemClock
from fedmed.errors import ArchiveAltered
from fedmed.hub.archiving import index_of
from fedmed.hub.folder import open_hub
from fedmed.hub.placing import ARCHIVE
from fedmed.identity.authority import day
from fedmed.report.formats import data_size
from fedmed.store.archive.archive import Archive
from fedmed.store.archive.index import Shelved, Standing
from fedmed.store.standing import is_serving, read_status
from fedmed.wire.words import count


def list_studies(path: Path, as_json: bool) -> None:
    """From the index; the archive itself is not asked."""
    with closing(index_of(open_hub(path, SystemClock()))) as index:
        rows = [facts_of(row) for row in index.rows()]
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
    elif rows:
        listing.show([_row(each) for each in rows], False)
    else:
        sys.stdout.write("nothing is in the archive yet\n")


def status(path: Path, as_json: bool) -> None:
    """How much is there, and what the hub says of what waits."""
    hub = open_hub(path, SystemClock())
    with closing(index_of(hub)) as index:
        rows = index.rows()
    is_up = is_serving(hub.path)
    said = read_status(hub.path).get(ARCHIVE) if is_up else None
    facts = {
        "studies": len({row.study for row in rows}),
        "bytes": sum(row.bytes for row in rows),
        "here_too": len({row.study for row in rows if row.standing is Standing.BOTH}),
        "under_way": len({row.study for row in rows if row.standing in (Standing.LEAVING, Standing.COMING)}),
        "up": is_up,
        "hub": said,
        "clock_behind": max((row.moved for row in rows), default=0.0) > hub.clock.unix() + 60,
    }
    if as_json:
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    if not is_up:
        sys.stderr.write(f"{DOWN} --at {path}\n")
    sys.stdout.write("".join(f"{line}\n" for line in _lines(facts, said if isinstance(said, dict) else {})))


def recall(path: Path, study: str, as_json: bool) -> None:
    """Raises ConfigError where no study is called so, ArchiveAltered, StoreError."""
    archive = _archive(path)
    with closing(archive.index):
        _tell(archive.open())
        rows = archive.recall(study)
    if as_json:
        sys.stdout.write(json.dumps([facts_of(row) for row in rows]) + "\n")
    else:
        images, size = count(sum(row.objects for row in rows), "image"), sum(row.bytes for row in rows)
        sys.stdout.write(f"study {rows[0].study} is here again: {images}, {size / 1e6:.1f} MB\n")


def verify(path: Path, as_json: bool) -> None:
    """Raises ArchiveAltered where something is not as it was put there, StoreError."""
    archive = _archive(path)
    with closing(archive.index):
        _tell(archive.open())
        found = archive.verify()
    bad = [each for each in found if each.error]
    if as_json:
        sys.stdout.write(json.dumps([{"name": one.name, "study": one.study, "error": one.error} for one in found]) + "\n")
    else:
        sys.stdout.write("".join(f"{each.error}\n" for each in bad))
        packs = count(len(found), "pack is as it was", "packs are as they were")
        sys.stdout.write(f"{len(found) - len(bad)} of {packs} put there\n")
    if bad:
        raise ArchiveAltered(f"{count(len(bad), 'pack is', 'packs are')} missing or altered in the archive; put copies back")


def facts_of(row: Shelved) -> dict[str, Any]:
    """A pack, for programs."""
    return {
        "study": row.study,
        "name": row.name,
        "images": row.objects,
        "bytes": row.bytes,
        "came": row.came,
        "moved": row.moved,
        "where": row.standing.value,
    }


def _archive(path: Path) -> Archive:
    clinic = open_clinic(path, SystemClock())
    return archive_of(clinic, open_hub(path, clinic.clock), getpass.getuser(), "operator")


def _tell(said: Sequence[str]) -> None:
    sys.stderr.write("".join(f"{each}\n" for each in said))


def _lines(facts: dict[str, Any], said: dict[str, Any]) -> list[str]:
    size = data_size(facts["bytes"])
    are = "is" if facts["studies"] == 1 else "are"
    lines = [
        f"{count(facts['studies'], 'study', 'studies')} of {size} {are} in the archive, {facts['here_too']} of them here too"
    ]
    if facts["under_way"]:
        lines.append(f"{facts['under_way']} are on their way")
    if said:
        lines.append(said["why"] or "nothing waits")
        if said["held"]:
            lines.append(f"{said['held']} would go, and stay: data sets read them")
        if said["error"] and said["since"]:
            lines.append(f"nothing goes since {day(said['since'])}")
    if facts["clock_behind"]:
        lines.append("this machine's clock is behind the last move: what is dated later stays until it is right")
    return lines


def _row(facts: dict[str, Any]) -> dict[str, str]:
    where = {"away": "there", "both": "here too", "leaving": "on its way there", "coming": "on its way here"}
    return {
        "study": facts["study"],
        "pack": facts["name"][:16],
        "images": str(facts["images"]),
        "MB": f"{facts['bytes'] / 1e6:.1f}",
        "came": day(facts["came"]),
        "moved": day(facts["moved"]),
        "where": where[facts["where"]],
    }
