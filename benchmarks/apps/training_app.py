"""A ClientApp that trains a network of ten million weights on made-up cases: five passes over 500 of them."""

from itertools import pairwise

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from torch import nn

from fedmed.flower.client import answer, tensors_in

SIZES = (784, 3072, 2048, 512, 1)
CASES, PASSES, BATCH = 500, 5, 32

app = ClientApp()


def network() -> nn.Sequential:
    """9.75 million weights."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(SIZES):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@app.train()
def train(message: Message, context: Context) -> Message:
    """The model after its passes; seeded by the node, so that it is the same in every arm."""
    generator = torch.Generator().manual_seed(int(context.node_config["partition-id"]))
    x, y = torch.randn(CASES, SIZES[0], generator=generator), torch.rand(CASES, 1, generator=generator).round()
    model = network()
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in tensors_in(message).items()})
    optimiser, total = torch.optim.SGD(model.parameters(), 0.01), 0.0
    for _ in range(PASSES):
        for rows in torch.split(torch.arange(CASES), BATCH):
            loss = nn.functional.binary_cross_entropy_with_logits(model(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total = loss.item()
    trained = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    return answer(message, {"num-examples": 10, "loss": total}, trained)
