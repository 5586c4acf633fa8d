"""A device without its hub for a day, on the services themselves: what kills and cuts leave of it, how fast it catches up.

    python -m benchmarks.edge_offline [--quick] [--images N --megabits M --kills K --cuts C] [--cut 30] [--seed 6] [--json]

Needs root and iproute2. `fedmed clinic hub up` and `fedmed edge up` run in two network namespaces, the line between them is
cut. A scanner sends MR slices of 16 KB by C-STORE as fast as the agent has them on its disk: 86,400, as many as a day
has seconds, but in less than a day, which is the harder case. Each is de-identified and waits; there is no release, so that
no model looks. The agent gets `kill -9` at random moments, while images come in and again while they leave. Then the line is
back, at so many Mbit/s (tbf), and is cut again while the spool empties: in turn the cable pulled, and packets dropped
without a word. What arrives is compared with what was sent, pixel by pixel. No peer: nothing else keeps DICOM so.

The share of the link is told where nothing happened, from the first receipt to the first kill or cut, or to the end, and for
all of it, kills and cuts included. In order means: no image of a study has a receipt before one that came earlier.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.form import Row, make_row, show
from benchmarks.offline_scene import DEVICE, LOOKS_S, PATIENCE_S, Sample, Scene
from benchmarks.scanner import STUDY
from fedmed.hub.messages import MOST_BODY
from tests.system.network import is_possible

BAR_LINK = 0.8
IN_FLIGHT = 2
"""Messages of one device that may be under way at a time."""
WHILE_LEAVING = 0.4
"""Of the kills, those that come while the spool empties."""
CALM, CUTS_FROM = 0.5, 0.7
"""Of all images: before the first, nothing happens while they leave; kills come up to the second, cuts from there on."""


@dataclass(frozen=True)
class Trial:
    """One line, and what happens."""

    images: int
    megabits: float
    kills: int
    cuts: int
    cut_s: float = 30.0

    def __str__(self) -> str:
        return f"{self.images} images, {self.megabits:g} Mbit/s"

    @property
    def leaving(self) -> int:
        """Kills while the spool empties."""
        return round(self.kills * WHILE_LEAVING)

    @property
    def calm_until(self) -> int:
        """Images that leave before anything happens."""
        return int(self.images * CALM) if self.leaving or self.cuts else self.images


WHOLE = (Trial(86_400, 100, 20, 0), Trial(10_000, 10, 5, 4))
QUICK = (Trial(4_000, 100, 5, 0), Trial(2_000, 10, 2, 2))


@dataclass
class Drain:
    """What was seen while the spool emptied."""

    mended: Sample
    samples: list[Sample] = field(default_factory=list)
    calm: list[Sample] = field(default_factory=list)
    """Of `samples`, those from the first receipt to the first kill or cut."""
    left_s: float | None = None
    """What the status told of the time left, in the middle of the calm."""
    left: int = 0
    """Bytes that were not there then."""
    on_again: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds until the next receipt after a kill, a cut cable, dropped packets."""


