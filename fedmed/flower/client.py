"""The client's side of a message: an order and tensors in, tensors and numbers out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import ArrayLike

from fedmed.flower.arrays import all_views, borrow, numbers
from fedmed.flower.keys import CONFIG_KEY
from fedmed.wire.tensors import Tensors

Metrics = dict[str, float | int]


def order_in(message: Message) -> str:
    """The text of the order that a message carries. Raises ValueError where there is none."""
    if isinstance(text := numbers(message.content, ConfigRecord).get(CONFIG_KEY), str):
        return text
    raise ValueError(f"the message carries no {CONFIG_KEY!r}; this app answers fedmed's center only")


def tensors_in(message: Message) -> Tensors:
    """The model that a message carries."""
    return all_views(message.content)


def answer(message: Message, metrics: Metrics, tensors: Tensors | None = None) -> Message:
    """A reply in the form that Flower's strategies expect; its tensors are borrowed until it has been sent."""
    content = RecordDict({"metrics": MetricRecord(dict(metrics))})
    if tensors is not None:
        content["arrays"] = borrow(tensors)
    return Message(content, reply_to=message)


def answer_text(message: Message, work: Callable[[str], str]) -> Message:
    """A reply that carries what `work` makes of the order's text."""
    return Message(RecordDict({"answer": ConfigRecord({CONFIG_KEY: work(order_in(message))})}), reply_to=message)


def answer_fields(message: Message, fields: Mapping[str, ArrayLike]) -> Message:
    """A reply that carries numbers for the fields of a masked sum."""
    return Message(
        RecordDict({"fields": borrow({name: np.asarray(value) for name, value in fields.items()})}), reply_to=message
    )
