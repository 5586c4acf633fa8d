"""Rounds of a real federation beside stock Flower's: a center, clinics as processes of their own, nothing trained.

    scripts/bench federation [--json] [--quick] [--only PART ...]

Ours: mutual TLS 1.3, masked, the center's state, the answers at the clinics and their ledgers on the disk. The peer: three
flower-supernode processes and a flower-superlink as they come, no TLS, no masks, state in memory, the app started by
`flwr run`. Both are up at the same time, on the same cores, and their rounds alternate. A round of each is one training and
one average; the center then adds .001 to every parameter, so that each round's model is new; the models are compared. Bytes
are those of requests and answers, without TLS and the heads of HTTP.

- `rounds-1M`, `rounds-25M`: 3 clinics, that many float32 parameters.
- `fifty`: 50 clinics as forks of one process, 10k parameters, each killed with 2 % chance in each round and started again a
  second later; masked and plain rounds of our own engine alternate, with the same faults.
- `memory`: what the center's process takes at its peak with 3 (a masked sum has no fewer) and with 8 clinics of 25M.

Each part runs in a process of its own. The first round has the set-up in it and is told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from form import Row, make_row, show
from numpy.typing import NDArray
from real_federation import LANES_16, LANES_32, PLAIN, Arm, memory_mb, model_of, ours, tell
from stock_flower import stock

from fedmed.flower.allocation import keep_freed_memory

MILLION = 1_000_000
BAR_UP, BAR_DOWN, BAR_FLAT = {16: 2.01, 32: 4.01}, 4.01, 0.05
BAR_FAR = {16: 1e-3, 32: 1e-4}
LANES = {32: LANES_32, 16: LANES_16}
CLINICS, FIFTY, FAULTS, FIFTY_SIZE = 3, 50, 0.02, 10_000
BAR_FIFTY_S, TIMES_PLAIN, AGAIN_S = 6.0, 3.0, 1.0
LARGE = 25 * MILLION


@contextmanager
def folder() -> Iterator[Path]:
    """A new one, on the disk, which goes at the end."""
    with tempfile.TemporaryDirectory(prefix="fedmed-bench-") as name:
        yield Path(name)


def beside_stock(size: int, count: int, bar_s: float) -> list[Row]:
    """Rounds of ours, in lanes of 32 and then of 16 bits, and of stock Flower in turn."""
    return [row for bits in LANES for row in _in_turn(size, count, bar_s, bits)]


def _in_turn(size: int, count: int, bar_s: float, bits: int) -> list[Row]:
    name, theirs = f"{CLINICS} clinics x {size // MILLION}M, lanes of {bits} bits", list[float]()
    with ExitStack() as stack:
        place = stack.enter_context(folder())
        peer = stack.enter_context(stock(place / "stock", size, CLINICS))
        fed, _ = stack.enter_context(ours(place / "ours", CLINICS, LANES[bits]))
        arm = stack.enter_context(fed.arm(model_of(size)))
        load = os.getloadavg()[0]
        for _ in range(count):
            arm.round()
            theirs.append(peer.round())
        expected = peer.model()
    return [
        make_row(f"load, {name}", load, f"(after: {os.getloadavg()[0]:.2f})"),
        *_rows(name, arm, bits, size, bar_s, theirs, expected),
        *_memory_rows(name, arm),
    ]


def _rows(
    name: str, arm: Arm, bits: int, size: int, bar_s: float, theirs: list[float], expected: NDArray[np.float32]
) -> list[Row]:
    middle, up, down = median(arm.seconds[1:]), median(arm.up[1:]) / size, median(arm.down[1:]) / size
    lost = sum(said != "complete" for said in arm.verdicts)
    far, bar_far = float(np.abs(arm.model["w"] - expected).max()), BAR_FAR[bits]
    return [
        make_row(f"first round of {name}, set-up included", arm.seconds[0], "s"),
        make_row(f"rounds of {name} that are not complete", lost, "", "0", not lost),
        make_row(f"round of {name}, stock Flower", min(theirs[1:]), f"s, min (median {median(theirs[1:]):.3f})"),
        make_row(f"round of {name}", min(arm.seconds[1:]), f"s, min (median {middle:.3f})"),
        make_row(f"median round of {name}", middle, "s", f"<= {bar_s}", middle <= bar_s),
        make_row(f"stock Flower over {name}, median of pairs", _ratio(theirs, arm.seconds), "x"),
        make_row(f"largest difference of the two models, {name}", far, "", f"<= {bar_far:.2g}", far <= bar_far),
        make_row(f"bytes up a parameter, {name}", up, "", f"<= {BAR_UP[bits]}", up <= BAR_UP[bits]),
        make_row(f"bytes down a parameter, {name}", down, "", f"<= {BAR_DOWN}", down <= BAR_DOWN),
        make_row(f"requests a clinic and round, {name}", median(arm.calls[1:]), ""),
    ]


def _ratio(theirs: list[float], own: list[float]) -> float:
    return median(b / a for a, b in zip(own[1:], theirs[1:], strict=True))


def _memory_rows(name: str, arm: Arm) -> list[Row]:
    grown = max(arm.memory[2:]) / arm.memory[2] - 1
    return [
        make_row(f"memory of the center after round 3, {name}", arm.memory[2], "MB"),
        make_row(f"and its growth from then on, {name}", grown, "", f"<= {BAR_FLAT}", grown <= BAR_FLAT),
    ]


def fifty(count: int) -> list[Row]:
    """Masked and plain rounds of many clinics, some of which are killed in each."""
    rng = np.random.default_rng(7)
    with folder() as place, ours(place, FIFTY, LANES_32, is_light=True) as (fed, forks):
        with fed.arm(model_of(FIFTY_SIZE)) as masked, fed.arm(model_of(FIFTY_SIZE), PLAIN) as plain:
            killed = 0
            for number in range(count):
                lost = [int(each) for each in np.flatnonzero(rng.random(FIFTY) < FAULTS)] if number else []
                killed += len(lost)
                for arm in (masked, plain):
                    faults = threading.Timer(0.3 * median(arm.seconds[1:] or [1.0]), _kill, (forks, lost))
                    faults.start()
                    arm.round()
                    faults.join()
        far = float(np.abs(masked.model["w"] - plain.model["w"]).max())
    middle, bar = median(masked.seconds[1:]), max(BAR_FIFTY_S, TIMES_PLAIN * median(plain.seconds[1:]))
    name, bar_far = f"{FIFTY} clinics x 10k", BAR_FAR[32]
    silent = [said for said in masked.verdicts if said == "not committed: "]
    return [
        make_row(f"load after rounds of {name}", os.getloadavg()[0], ""),
        make_row(f"nodes killed in {count} rounds of {name}, in each arm", killed, ""),
        make_row(f"first masked round of {name}, set-up included", masked.seconds[0], "s"),
        make_row(f"masked round of {name}", min(masked.seconds[1:]), f"s, min (median {middle:.3f})"),
        make_row(f"median masked round of {name}", middle, "s", f"<= {bar:.3g}", middle <= bar),
        make_row(f"plain round of {name}", min(plain.seconds[1:]), f"s, min (median {median(plain.seconds[1:]):.3f})"),
        make_row(f"largest difference of the two models, {name}", far, "", f"<= {bar_far:.2g}", far <= bar_far),
        *[make_row(f"masked rounds of {name}: {said}", n, "") for said, n in _counted(masked.verdicts)],
        make_row(f"masked rounds of {name} neither committed nor explained", len(silent), "", "0", not silent),
        make_row(f"requests a clinic and masked round, {name}", median(masked.calls[1:]), ""),
        *_memory_rows(name, masked),
    ]


def _counted(verdicts: list[str]) -> list[tuple[str, int]]:
    return [(each, verdicts.count(each)) for each in sorted(set(verdicts))]


def _kill(forks: subprocess.Popen[str], lost: list[int]) -> None:
    for number in lost:
        tell(forks, f"kill {number}")
    if lost:
        time.sleep(AGAIN_S)
    for number in lost:
        tell(forks, f"start {number}")


def peak(clinics: int, count: int) -> list[Row]:
    """What the center's process took at its peak."""
    with folder() as place, ours(place, clinics, LANES_16) as (fed, _), fed.arm(model_of(LARGE)) as arm:
        for _ in range(count):
            arm.round()
    return [
        make_row(f"peak of the center's memory, {clinics} clinics x 25M", memory_mb("VmHWM"), "MB"),
        make_row(
            f"round of {clinics} clinics x 25M", min(arm.seconds[1:]), f"s, min (median {median(arm.seconds[1:]):.3f})"
        ),
    ]


