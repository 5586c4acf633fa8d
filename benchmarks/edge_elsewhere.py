"""An image that its own device cannot look at: how much longer its result takes, and how long a dead helper holds it up.

Three agents are processes, with a hub, a signed release and the same int8 ResNet-18 as `edge_agent`. One has lost its card;
its images go to the two others. In turn with each of them an image goes to a helper by itself: the same work without the
way. Then both helpers are stopped, one of them is killed with an image, and the other goes on. Heartbeats are as by default.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from edge_agent import package
from form import Row, make_row, show

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fedmed.config.edge import Elsewhere, Inference, Trial
from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.placement.rules import DEADLINE_S
from tests.edge.device import Channels, Device, device_of
from tests.hub.clinic import Place, serving
from tests.system.hospitals import ROOT, until

IMAGES, WARM, BEAT_S = 40, 3, 20.0
ALONE, HELPERS = "us-1", ("us-2", "us-3")


def looking_after(hub: Place, stop: threading.Event) -> None:
    """What the hub's service does once a second."""
    while not stop.wait(1.0):
        hub.hub.look()


def device(hub: Place, name: str) -> Device:
    """Its agent is up; that of `ALONE` has lost its card from the start."""
    wanted = (
        Inference(precision="int8", threads=1),
        Trial(minutes=0.01, results=1),
        Elsewhere(asks=name == ALONE, after=None),
    )
    made = device_of(hub, name, inference=wanted[0], trial=wanted[1], elsewhere=wanted[2])
    if name != ALONE:
        made.start()
        return made
    with made.log.open("ab") as log:
        command = [sys.executable, "-m", "tests.edge.unwell", str(made.folder)]
        made.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
    until(lambda: b" is up" in made.log.read_bytes(), made.is_running)
    return made


def took_ms(box: Device, path: Path) -> float:
    """From the image's acknowledgement to its result's file."""
    seen = sum(1 for _ in box.folder.glob("results/*/*.json"))
    subprocess.run(["storescu", "-aec", "FEDMED", "127.0.0.1", str(box.port), str(path)], check=True)
    began = time.monotonic()
    while sum(1 for _ in box.folder.glob("results/*/*.json")) == seen:
        time.sleep(0.002)
    return (time.monotonic() - began) * 1e3


def held_up_s(hub: Place, boxes: dict[str, Device], path: Path) -> float:
    """From the death of a helper that has an image to the result by the other."""
    for name in HELPERS:
        os.kill(boxes[name].process.pid, signal.SIGSTOP)  # type: ignore[union-attr]
    with ExitStack() as stack:
        thread = threading.Thread(target=took_ms, args=(boxes[ALONE], path))
        thread.start()
        stack.callback(thread.join)

        def where() -> list[str]:
            running = dict(hub.hub.whereabouts.placed.state.running)
            return [each.nodes[0] for name, each in running.items() if name.startswith("look:")]

        until(where)
        [dead] = where()
        began = time.monotonic()
        boxes[dead].end(signal.SIGKILL)
        for name in set(HELPERS) - {dead}:
            os.kill(boxes[name].process.pid, signal.SIGCONT)  # type: ignore[union-attr]
    return time.monotonic() - began


def rows(images: int = IMAGES) -> list[Row]:
    """Of the report."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        place, stop = Path(name), threading.Event()
        write_hospitals(place / "phantom", 3, share=0.5)
        paths = sorted((place / "phantom").rglob("*.dcm"))
        hub = stack.enter_context(serving(place, beat_s=BEAT_S))
        Channels(hub).release(package(place / "package"), "chest", "1")
        keeper = threading.Thread(target=looking_after, args=(hub, stop))
        keeper.start()
        stack.callback(keeper.join)
        stack.callback(stop.set)
        boxes = {name: device(hub, name) for name in (ALONE, *HELPERS)}
        for box in boxes.values():
            stack.callback(box.end, signal.SIGKILL)
            until(lambda box=box: (box.status().get("models") or {}).get("active"), box.is_running)
        until(lambda: hub.hub.lending.word == "now")
        away, here = list[float](), list[float]()
        for number in range(images + WARM):
            away.append(took_ms(boxes[ALONE], paths[2 * number]))
            here.append(took_ms(boxes[HELPERS[number % 2]], paths[2 * number + 1]))
        held = held_up_s(hub, boxes, paths[-1])
    return told(np.array(away[WARM:]), np.array(here[WARM:]), held)


def told(away: np.ndarray, here: np.ndarray, held_s: float) -> list[Row]:  # type: ignore[type-arg]
    """Both, the way, and the death."""
    return [
        make_row("looked at elsewhere, min", float(away.min()), "ms"),
        make_row("looked at elsewhere, median", float(np.median(away)), "ms"),
        make_row("looked at elsewhere, p90", float(np.quantile(away, 0.9)), "ms"),
        make_row("looked at at home, min", float(here.min()), "ms"),
        make_row("looked at at home, median", float(np.median(here)), "ms"),
        make_row("the way there and back, median", float(np.median(away) - np.median(here)), "ms"),
        make_row("a helper dies: until the other's result", held_s, "s", f"< {DEADLINE_S:.0f}", held_s < DEADLINE_S),
        make_row("images of each", len(away), "images"),
    ]


if __name__ == "__main__":
    show("edge_elsewhere", rows(), "--json" in sys.argv)
