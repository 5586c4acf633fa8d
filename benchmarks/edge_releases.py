"""Releases on devices: bad ones of each kind become active on none, a good one on all; heartbeats, times and calls.

Devices, center and clinic are those of the tests, in one process and under a clock that is moved by hand: real metadata,
signatures, files and syncs; what a model does is told by its file. Peer for the time of one verified update: python-tuf 7's
own client over the same files, in turns with ours, both from nothing and writing what they keep, unsynced, to a folder.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.form import Row, make_row, show
from fedmed.clock import SystemClock
from fedmed.releases.channel import Release
from fedmed.releases.fetching import BLOBS, METADATA, TARGETS
from fedmed.releases.trusting import pinned, refresh
from fedmed.wire.tensors import sha256
from tests.releases.simulator import (
    CRASHING,
    DAY,
    DISAGREEING,
    FAILING,
    GOOD,
    KILLS_TEST,
    SLOW,
    WRONG,
    Authority,
    Box,
    World,
)

DEVICES, BEATS, MOST_BEATS, TIMES = 12, 8, 20, 15
Act = Callable[[World], None]


def _altered(world: World) -> None:
    world.release(model=GOOD)
    world.federation.files[f"{BLOBS}/{sha256(GOOD)}"] = b"evil"


def _altered_metadata(world: World) -> None:
    world.release(model=GOOD)
    for name in [name for name in world.federation.files if name.endswith("targets.json")]:
        world.federation.files[name] = world.federation.files[name].replace(b'"expires":"20', b'"expires":"21')


def _unsigned(world: World) -> None:
    world.release(countersigned=False, model=GOOD)


def _older(world: World) -> None:
    """A newer one is taken back by the files of the day before."""
    old = dict(world.federation.files), dict(world.clinic.files)
    newer: Release = world.federation.propose(model=b"first")
    world.federation.promote(newer, 2)
    world.clinic.allow(newer)
    for box in world.boxes:
        box.live(4)
    world.federation.files, world.clinic.files = old


def _expired(world: World) -> None:
    world.release(model=GOOD)
    world.clock.sleep(8 * DAY)


def _kind(model: bytes) -> Act:
    return lambda world: world.release(model=model) and None


BAD: dict[str, Act] = {
    "wrong outputs": _kind(WRONG),
    "slow": _kind(SLOW),
    "crashing": _kind(CRASHING),
    "crashing in its self-test": _kind(KILLS_TEST),
    "failing": _kind(FAILING),
    "disagreeing": _kind(DISAGREEING),
    "altered package": _altered,
    "altered metadata": _altered_metadata,
    "older": _older,
    "expired": _expired,
    "not countersigned": _unsigned,
}


def bad_rows() -> list[Row]:
    """Of `DEVICES` devices, how many ever had each kind of bad release active, in `BEATS` heartbeats."""
    rows = []
    for name, act in BAD.items():
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder), boxes=DEVICES)
            act(world)
            had = {number for _ in range(BEATS) for number, box in enumerate(world.boxes) if box.live().active != b"first"}
            left = sum(box.running != b"first" for box in world.boxes)
            rows.append(make_row(f"bad release, {name}: active on", len(had), f"of {DEVICES} devices", "0", not had))
            assert left == 0, f"{left} devices do not run the release before: {name}"
    return rows


def good_rows() -> list[Row]:
    """Heartbeats until all devices run a good release, and until all have committed it."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), boxes=DEVICES)
        world.release(model=GOOD)
        runs = _beats(world, lambda box: box.running == GOOD)
        commits = runs + _beats(world, lambda box: box.active == GOOD)
    return [
        make_row("a good release runs on all", runs, f"heartbeats, {DEVICES} devices", "<= 2", runs <= 2),
        make_row("and is committed on all", commits, "heartbeats of 30 s, window 60 s"),
    ]


def _beats(world: World, done: Callable[[Box], bool]) -> int:
    for beats in range(MOST_BEATS):
        if all(done(box) for box in world.boxes):
            return beats
        for box in world.boxes:
            box.live()
    return MOST_BEATS


def time_rows() -> list[Row]:
    """One verified update from empty memory, ours beside python-tuf's, and one heartbeat that finds nothing new."""
    from tests.identity.parties import Standing

    center = Authority(Standing(SystemClock().unix()))
    center.promote(center.propose(model=GOOD), 2)
    ours, stock = [], []
    for _ in range(TIMES):
        ours.append(_timed(lambda: _ours(center)))
        stock.append(_timed(lambda: _stock(center)))
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        idle = [_timed(world.box.device.beat) for _ in range(TIMES)]
    return [
        make_row("a verified update, min", min(ours) * 1e3, "ms"),
        make_row("a verified update, median", median(ours) * 1e3, "ms"),
        make_row("python-tuf's client, min", min(stock) * 1e3, "ms"),
        make_row("python-tuf's client, median", median(stock) * 1e3, "ms"),
        make_row("a heartbeat that finds nothing new, min", min(idle) * 1e3, "ms, both authorities"),
        make_row("a heartbeat that finds nothing new, median", median(idle) * 1e3, "ms"),
    ]


def _timed(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def _ours(center: Authority) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trusted = pinned(center.root, sha256(center.root), TARGETS)
        # A name for each step, as the client has: to cut a file that is there makes ext4 flush it.
        names = (Path(folder) / f"{number}.json" for number in count())
        view = refresh(trusted, center, center.clock, lambda kept: next(names).write_bytes(kept.encoded()) and None)
    assert view.channel.active is not None


def _stock(center: Authority) -> None:
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.ngclient import FetcherInterface, Updater

    class Served(FetcherInterface):
        def _fetch(self, url: str) -> object:
            data = center.files.get(f"{METADATA}/{url.rpartition('/')[2]}")
            if data is None:
                raise DownloadHTTPError("not there", 404)
            return iter([data])

    with tempfile.TemporaryDirectory() as folder:
        updater = Updater(folder, "http://x/", folder, "http://x/", Served(), bootstrap=center.root)
        updater.refresh()
        assert updater.get_targetinfo("00000001.json") is not None


def rows() -> list[Row]:
    """All of them."""
    return [*bad_rows(), *good_rows(), *time_rows()]


def main() -> int:
    """`scripts/bench edge_releases [--json]`."""
    found = rows()
    show("edge_releases", found, "--json" in sys.argv[1:])
    return 0 if all(row["holds"] in (None, True) for row in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
