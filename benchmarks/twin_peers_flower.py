"""The arm of `twin_peers.py` that is Flower's simulation on Ray: two actors, the model and the cases kept in each."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import nn

from benchmarks.twin_peers_arm import Line
from benchmarks.twin_peers_task import RATE, Cases, Floats, fill, network, train

FOLDER, ACTORS = "FEDMED_TWIN_TASK", 2


@lru_cache(maxsize=1)
def kept() -> tuple[Cases, nn.Module, torch.optim.Optimizer]:
    """What an actor keeps from client to client."""
    torch.set_num_threads(1)
    cases = Cases(Path(os.environ[FOLDER]))
    model = network(cases.task)
    return cases, model, torch.optim.SGD(model.parameters(), lr=RATE)


def learned(message: Message) -> Message:
    """One client's answer."""
    cases, model, optimiser = kept()
    fill(model, message.content["arrays"].to_numpy_ndarrays())  # type: ignore[union-attr]
    asked = message.content["config"]
    x, y = cases.of(int(asked["client"]), int(asked["number"]))  # type: ignore[index,arg-type]
    loss = train(model, optimiser, x, y)
    arrays = ArrayRecord([each.detach().numpy() for each in model.parameters()])
    return Message(
        RecordDict({"arrays": arrays, "m": MetricRecord({"num-examples": len(y), "loss": loss})}), reply_to=message
    )


class Told(FedAvg):
    """Flower's FedAvg, of the cohorts that all arms have; it waits for each round to be asked for."""

    def __init__(self, line: Line, cases: Cases) -> None:
        super().__init__(fraction_evaluate=0.0, min_available_nodes=cases.task.clients, min_train_nodes=cases.task.cohort)
        self._line, self._task, self._nodes, self._began = line, cases.task, list[int](), 0.0
        self.weights: list[Floats] = cases.task.first()

    def configure_train(self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Iterable[Message]:
        """The messages of a round."""
        while len(self._nodes) < self._task.clients:
            time.sleep(0.1)
            self._nodes = sorted(grid.get_node_ids())
        self._line.awaited(self.weights)
        self._began = time.perf_counter()
        number, sent = server_round - 1, list[Message]()
        for client in self._task.members(number):
            asked = ConfigRecord({"client": client, "number": number})
            sent.append(Message(RecordDict({"arrays": arrays, "config": asked}), self._nodes[client], "train"))
        return sent

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The mean."""
        found = super().aggregate_train(server_round, replies)
        seconds = time.perf_counter() - self._began
        if found[0] is None:
            raise SystemExit("no client answered")
        self.weights = found[0].to_numpy_ndarrays()
        self._line.say(seconds=seconds)
        return found


def run(path: str, cases: Cases, rounds: int) -> None:
    """All rounds."""
    os.environ[FOLDER] = str(cases.folder)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    line, client, server = Line(path), ClientApp(), ServerApp()
    strategy = Told(line, cases)

    @client.train()
    def answer(message: Message, context: Context) -> Message:
        from benchmarks.twin_peers_flower import learned  # what an actor keeps is its module's, not the message's

        return learned(message)

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        strategy.start(grid, ArrayRecord(cases.task.first()), num_rounds=rounds)
        line.awaited(strategy.weights)

    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"num_cpus": ACTORS}}
    run_simulation(server, client, cases.task.clients, backend_config=resources)  # type: ignore[arg-type]
