"""A grid whose sites are at work for an hour, to be killed meanwhile; and the app of those sites."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedmed.flower.apps import AppRef
from fedmed.flower.arrays import borrow
from fedmed.flower.inprocess import InProcessGrid

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    return Message(RecordDict(), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    time.sleep(3600)
    return Message(RecordDict(), reply_to=message)


def main() -> None:
    content = RecordDict({"arrays": borrow({"w": np.zeros(10_000, np.float32)})})
    ref = AppRef(Path(__file__).resolve().parents[2], "tests.faults.sleeper:app")
    with InProcessGrid(ref, [{}, {}], [1.0, 1.0], 2) as grid:
        grid.send_and_receive([Message(content, node, "train") for node in grid.get_node_ids()])
        grid.push_messages([Message(content, node, "evaluate") for node in grid.get_node_ids()])
        sys.stdout.write("asleep\n")
        sys.stdout.flush()
        time.sleep(3600)


if __name__ == "__main__":
    main()
