"""What a strategy proposes for a masked round: one message for everybody, with the round's header and layout in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict

from fedmed.errors import FederationError
from fedmed.flower import keys
from fedmed.flower.arrays import all_views, numbers
from fedmed.wire.canonical import canonical
from fedmed.wire.tensors import Tensors

UNMASKED = "privacy.secure_aggregation: off"


@dataclass(frozen=True)
class Proposal:
    """The content that every node of a cohort is given."""

    nodes: tuple[int, ...]
    kind: str
    content: RecordDict

    @property
    def text(self) -> str:
        """All that the content says beside tensors."""
        return text_of(self.content)

    @property
    def order(self) -> str:
        """The text of the order. Raises FederationError where a strategy left it out."""
        if isinstance(text := numbers(self.content, ConfigRecord).get(keys.CONFIG_KEY), str):
            return text
        raise FederationError(f"the strategy's messages carry no {keys.CONFIG_KEY!r}; it has to send the given config on")

    @property
    def model(self) -> Tensors:
        """Its tensors."""
        return all_views(self.content)

    def masked(self, nodes: Iterable[int], header: bytes, layout: bytes) -> list[Message]:
        """The messages for `nodes`, as part of a masked round."""
        content = RecordDict(dict(self.content))
        content[keys.ROUND] = ConfigRecord({keys.HEADER: header, keys.LAYOUT: layout})
        return [Message(content, node, self.kind) for node in nodes]


def query(kind: str, text: str, nodes: Iterable[int]) -> Proposal:
    """A question without tensors."""
    return Proposal(tuple(nodes), kind, RecordDict({"config": ConfigRecord({keys.CONFIG_KEY: text})}))


def common(strategy: str, messages: Sequence[Message], instead: str = UNMASKED) -> Proposal:
    """What all messages say. Raises FederationError where a strategy tells nodes different things; `instead` mends that."""
    first = messages[0]
    for other in messages[1:]:
        if other.content is not first.content and not _say_the_same(first.content, other.content):
            raise FederationError(
                f"{strategy} gives sites different models or settings: the sum of what they make of them would tell "
                f"nothing. Take another strategy, or write {instead}"
            )
    nodes = tuple(message.metadata.dst_node_id for message in messages)
    return Proposal(nodes, first.metadata.message_type, first.content)


def _say_the_same(one: RecordDict, other: RecordDict) -> bool:
    if text_of(one) != text_of(other):
        return False
    mine, theirs = all_views(one), all_views(other)
    return mine.keys() == theirs.keys() and all(
        value is theirs[name] or (value.dtype == theirs[name].dtype and value.tobytes() == theirs[name].tobytes())
        for name, value in mine.items()
    )


def text_of(content: RecordDict) -> str:
    """Every setting and number of a content as canonical JSON, but for the record that makes it part of a masked round."""
    told = {
        name: {key: _plain(value) for key, value in record.items()}
        for name, record in content.items()
        if isinstance(record, (ConfigRecord, MetricRecord)) and name != keys.ROUND
    }
    return canonical(told).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return {"hex": value.hex()} if isinstance(value, bytes) else value
