"""The audit log: appends a second, synced and not, and what proofs cost in trees of 20 thousand and a million leaves."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.form import Row, make_row, show
from fedmed.clock import SystemClock
from fedmed.identity.member import MemberKeys
from fedmed.store.audit import proofs, reading
from fedmed.store.audit.checking import check
from fedmed.store.audit.event import Event, event
from fedmed.store.audit.log import AuditLog, Cut
from fedmed.store.disk import Disk
from fedmed.wire.merkle import Tree, leaf_hash, verify_consistency, verify_inclusion

PROOFS = 500


class Unsynced(Disk):
    """A disk whose syncs return at once: what the log itself costs."""

    def sync(self, handle: int) -> None:
        """Wait for nothing."""

    def sync_folder(self, folder: Path) -> None:
        """Wait for nothing."""


def happened(number: int) -> Event:
    """What a clinic writes for a round."""
    digest = f"{number:064x}"
    return event(1.79e9, "north", "site", "round.send", "run thorax", round=number, bytes=2_000_000, digest=digest)


def appends(folder: Path, count: int, disk: Disk, batch: int = 1) -> float:
    """Events a second, so many to a sync."""
    log = AuditLog.make(folder, "center", MemberKeys.generate(), SystemClock(), Cut(), disk)
    events = [happened(number) for number in range(count)]
    began = time.perf_counter()
    for first in range(0, count, batch):
        log.append(*events[first : first + batch])
    return count / (time.perf_counter() - began)


def proof_rows(leaves: int) -> list[Row]:
    """What a tree in memory costs."""
    tree, draw = Tree(), random.Random(1)
    data = [number.to_bytes(250, "big") for number in range(leaves)]
    began = time.perf_counter()
    tree.extend(data)
    grown = leaves / (time.perf_counter() - began)
    places = [draw.randrange(leaves) for _ in range(PROOFS)]
    root, name = tree.root(), f"{leaves:,} leaves"

    def proved(index: int) -> None:
        assert verify_inclusion(index, leaves, leaf_hash(data[index]), tree.inclusion(index), root)

    def joined(index: int) -> None:
        assert verify_consistency(index + 1, leaves, tree.root(index + 1), root, tree.consistency(index + 1))

    return [
        make_row(f"{name}: leaves added", grown, "leaves/s"),
        _timed(f"{name}: inclusion proof", lambda index: tree.inclusion(index), places),
        _timed(f"{name}: consistency proof", lambda index: tree.consistency(index + 1), places),
        _timed(f"{name}: inclusion proof, checked too", proved, places),
        _timed(f"{name}: consistency proof, both roots and check too", joined, places),
    ]


def _timed(name: str, work: Callable[[int], object], places: list[int]) -> Row:
    taken = []
    for place in places:
        began = time.perf_counter()
        work(place)
        taken.append(1000 * (time.perf_counter() - began))
    return make_row(name, median(taken), "ms, median")


def disk_rows(folder: Path, count: int) -> list[Row]:
    """A log on the disk: opened, proved from its segments, verified."""
    log = AuditLog.make(folder, "center", MemberKeys.generate(), SystemClock(), Cut(), Unsynced())
    for first in range(0, count, 10_000):
        log.append(*(happened(number) for number in range(first, min(first + 10_000, count))))
    log.head()
    name, rows = f"log of {count:,} on disk", []
    works: tuple[tuple[str, Callable[[], object]], ...] = (
        ("opened", lambda: AuditLog(folder, SystemClock())),
        ("first entry proved, all segments read", lambda: proofs.make(reading.opened(folder), 0)),
        ("verified", lambda: check(folder, SystemClock().unix())),
    )
    for what, work in works:
        began = time.perf_counter()
        work()
        rows.append(make_row(f"{name}: {what}", time.perf_counter() - began, "s"))
    return rows


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; a temporary one when absent")
    parser.add_argument("--appends", type=int, default=2000)
    parser.add_argument("--leaves", type=int, default=1_000_000)
    parser.add_argument("--lines", type=int, default=100_000, help="of the log that is opened and verified")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        place = Path(made)
        rows = [
            make_row("appends, each synced", appends(place / "a", options.appends, Disk()), "events/s"),
            make_row("appends, 100 to a sync", appends(place / "b", 20 * options.appends, Disk(), 100), "events/s"),
            make_row("appends, not synced", appends(place / "c", options.appends, Unsynced()), "events/s"),
            make_row(
                "appends, 100 at once, not synced", appends(place / "d", 20 * options.appends, Unsynced(), 100), "events/s"
            ),
            *disk_rows(place / "e", options.lines),
        ]
    rows += [*proof_rows(20_000), *proof_rows(options.leaves), make_row("load when it began", load, "")]
    show("audit", rows, options.json)


if __name__ == "__main__":
    main()