def memory(count: int, is_quick: bool) -> list[Row]:
    """The peaks of two federations, each in a process of its own."""
    few, many = (_apart(f"peak-{clinics}", is_quick) for clinics in (3, 8))
    grown, model = float(str(many[0]["value"])) - float(str(few[0]["value"])), 4 * LARGE / 1e6
    return [*few, *many, make_row("growth of the peak, 3 to 8 clinics x 25M", grown, "MB", f"< {model:g} MB", grown < model)]


def parts(is_quick: bool) -> dict[str, Callable[[], list[Row]]]:
    """Every part by its name."""
    return {
        "rounds-1M": lambda: beside_stock(MILLION, 5 if is_quick else 15, 0.8),
        "rounds-25M": lambda: beside_stock(LARGE, 4 if is_quick else 8, 5.0),
        "fifty": lambda: fifty(6 if is_quick else 20),
        "memory": lambda: memory(3 if is_quick else 5, is_quick),
        "peak-3": lambda: peak(3, 3 if is_quick else 5),
        "peak-8": lambda: peak(8, 3 if is_quick else 5),
    }


def _apart(part: str, is_quick: bool) -> list[Row]:
    command = [sys.executable, __file__, "--json", "--only", part, *(["--quick"] if is_quick else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    rows: list[Row] = json.loads(done.stdout)["rows"]
    return rows


def main() -> None:
    """Read the options, run, print."""
    every = [name for name in parts(False) if not name.startswith("peak")]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="fewer rounds of each kind")
    parser.add_argument("--only", nargs="+", choices=parts(False), metavar="PART", help=f"of {', '.join(every)}")
    options = parser.parse_args()
    keep_freed_memory()
    wanted = options.only or every
    if len(wanted) == 1:
        rows = parts(options.quick)[wanted[0]]()
    else:
        rows = [row for part in wanted for row in _apart(part, options.quick)]
    show("federation", rows, options.json)


if __name__ == "__main__":
    main()
