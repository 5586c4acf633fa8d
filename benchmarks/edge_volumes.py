"""A whole series at a device: from its images in the spool to what is told of it, beside training's reading of the files.

300 synthetic CT slices of 512 x 512, 16 bits (157 MB), in any order, as they lie sealed in a device's spool; the model is a
mean, so that all that is measured is what the agent does. The peer is `fedmed.sites.studies.prepared` on a folder of the
same files, in the same process, in turns with the device; both come to the same bits. A process of its own for each back end
says how much memory the device took beyond what it had before (Linux: the peak is set back before).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from form import Row, make_row, show

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fedmed.clock import SystemClock
from fedmed.dicom.results.making import results_of
from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise, write
from fedmed.edge.findings import unpacked
from fedmed.edge.looking import Model
from fedmed.edge.preparing import recipe_of
from fedmed.edge.series import Because
from fedmed.edge.stages import Stages
from fedmed.edge.volumes import read_series
from fedmed.edge.whole import Whole, look_at
from fedmed.sites.studies import Study, Target, Workshop, prepared
from tests.edge.series import Box, card, mean

ROOT = Path(__file__).resolve().parents[1]
TARGET = Target((96, 128, 128), (3.0, 3.0, 3.0), (-1000.0, 400.0))
SLICES, TIMES, THREADS = 300, 5, 2


def filled(folder: Path) -> None:
    """The series, its slices in no order."""
    protocol = Protocol(slices=SLICES, rows=512, columns=512, gap_mm=1.0, spacing_mm=(0.7, 0.7))
    made = synthesise(3, "ct", protocol).slices
    random.Random(1).shuffle(made)
    write(made, folder)


def peak_bytes() -> int:
    """Most memory since this was asked last, proc(5)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    Path("/proc/self/clear_refs").write_text("5")
    return int(status["VmHWM"].split()[0]) * 1024


def measured(folder: Path, place: Path) -> dict[str, Any]:
    """In a process of its own: seconds of each step, bytes of memory."""
    clock = SystemClock()
    box = Box(place, Model(recipe_of(card(target=TARGET)), "fp32", mean), clock=clock)  # type: ignore[arg-type]
    began = time.perf_counter()
    for path in sorted(folder.iterdir()):
        box.comes([path.read_bytes()])
        box.sorts()
    sorted_s = (time.perf_counter() - began) / SLICES
    box.lane.look()
    (known,) = box.lane.gathered._known.values()
    sources = box.lane.gathered.sources(known)
    peak_bytes()
    before = peak_bytes()
    read = read_series(sources, TARGET, THREADS)
    memory = peak_bytes() - before
    assert read.study is not None
    mine, theirs = list[float](), list[float]()
    for _ in range(TIMES):
        began = time.perf_counter()
        read = read_series(box.lane.gathered.sources(known), TARGET, THREADS)
        mine.append(time.perf_counter() - began)
        began = time.perf_counter()
        (there,) = prepared(folder, Workshop(TARGET, workers=THREADS))
        theirs.append(time.perf_counter() - began)
        assert isinstance(there, Study)
        assert read.study is not None
        assert read.study.image.tobytes() == there.image.tobytes()
    facts = known.entries[known.first].facts
    whole = Whole("one", facts["study"], facts["series"], box.lane.gathered.sources(known), Because.QUIET, None)
    stages = Stages(clock)
    desk = box.desk()
    answer = look_at(whole, type(desk)(desk.device, desk.model, True, None, stages), clock.unix(), THREADS)
    finding, headers = unpacked(answer.new[1].content)
    began, work = time.perf_counter(), time.process_time()
    (report,) = results_of(headers, finding).objects
    report_s, report_work = time.perf_counter() - began, time.process_time() - work
    found = {"sorted": sorted_s, "device": mine, "training": theirs, "memory": memory, "report_work": report_work}
    found |= {"tell": stages.told()["tell series"]["median_ms"] / 1e3, "report": report_s, "report_bytes": len(report)}
    return {**found, "entry_bytes": len(answer.new[1].content)}


def rows() -> list[Row]:
    """Of the report."""
    found = list[Row]()
    with tempfile.TemporaryDirectory() as name:
        filled(Path(name) / "series")
        for backend in ("numba", "numpy"):
            command = [sys.executable, str(Path(__file__)), "measure", f"{name}/series", f"{name}/{backend}"]
            env = {**os.environ, "FEDMED_BACKEND": backend}
            done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
            found += told(backend, json.loads(done.stdout))
    return found


def told(backend: str, said: dict[str, Any]) -> list[Row]:
    """Rows of one back end."""
    mine, theirs = median(said["device"]), median(said["training"])
    volume = SLICES * 512 * 512 * 2
    return [
        make_row(f"{backend}: an image received, copied and held", 1e3 * said["sorted"], "ms"),
        make_row(f"{backend}: series read by the device, median", mine, "s"),
        make_row(f"{backend}: series read by the device, min", min(said["device"]), "s"),
        make_row(f"{backend}: the same by training, from files, median", theirs, "s"),
        make_row(f"{backend}: the same by training, from files, min", min(said["training"]), "s"),
        make_row(f"{backend}: device / training, median", mine / theirs, "x"),
        make_row(f"{backend}: memory for it / volume", said["memory"] / volume, "x"),
        make_row(f"{backend}: told in JSON, {SLICES} images", said["tell"], "s"),
        make_row(f"{backend}: the report made, {SLICES} images", said["report"], "s"),
        make_row(f"{backend}: the same, processor", said["report_work"], "s"),
        make_row(f"{backend}: the report's size", said["report_bytes"] / 1e3, "kB"),
        make_row(f"{backend}: its entry in the spool / images", said["entry_bytes"] / volume, "x"),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        sys.stdout.write(json.dumps(measured(Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        show("edge_volumes", rows(), "--json" in sys.argv)
