"""The clinic's Flower ClientApp: the four things that a center may ask of a clinic, and no more.

It holds no data and no decision of its own; the installed library does the work (`fedmed.learning.clinic`).
"""

import os
from functools import lru_cache
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedmed.flower.client import answer, answer_fields, answer_text, order_in, tensors_in
from fedmed.flower.shelf import ContextShelf
from fedmed.learning.clinic import Clinic
from fedmed.learning.disclosure import APPROVED, Counter
from fedmed.learning.keeping import Shelf
from fedmed.learning.order import parse
from fedmed.sites.prepared import laid_out, open_site
from fedmed.sites.shelves import FileShelf

app = ClientApp()


@lru_cache(maxsize=256)
def clinic_at(folder: str, index: int, laid_out: str, approved: bool) -> Clinic:
    """The clinic whose cases are the `index`-th of a folder of prepared sites, as they were `laid_out` there.

    Where no staff has `approved` a run, it is one of a simulation, which repeats, and whose sites may attack it.
    """
    if approved:
        return Clinic(open_site(Path(folder), index), Counter())
    from fedmed.learning.attacks.hostile import simulated  # a clinic's own process never loads it

    return simulated(Path(folder), index)


def clinic(context: Context) -> Clinic:
    """The clinic that this node is."""
    folder = str(context.node_config.get("sites-folder") or os.environ["FEDMED_SITES"])
    index, approved = int(context.node_config["partition-id"]), APPROVED in context.node_config
    return clinic_at(folder, index, laid_out(Path(folder)), approved)


def shelf(context: Context) -> Shelf:
    """Where this node keeps what stays there between rounds."""
    if APPROVED in context.node_config:
        return ContextShelf(context)
    folder = Path(str(context.node_config.get("sites-folder") or os.environ["FEDMED_SITES"]))
    return FileShelf(folder.parent, int(context.node_config["partition-id"]))


@app.query("describe")
def describe(message: Message, context: Context) -> Message:
    """Name, counts and sums; never a case."""
    return answer_text(message, clinic(context).describe)


@app.query("census")
def census(message: Message, context: Context) -> Message:
    """Counts of classes and sums of features, for a masked sum."""
    return answer_fields(message, clinic(context).census(order_in(message)))


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the model of the message on the clinic's training cases."""
    tensors, metrics = clinic(context).train(parse(order_in(message)), tensors_in(message), shelf(context))
    return answer(message, metrics, tensors)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Validate the model of the message on the clinic's validation cases."""
    order, tensors = parse(order_in(message)), tensors_in(message)
    if order.bins is not None:
        return answer_fields(message, clinic(context).score(order, tensors, shelf(context)))
    return answer(message, clinic(context).validate(order, tensors, shelf(context)))
