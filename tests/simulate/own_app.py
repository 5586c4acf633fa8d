"""The clinic's app with two numbers of the researcher's own, as docs/researcher.md shows it; only one is ever declared."""

from __future__ import annotations

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients.app import census, clinic, describe, evaluate
from fedmed.flower.client import answer, order_in, tensors_in
from fedmed.learning.order import parse

app = ClientApp()
app.query("describe")(describe)
app.query("census")(census)
app.evaluate()(evaluate)


@app.train()
def train(message: Message, context: Context) -> Message:
    given, order = tensors_in(message), parse(order_in(message))
    tensors, metrics = clinic(context).train(order, given)
    norm = float(np.sqrt(sum(np.square(tensors[name] - given[name]).sum() for name in given)))
    return answer(message, metrics | {"update_norm": norm, "site_number": context.node_config["partition-id"]}, tensors)
