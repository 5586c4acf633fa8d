"""A ClientApp of a simulated clinic whose devices train along: the same app on each device's cases, folded into one answer.

No message is a device's own. Who is there in time comes with the clinic's message (`keys.WORLD`) and is in its context.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MessageType, MetricRecord, RecordDict

from fedmed.errors import FedmedError
from fedmed.flower.arrays import all_views, borrow, numbers
from fedmed.flower.guard import REFUSED
from fedmed.flower.keys import CONFIG_KEY, DESCRIBE, JOINED, WORLD
from fedmed.wire.tensors import Tensors

Describe = Callable[[str, Mapping[str, Any]], str]
"""What a clinic says of itself with its devices' cases: of its own description and its node's configuration."""
Made = tuple[Tensors, Mapping[str, Any]]
"""A trained model and its numbers."""
Part = Callable[[Tensors, Tensors, Mapping[str, Any]], Any]
"""What is kept of one: of the model that was given, the trained one, whose memory the next one takes, and its numbers."""
Fold = Callable[[Tensors, Tensors, Sequence[Any]], Made]
"""What is answered: of the model that was given, the clinic's own, and all parts, its own first. Raises FedmedError."""


def with_devices(app: Any, part: Part, fold: Fold, describe: Describe) -> Any:
    """The app, which trains the devices along that a clinic's message names."""

    def answer(message: Message, context: Context) -> Message:
        reply: Message = app(message=message, context=context)
        kind, told = message.metadata.message_type, context.state.get(WORLD)
        if reply.has_error():
            return reply
        if kind == DESCRIBE:
            text = str(numbers(reply.content, ConfigRecord)[CONFIG_KEY])
            said = ConfigRecord({CONFIG_KEY: describe(text, context.node_config)})
            return Message(RecordDict({"answer": said}), reply_to=message)
        if kind != MessageType.TRAIN or not isinstance(told, ConfigRecord):
            return reply
        joined: Any = told[JOINED]
        model = all_views(message.content)
        own = {name: value.copy() for name, value in all_views(reply.content).items()}
        parts = [part(model, own, numbers(reply.content, MetricRecord))]
        for device in joined:
            made: Message = app(message=message, context=_at(context, device))
            if made.has_error():
                return made
            parts.append(part(model, all_views(made.content), numbers(made.content, MetricRecord)))
        try:
            return _answer(message, reply, *fold(model, own, parts))
        except FedmedError as error:
            return Message(Error(REFUSED, f"{type(error).__name__}: {error}"), reply_to=message)

    return answer


def _at(context: Context, device: int) -> Context:
    """The place of a device: a site of its own in the folder of its clinic's."""
    config = {**context.node_config, "partition-id": device}
    return Context(context.run_id, context.node_id, config, RecordDict(), context.run_config)


def _answer(message: Message, own: Message, tensors: Tensors, values: Mapping[str, Any]) -> Message:
    content = RecordDict()
    for key, record in own.content.items():
        if isinstance(record, ArrayRecord):
            record = borrow({name: tensors[name] for name in record})
        elif isinstance(record, MetricRecord):
            record = MetricRecord(dict(values))
        content[key] = record
    return Message(content, reply_to=message)
