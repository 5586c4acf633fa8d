"""What the light agent weighs: proportional set size (PSS, /proc/PID/smaps_rollup) of its process, at rest and at work.

The agent is a process as `fedmed edge up` starts it, with a hub, a signed release, DCMTK's `storescp` as the PACS and
pseudonyms for copies. It is weighed without a release, with the model of `edge_agent.py` (ResNet-18 for 224 x 224, int8)
open before any image, and a while after images, when it rests again. Packages that a light device has not are hidden from
it, since others look for them (pydicom loads GDCM where it is there). PSS counts a page that several processes share in
parts, so it is less than RSS by the libraries that this benchmark's own process has mapped, too; both are told. The
process that makes results is told by itself: it is there while results are made, and for a minute after.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from edge_agent import package, results, storescp
from form import Row, make_row, show
from pynetdicom import AE

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fedmed.config.edge import Inference, Pacs, Trial
from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.edge.making import IDLE_S
from tests.edge.device import Channels, Device, device_of
from tests.hub.clinic import serving
from tests.system.hospitals import until

IMAGES, REST_S, BAR_MB = 40, 15.0, 150.0
HIDDEN = ("torch", "flwr", "numba", "cupy", "monai", "matplotlib", "ray", "opacus", "imagecodecs", "boto3", "onnx", "gdcm")
HIDDEN += ("pylibjpeg", "openjpeg", "scipy", "sklearn", "SimpleITK")
HIDING = f"""
from importlib.machinery import PathFinder
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in {HIDDEN!r} else found(name, *rest)
"""
CLASSES = ("1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1")


def weighed(device: Device) -> dict[str, float]:
    """PSS, RSS and private memory of the agent, and PSS of its children, in 10**6 bytes."""
    assert device.process is not None
    number = device.process.pid
    children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    for thread in Path(f"/proc/{number}/task").iterdir():
        children += (thread / "children").read_text().split()
    kib = rollup(number)
    private = kib["Private_Clean"] + kib["Private_Dirty"]
    beside = sum(rollup(int(each)).get("Pss", 0) for each in set(children))
    told = {"pss": kib["Pss"], "rss": kib["Rss"], "private": private, "children": beside}
    return {name: value * 1024 / 1e6 for name, value in told.items()}


def rollup(number: int) -> dict[str, int]:
    """KiB by kind; nothing of a process that has ended."""
    lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def sent(device: Device, paths: list[Path]) -> None:
    """One at a time, four a second."""
    entity = AE(ae_title="BENCH")
    for each in CLASSES:
        entity.add_requested_context(each)
    association = entity.associate("127.0.0.1", device.port, ae_title="FEDMED")
    for number, path in enumerate(paths):
        if association.send_c_store(path).Status != 0:
            raise SystemExit("the agent did not take an image")
        until(lambda number=number: results(device) > number, device.is_running)
        time.sleep(0.25)
    association.release()


def measured() -> dict[str, dict[str, float]]:
    """By moment."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        place = Path(name)
        write_hospitals(place / "phantom", 3, share=0.3)
        paths = sorted((place / "phantom").rglob("*.dcm"))[:IMAGES]
        hub = stack.enter_context(serving(place, beat_s=1.0))
        pacs = stack.enter_context(storescp(place / "pacs"))
        inference, trial = Inference(precision="int8", threads=1), Trial(minutes=0.01, results=1)
        to = Pacs(host="127.0.0.1", port=pacs, ae_title="PACS")
        device = device_of(hub, "us-1", inference=inference, trial=trial, pacs=to)
        (place / "light").mkdir()
        (place / "light" / "sitecustomize.py").write_text(HIDING)
        os.environ["PYTHONPATH"] = os.pathsep.join((str(place / "light"), os.environ.get("PYTHONPATH", "")))
        device.start()
        stack.callback(device.end)
        time.sleep(REST_S)
        found = {"without a release": weighed(device)}
        Channels(hub).release(package(place / "package"), "chest", "1")
        until(lambda: device.status().get("models", {}).get("active"), device.is_running)
        time.sleep(REST_S)
        found["with the model open, before any image"] = weighed(device)
        sent(device, paths)
        found[f"right after {len(paths)} images"] = weighed(device)
        time.sleep(REST_S + IDLE_S)
        found["at rest, with the model open"] = weighed(device)
        stack.pop_all().close()
    return found


def rows() -> list[Row]:
    """Of the report."""
    found, made = measured(), list[Row]()
    for moment, each in found.items():
        bar = f"<= {BAR_MB:.0f}" if moment.startswith(("at rest", "with")) else ""
        made.append(make_row(f"{moment}, PSS", each["pss"], "MB", bar, each["pss"] <= BAR_MB if bar else None))
        made += [make_row(f"{moment}, {name}", each[name], "MB") for name in ("rss", "private")]
        made.append(make_row(f"{moment}, PSS of the process that makes results", each["children"], "MB"))
    return made


if __name__ == "__main__":
    show("edge_memory", rows(), "--json" in sys.argv)