def emptied(scene: Scene, trial: Trial, size: int) -> Drain:
    """The line is back; until the hub has all. `size`: bytes of all copies."""
    scene.network.limit(DEVICE, trial.megabits)
    scene.network.mend(DEVICE)
    drain = Drain(scene.sample())

    def look() -> int:
        drain.samples.append(scene.sample())
        return drain.samples[-1].images

    def until(count: int) -> None:
        end = time.monotonic() + PATIENCE_S
        while look() < count:
            if time.monotonic() > end:
                raise SystemExit(f"the hub has {drain.samples[-1].images} of {count} images, and no more come")
            time.sleep(LOOKS_S)

    until(1)
    first = len(drain.samples) - 1
    until(trial.calm_until // 2)
    drain.left_s, drain.left = scene.status().get("leaving", {}).get("left_s"), size - drain.samples[-1].bytes
    until(trial.calm_until)
    drain.calm = drain.samples[first:]
    disturbed(scene, trial, drain, until, look)
    until(trial.images)
    return drain


def disturbed(scene: Scene, trial: Trial, drain: Drain, until: Callable[[int], None], look: Callable[[], int]) -> None:
    """Kills, then cuts, each when so many images are there, and each waited for until one more is."""
    for at in scene.moments(
        trial.leaving, trial.calm_until, max(trial.calm_until + trial.leaving, int(trial.images * CUTS_FROM))
    ):
        until(at)
        scene.kill()
        again(drain, "kill -9, once the agent is up", until, look)
    for number in range(trial.cuts):
        until(int(trial.images * (CUTS_FROM + (1 - CUTS_FROM) * number / trial.cuts)))
        cut, what = ((scene.network.cut, "the cable pulled"), (scene.network.silence, "packets dropped"))[number % 2]
        cut(DEVICE)
        time.sleep(trial.cut_s)
        scene.network.mend(DEVICE)
        again(drain, f"{what} for {trial.cut_s:g} s", until, look)


def again(drain: Drain, what: str, until: Callable[[int], None], look: Callable[[], int]) -> None:
    """How long until it goes on."""
    before, began = look(), time.monotonic()
    until(before + 1)
    drain.on_again[what].append(time.monotonic() - began)


def compared(scene: Scene, trial: Trial) -> list[Row]:
    """What the hub has beside what was acknowledged."""
    kept, receipts = scene.kept(), scene.receipts()
    numbers = [number for number, _ in kept]
    lost, more = trial.images - len(set(numbers) & set(range(trial.images))), len(numbers) - len(set(numbers))
    strange = len(receipts.keys() ^ {digest for _, digest in kept})
    late = out_of_order({number: receipts[digest] for number, digest in kept if digest in receipts})
    said = f"{trial}, {scene.kills} kills, {trial.cuts} cuts"
    return [
        make_row(f"{said}: lost", lost, "images", "0", lost == 0 and scene.kills == trial.kills),
        make_row(f"{said}: twice", more, "images", "0", more == 0),
        make_row(f"{said}: receipts without a file, or files without", strange, "images", "0", strange == 0),
        make_row(f"{said}: out of order within their study", late, "images", "0", late == 0),
    ]


def out_of_order(when: dict[int, float]) -> int:
    """Images whose receipt is older than that of one before them in their study."""
    late, newest = 0, defaultdict[int, float](float)
    for number in sorted(when):
        late += when[number] < newest[number // STUDY]
        newest[number // STUDY] = max(newest[number // STUDY], when[number])
    return late


def speed(trial: Trial, drain: Drain, last: float) -> list[Row]:
    """Shares of the link; `last` is the time of the last receipt."""
    link, calm, end = trial.megabits * 1e6 / 8, drain.calm, drain.samples[-1]
    first, through = calm[0], calm[-1]
    calm_s = (min(through.unix, last) if through is end else through.unix) - first.unix
    share, on_wire = ((b - a) / calm_s / link for a, b in ((first.bytes, through.bytes), (first.wire, through.wire)))
    whole, images = last - drain.mended.unix, through.images - first.images
    rows = [
        make_row(f"{trial}: the line back to the first image there", first.unix - drain.mended.unix, "s"),
        make_row(f"{trial}: undisturbed, images a second", images / calm_s, "images/s"),
        make_row(f"{trial}: undisturbed", share, "share of the link", f">= {BAR_LINK}", share >= BAR_LINK),
        make_row(f"{trial}: undisturbed, with all headers", on_wire, "share of the link"),
        make_row(
            f"{trial}: undisturbed, agent's processor", 1e3 * (through.agent_s - first.agent_s) / images, "ms an image"
        ),
        make_row(f"{trial}: undisturbed, hub's processor", 1e3 * (through.hub_s - first.hub_s) / images, "ms an image"),
        make_row(f"{trial}: the line back to the last image there", whole, "s"),
        make_row(f"{trial}: all of it, kills and cuts included", end.bytes / whole / link, "share of the link"),
    ]
    if drain.left_s is not None:
        would = drain.left / (share * link)
        rows.append(make_row(f"{trial}: time left as the status tells, of what it took", drain.left_s / would, "times"))
    return rows


def sent_again(trial: Trial, drain: Drain) -> list[Row]:
    """Bytes beyond what the images took where nothing happened, a message being at most `MOST_BODY` of them."""
    happened = trial.leaving + trial.cuts
    if not happened:
        return []
    images, wire = (np.array([getattr(each, what) for each in drain.calm], float) for what in ("bytes", "wire"))
    slope = float(np.polyfit(images, wire, 1)[0])
    end = drain.samples[-1]
    more = (end.wire - drain.mended.wire) / slope - (end.bytes - drain.mended.bytes)
    each = more / happened / MOST_BODY
    return [
        make_row(f"{trial}: bytes on the wire, a byte of images", slope, "bytes"),
        make_row(f"{trial}: sent again after {happened} kills and cuts", more / 1e6, "MB"),
        make_row(f"{trial}:   messages each", each, "messages", f"<= {IN_FLIGHT}", each <= IN_FLIGHT),
    ]


def measured(trial: Trial, place: Path, seed: int) -> list[Row]:
    """One line."""
    with ExitStack() as stack:
        scene = Scene(place, stack, random.Random(seed))
        load, began = os.getloadavg()[0], time.monotonic()
        scene.day(trial.images, trial.kills - trial.leaving)
        day_s = time.monotonic() - began
        counts = scene.status()["spool"]
        waits, told = int(counts["entries"]["study"]), scene.status().get("leaving", {})
        sys.stderr.write(f"{trial}: in after {day_s:.0f} s, load {os.getloadavg()[0]:.1f}\n")
        size = int(told.get("bytes", 0))
        drain = emptied(scene, trial, size)
        until_idle(scene)
        last = max(scene.receipts().values())
        rows = compared(scene, trial)
        return [
            *rows,
            make_row(f"{trial}: load of the machine at the start", load, ""),
            make_row(f"{trial}: taken in and made a copy, kills included", trial.images / day_s, "images/s"),
            make_row(
                f"{trial}: wait, as the status tells it without the line",
                waits,
                "images",
                f"{trial.images}",
                waits == trial.images,
            ),
            *speed(trial, drain, last),
            *on_again(trial, drain.on_again),
            *sent_again(trial, drain),
            make_row(f"{trial}: load of the machine at the end", os.getloadavg()[0], ""),
        ]


def until_idle(scene: Scene) -> None:
    """The device knows that no copy waits; the images themselves wait for a release."""
    end = time.monotonic() + PATIENCE_S
    while scene.waits().get("study", 0):
        if time.monotonic() > end:
            raise SystemExit(f"the hub has all, and the device still has {scene.waits()}")
        time.sleep(LOOKS_S)


def on_again(trial: Trial, found: dict[str, list[float]]) -> list[Row]:
    """Seconds, the longest of each kind."""
    return [
        make_row(f"{trial}: until the next image is there after {what}, {how} of {len(seconds)}", figure, "s")
        for what, seconds in found.items()
        for how, figure in (("median", float(np.median(seconds))), ("longest", max(seconds)))
    ]


def trials(options: argparse.Namespace) -> Sequence[Trial]:
    """What is asked for."""
    if options.images:
        return (Trial(options.images, options.megabits, options.kills, options.cuts, options.cut),)
    return QUICK if options.quick else WHOLE


def main() -> None:
    """From the command line; whatever ends it, the namespaces go."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=0, help="one trial with so many instead of those of the benchmark")
    parser.add_argument("--megabits", type=float, default=100.0, help="a second, of the line")
    parser.add_argument("--kills", type=int, default=20, help="kill -9 of the agent")
    parser.add_argument("--cuts", type=int, default=0, help="of the line, while the spool empties")
    parser.add_argument("--cut", type=float, default=30.0, help="seconds that each of them lasts")
    parser.add_argument("--seed", type=int, default=6, help="of the moments")
    parser.add_argument("--quick", action="store_true", help="4,000 images at 100 Mbit/s, 2,000 at 10: minutes")
    parser.add_argument("--folder", type=Path, help="on the disk that is measured; a day takes 5 GB there")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not is_possible():
        raise SystemExit("network namespaces are needed: root, ip, tc and ss")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows = list[Row]()
    for trial in trials(options):
        with tempfile.TemporaryDirectory(dir=options.folder, ignore_cleanup_errors=True) as name:
            rows += measured(trial, Path(name), options.seed)
            sys.stderr.write("".join(f"{row['name']}: {row['value']} {row['unit']}\n" for row in rows))
    show("edge_offline", rows, options.json)


if __name__ == "__main__":
    main()
