"""Strategies as a user may bring them: right and wrong ones."""

from flwr.serverapp.strategy import FedAvg, Strategy


class Mine(FedAvg):
    def __init__(self, strength: float = 1.0, **more) -> None:
        super().__init__(**more)
        self.strength = strength


class Demanding(FedAvg):
    def __init__(self) -> None:
        super().__init__(min_available_nodes=10)


class Wrapping(FedAvg):
    def __init__(self) -> None:
        super().__init__()
        self.inner = FedAvg(min_train_nodes=10)


class Unfinished(Strategy):
    pass


class NoStrategy:
    pass
