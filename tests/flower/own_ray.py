"""A strategy that sends one site an order which it cannot read."""

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import FedAvg

BROKEN_ROUND = 2


class Misleads(FedAvg):
    def configure_train(self, server_round, arrays, config, grid):
        messages = list(super().configure_train(server_round, arrays, config, grid))
        if server_round != BROKEN_ROUND:
            return messages
        victim = list(grid.get_node_ids())[-1]  # the last site by name, whatever its node
        wrong = RecordDict({"arrays": arrays, "config": ConfigRecord({"fedmed.order": "{}"})})
        return [
            Message(wrong, victim, "train") if message.metadata.dst_node_id == victim else message for message in messages
        ]
