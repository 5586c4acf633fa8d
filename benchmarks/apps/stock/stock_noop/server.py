"""Flower's own FedAvg: a round for each file `go-N` in the folder; what it took is in `done-N`, the model in `model.npy`."""

import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

LOOK_S = 0.02
STEP = np.float32(0.001)  # so that each round's model is a new one
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Rounds until there is a file `end`."""
    told = context.run_config
    folder, wanted, number = Path(str(told["folder"])), int(told["nodes"]), 1
    start = np.random.default_rng(1).standard_normal(int(told["parameters"]), dtype=np.float32)
    model, rule = ArrayRecord({"w": Array(start)}), FedAvg()
    while len(list(grid.get_node_ids())) < wanted:
        time.sleep(LOOK_S)
    (folder / "ready").touch()
    while not (folder / "end").exists():
        if not (folder / f"go-{number}").exists():
            time.sleep(LOOK_S)
            continue
        began = time.perf_counter()
        content = RecordDict({"arrays": model, "config": ConfigRecord({"server-round": number})})
        nodes = sorted(grid.get_node_ids())
        replies = grid.send_and_receive([Message(content, node, "train") for node in nodes])
        mean, _ = rule.aggregate_train(number, replies)
        took = time.perf_counter() - began
        after = (model if mean is None else mean)["w"].numpy() + STEP
        model = ArrayRecord({"w": Array(after)})
        np.save(folder / "model.npy", after)
        (folder / "writing").write_text(f"{took} {len(nodes)}")
        (folder / "writing").rename(folder / f"done-{number}")
        number += 1
