"""The spool of a device beside SQLite itself: how fast it takes in, what kills leave of a day, how well it fills a link.

python -m benchmarks.edge_spool [--quick] [--json]      writes some 6 GB below --folder; --quick is a tenth of the day
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import spool_device
from benchmarks.form import Row, make_row, show
from benchmarks.spool_device import Receiver, fill_with_kills
from fedmed.clock import SystemClock
from fedmed.store.spool import opening
from fedmed.store.spool.entry import INSTANCE, USUAL, New
from fedmed.store.spool.quota import Quota
from fedmed.store.spool.spool import Spool

KEY = bytes(range(32))
GROUPS, GROUP = 12, 16
DAY, KILLS, IMAGE = 86_400, 20, 16_000
EACH = 8
"""Images a commit while the day comes in, so that it takes minutes."""
LINKS_MBIT = (10, 100)
BAR_MB, BAR_SHARE, BAR_LINK = 100.0, 0.8, 0.8


Put = Callable[[int, bytes], object]


@contextmanager
def raw(folder: Path) -> Iterator[Put]:
    """SQLite with the same settings, one blob a commit, its log carried over at the same length."""
    folder.mkdir()
    connection, logged = opening.connect(folder / "raw.db"), 0
    connection.execute("CREATE TABLE blobs (number INTEGER PRIMARY KEY, content BLOB)")

    def put(number: int, content: bytes) -> None:
        nonlocal logged
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO blobs VALUES (?, ?)", (number, content))
        connection.execute("COMMIT")
        logged += len(content) + opening.PAGE
        if logged >= opening.LOG_BYTES:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            logged = 0

    yield put
    connection.close()


@contextmanager
def spooled(folder: Path, key: bytes | None = None) -> Iterator[Put]:
    """The spool, one entry a commit."""
    with Spool(folder, SystemClock(), Quota(), lambda entry, reason: None, key) as spool:
        yield lambda number, content: spool.put(New(INSTANCE, "study", USUAL, {"number": number}, content))


@contextmanager
def files(folder: Path) -> Iterator[Put]:
    """A file each, synced with its folder, and a row each in SQLite: the other way to keep them."""
    folder.mkdir()
    connection = opening.connect(folder / "raw.db")
    connection.execute("CREATE TABLE names (number INTEGER PRIMARY KEY, name TEXT)")
    place = os.open(folder, os.O_RDONLY)

    def put(number: int, content: bytes) -> None:
        handle = os.open(folder / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(handle, content)
        os.fsync(handle)
        os.close(handle)
        os.fsync(place)
        connection.execute("INSERT INTO names VALUES (?, ?)", (number, str(number)))

    yield put
    os.close(place)
    connection.close()


SQLITE = "SQLite itself, same settings"
WAYS: dict[str, Callable[[Path], AbstractContextManager[Put]]] = {
    SQLITE: raw,
    "the spool": spooled,
    "the spool, sealed": lambda folder: spooled(folder, KEY),
    "a file each, and SQLite": files,
}


def taking_in(root: Path, groups: int = GROUPS) -> list[Row]:
    """Blobs of 1 MB and entries of 1 KB, one a commit, each in all ways in turn: a shared disk is fair so."""
    rows = list[Row]()
    for size, name, scale, unit in (
        (1 << 20, "1 MB blobs", (1 << 20) / 1e6, "MB/s"),
        (1 << 10, "1 KB commits", 1.0, "commits/s"),
    ):
        took = _in_turn(root / "rate", size, groups)
        shutil.rmtree(root / "rate")
        for way, seconds in took.items():
            rate = GROUP * scale / min(seconds)
            share = statistics.median(theirs / ours for theirs, ours in zip(took[SQLITE], seconds, strict=True))
            rows.append(make_row(f"{name}: {way}, best of {groups} times {GROUP}", rate, unit))
            rows.append(make_row(f"{name}: {way}, median", GROUP * scale / statistics.median(seconds), unit))
            if way != SQLITE:
                barred = unit == "MB/s" and way.startswith("the spool")
                bar = f">= {BAR_SHARE:.0%} or {BAR_MB:.0f} MB/s" if barred else ""
                holds = rate >= BAR_MB or share >= BAR_SHARE if barred else None
                rows.append(make_row(f"{name}: {way}, beside SQLite, median", share, "share", bar, holds))
    return rows


def _in_turn(root: Path, size: int, groups: int) -> dict[str, list[float]]:
    """Seconds of each group of commits, by way."""
    root.mkdir()
    took: dict[str, list[float]] = {way: [0.0] * groups for way in WAYS}
    with ExitStack() as stack:
        puts = {way: stack.enter_context(opened(root / f"{number}")) for number, (way, opened) in enumerate(WAYS.items())}
        for number in range(groups * GROUP):
            content, ways = os.urandom(size), list(WAYS)
            for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
                begun = time.perf_counter()
                puts[way](number, content)
                took[way][number // GROUP] += time.perf_counter() - begun
    return took


def a_day_offline(root: Path, count: int = DAY, kills: int = KILLS, seed: int = 6) -> list[Row]:
    """A day of one image of 16 KB a second with kills, then all of it over a link; what arrives is compared bit for bit."""
    folder = root / "day"
    begun = time.perf_counter()
    died = fill_with_kills(folder, count, IMAGE, kills, random.Random(seed), each=EACH)
    filled_s = time.perf_counter() - begun
    with Receiver(IMAGE) as receiver:
        begun = time.perf_counter()
        ended = waited(spool_device.start(folder, count, count, IMAGE, f"drain={receiver.port}"))
        drained_s = time.perf_counter() - begun
    shutil.rmtree(folder)
    said = f"{count} images of 16 KB, {EACH} a commit, {died} kills"
    return [
        *compared(said, receiver, count, died == kills and ended == 0),
        make_row(f"{said}: sent twice", receiver.again, "images", "0", receiver.again == 0),
        make_row(f"{said}: taken in, starts included", count / filled_s, "images/s"),
        make_row(f"{said}: drained without a cap, start included", count / drained_s, "images/s"),
    ]


def all_at_once(root: Path, count: int = 4000, kills: int = KILLS, seed: int = 7) -> list[Row]:
    """Images come in, each is made a step with, and what came of it leaves, all in one process that is killed."""
    folder = root / "all"
    with Receiver(IMAGE, prefix=b"study") as receiver:
        died = fill_with_kills(folder, count, IMAGE, kills, random.Random(seed), "step", f"drain={receiver.port}")
    shutil.rmtree(folder)
    said = f"{count} images in, a step, out, {died} kills"
    return [
        *compared(said, receiver, count, died == kills),
        make_row(f"{said}: sent again, as what was under way has to be", receiver.again, "images"),
    ]


def compared(said: str, receiver: Receiver, count: int, ended_well: bool) -> list[Row]:
    """What arrived beside what was acknowledged."""
    got = receiver.got
    lost, more = count - len(set(got)), len(got) - len(set(got))
    late = receiver.late()
    return [
        make_row(f"{said}: lost", lost, "images", "0", lost == 0 and ended_well),
        make_row(f"{said}: twice", more, "images", "0", more == 0),
        make_row(f"{said}: out of order", late, "images", "0", late == 0),
        make_row(f"{said}: not as they were put", receiver.wrong, "images", "0", receiver.wrong == 0),
    ]


def waited(device: subprocess.Popen[bytes]) -> int:
    """How it ended."""
    with device:
        return device.wait(timeout=spool_device.END_S)


def draining(root: Path, seconds: float = 6.0, repeats: int = 3) -> list[Row]:
    """Images through a loopback socket whose reader keeps to a link's speed, beside a sender that has them in memory."""
    rows = list[Row]()
    for mbit in LINKS_MBIT:
        rate = mbit * 1e6 / 8
        count = max(200, int(seconds * rate / IMAGE))
        shares: dict[str, list[float]] = {"plain": [], "drain": []}
        for _ in range(repeats):
            folder = root / f"link-{mbit}"
            waited(spool_device.start(folder, 0, count, IMAGE, "fill=100"))
            for way, found in shares.items():
                first = count if way == "drain" else 0
                with Receiver(IMAGE, rate) as receiver:
                    ended = waited(spool_device.start(folder, first, count, IMAGE, f"{way}={receiver.port}"))
                assert (ended, sorted(receiver.got), receiver.late(), receiver.wrong) == (0, list(range(count)), 0, 0)
                found.append(receiver.read / receiver.took_s / rate)
            shutil.rmtree(folder)
        said, share = f"16 KB images over {mbit} Mbit/s", max(shares["drain"])
        rows += [
            make_row(
                f"{said}: the spool, best of {repeats}", share, "share of the link", f">= {BAR_LINK}", share >= BAR_LINK
            ),
            make_row(f"{said}: the spool, median", statistics.median(shares["drain"]), "share of the link"),
            make_row(f"{said}: from memory, best", max(shares["plain"]), "share of the link"),
            make_row(f"{said}: from memory, median", statistics.median(shares["plain"]), "share of the link"),
        ]
    return rows


def rows(folder: Path | None = None, quick: bool = False) -> list[Row]:
    """All of it, below a folder of the disk that is measured."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        root = Path(name)
        day = a_day_offline(root, DAY // 10, KILLS) if quick else a_day_offline(root)
        return [*taking_in(root), *draining(root), *day, *all_at_once(root)]


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    show("edge_spool", rows(options.folder, options.quick), options.json)


if __name__ == "__main__":
    main()
