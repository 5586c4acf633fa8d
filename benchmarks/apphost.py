"""What it costs to have a clinic's app in a confined process: a message there and back, against a call in this process.

    python benchmarks/apphost.py [--json]

The app answers with the tensors it was given (benchmarks/apps/noop_app.py). Both arms run in turn; the answer's tensors are
read once. The peer figure is a copy of the same tensors in memory. A start is measured until the first answer.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from form import Row, make_row, show

from fedmed.confinement.cell import Cell
from fedmed.flower import arrays, identity, packing
from fedmed.flower.allocation import keep_freed_memory
from fedmed.flower.apphost import AppHost
from fedmed.flower.apps import AppRef
from fedmed.flower.guard import Call
from fedmed.flower.worker import guarded
from fedmed.privacy.atrest import AtRest

REST = AtRest(bytes(32), "benchmark")
APP = AppRef(Path(__file__).parent / "apps", "noop_app:app")
SIZES = {"10k": 10_000, "1M": 1_000_000, "25M": 25_000_000}
TIMES, STARTS = 15, 3


def ask(call: Call, record: ArrayRecord, number: int) -> float:
    """Seconds of one message."""
    message = Message(RecordDict({"arrays": record, "config": ConfigRecord({"server-round": number})}), 2, "train")
    identity.set_message_id(message, f"m{number}")
    began = time.perf_counter()
    reply = call(message, Context(1, 2, {}, RecordDict(), {}))
    if reply.has_error():
        raise SystemExit(reply.error.reason)
    for value in packing.flatten(reply.content).values():
        np.add.reduce(value)
    return time.perf_counter() - began


def copying(record: ArrayRecord) -> Callable[[], float]:
    """Seconds of a copy of the same tensors in memory that is there."""
    value = record["w"].numpy()
    there = np.zeros_like(value)

    def copy() -> float:
        began = time.perf_counter()
        np.copyto(there, value)
        return time.perf_counter() - began

    return copy


def rows_of(name: str, size: int, host: Call, here: Call) -> list[Row]:
    """One size of message."""
    record = arrays.borrow({"w": np.random.default_rng(1).standard_normal(size, dtype=np.float32)})
    copy = copying(record)
    for call in (host, here):
        ask(call, record, 0)
    found = [(ask(host, record, 2 * turn + 1), ask(here, record, 2 * turn + 2), copy()) for turn in range(TIMES)]
    confined, inside, copied = (1000 * median(each) for each in zip(*found, strict=True))
    return [
        make_row(f"{name} float32, confined", confined, "ms a message"),
        make_row(f"{name} float32, in this process", inside, "ms a message"),
        make_row(f"{name} float32, one copy in memory", copied, "ms"),
    ]


def starting(folder: Path, ref: AppRef) -> float:
    """Seconds until a new process has answered."""
    record, seconds = arrays.borrow({"w": np.zeros(1, np.float32)}), []
    for turn in range(STARTS):
        host = AppHost(ref, {}, Cell(policy="as-available"), print, folder / f"start{turn}", REST)
        seconds.append(ask(host, record, 1))
        host.close()
    return median(seconds)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", action="store_true", help="print the report as JSON")
    keep_freed_memory()
    identity.assume(identity.SERVER_NODE)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        host = AppHost(APP, {}, Cell(policy="as-available"), print, Path(folder) / "states", REST)
        here = guarded(APP)
        rows = [row for name, size in SIZES.items() for row in rows_of(name, size, host, here)]
        host.close()
        rows.append(make_row("a new process, this app", starting(Path(folder), APP), "s to its answer"))
        torch = replace(APP, preload=("torch",))
        rows.append(make_row("a new process, with PyTorch", starting(Path(folder), torch), "s to its answer"))
    show("apphost", rows, asked.json)


if __name__ == "__main__":
    main()
