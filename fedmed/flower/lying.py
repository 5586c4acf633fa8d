"""A Grid whose center lies beside an honest run: further requests to the same members, whose answers it alone hears.

    round loop -> LyingGrid (which lies go where) -> VirtualGrid -> Beside (lies first, then the message) -> sites

Which lies there are is decided where the run's messages come in their order, and told where its answers do, so that both
are the same on however many processes. A lie goes to its member right before an honest message, by the same way, and takes
neither virtual time nor bytes: the run's trace is that of a run without lies.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from flwr.app import ConfigRecord, Message, RecordDict

from fedmed.clock import Clock
from fedmed.flower import keys
from fedmed.flower.arrays import numbers
from fedmed.flower.grids import OneRun
from fedmed.flower.ours import OwnGrid
from fedmed.flower.virtual import VirtualGrid, kept
from fedmed.flower.waiting import send_and_receive

LOOK_S = 3600.0
"""Between two looks at a process that works."""


@dataclass(frozen=True)
class Asked:
    """An honest request of secure aggregation, or work that belongs to a masked round."""

    node: int
    kind: str
    said: bytes = b""
    """The request."""
    header: bytes = b""
    """Of the work's round."""
    order: str = ""
    """What the work says beside tensors and the round."""


@dataclass(frozen=True)
class Lie:
    """What a dishonest center sends beside a request: a request of its own, or the same work under another header."""

    round: int
    """Of training; 0 before the first."""
    attack: str
    """What it would be if the member answered."""
    how: str
    """In plain words."""
    step: str
    """Of the protocol, that it belongs to."""
    said: bytes = b""
    header: bytes = b""


class Liar(Protocol):
    """Who thinks of the lies; see `fedmed.simulate.lies`."""

    def lies(self, asked: Sequence[Asked], now: float) -> Sequence[Sequence[Lie]]:
        """What goes before each of the requests, which go out together at `now`."""

    def answered(self, asked: Asked) -> None:
        """A member answered an honest request, and refused nothing."""

    def heard(self, node: int, lie: Lie, refusal: str | None) -> None:
        """What a member said to a lie; None where it answered it."""


@dataclass
class Told:
    """A lie on its way."""

    node: int
    lie: Lie
    is_heard: bool = False
    refusal: str | None = None


@dataclass(frozen=True)
class Sent:
    """A message of the run, until its answer is there."""

    identity: int
    """Of the message in this process."""
    asked: Asked | None
    told: list[Told]


class Beside(OneRun):
    """Sends what was laid beside a message before it, to the same node, and keeps those answers to itself."""

    def __init__(self, grid: OwnGrid) -> None:
        """Whoever closes `grid` closes this."""
        self._grid = grid
        self._laid: dict[int, tuple[Message, list[tuple[Message, Told]]]] = {}
        """By the message's identity, which the message that is kept with it holds on to."""
        self._out: dict[str, Told] = {}

    def lay(self, message: Message, lies: list[tuple[Message, Told]]) -> None:
        """These go with `message`, whenever that goes."""
        self._laid[id(message)] = (message, lies)

    def forget(self, identity: int) -> None:
        """The message of this identity is given up: its lies go nowhere, unless they went."""
        self._laid.pop(identity, None)

    @property
    def clock(self) -> Clock:
        """The machine's own time."""
        return self._grid.clock

    def get_node_ids(self) -> Iterable[int]:
        """Nodes that are online."""
        return self._grid.get_node_ids()

    def lane_of(self, node: int) -> int:
        """See `OwnGrid`."""
        return self._grid.lane_of(node)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send lies and messages; returns the ids of the messages."""
        sent: list[tuple[Message, Told | None]] = []
        for message in messages:
            _, lies = self._laid.pop(id(message), (message, []))
            sent += [*lies, (message, None)]
        own = []
        for each, (_, told) in zip(self._grid.push_messages([message for message, _ in sent]), sent, strict=True):
            if told is None:
                own.append(each)
            else:
                self._out[each] = told
        return own

    def borrow_messages(self, message_ids: Iterable[str]) -> Generator[Message, None, None]:
        """Answers to messages that are ready; those to lies are heard on the way."""
        ids, has_heard = frozenset(message_ids), True
        while has_heard:
            has_heard = False
            with closing(self._grid.borrow_messages(ids | self._out.keys())) as answers:
                for answer in answers:
                    told = self._out.pop(answer.metadata.reply_to_message_id, None)
                    if told is None:
                        yield answer
                        continue
                    has_heard = told.is_heard = True
                    told.refusal = (answer.error.reason or "no reason given") if answer.has_error() else None

    def line_s(self, asked: str) -> float:
        """See `OwnGrid`."""
        return self._grid.line_s(asked)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that are ready, with arrays of their own."""
        answers = []
        for answer in self.borrow_messages(message_ids):
            if answer.has_content():
                answer.content = kept(answer.content)
            answers.append(answer)
        return answers

    def wait(self, timeout_s: float) -> None:
        """See `OwnGrid`."""
        self._grid.wait(timeout_s)

    def queued(self, message_ids: Iterable[str]) -> frozenset[str]:
        """See `OwnGrid`."""
        return self._grid.queued(message_ids)

    def cancel(self, message_ids: Iterable[str]) -> None:
        """See `OwnGrid`."""
        self._grid.cancel(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """See `OwnGrid`."""
        return send_and_receive(self, self.clock, messages, timeout, LOOK_S)


class LyingGrid(OneRun):
    """The grid of an honest run, seen by a center that also lies."""

    def __init__(self, grid: OwnGrid, timed: Callable[[OwnGrid], VirtualGrid], liar: Liar) -> None:
        """`timed` puts virtual time around the grid of the sites. Whoever closes `grid` closes this."""
        self._beside = Beside(grid)
        self._timed, self._liar = timed(self._beside), liar
        self._sent: dict[str, Sent] = {}

    @property
    def clock(self) -> Clock:
        """The virtual one."""
        return self._timed.clock

    def get_node_ids(self) -> Iterable[int]:
        """See `VirtualGrid`."""
        return self._timed.get_node_ids()

    def lane_of(self, node: int) -> int:
        """See `VirtualGrid`."""
        return self._timed.lane_of(node)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send the messages, and lies beside them."""
        messages = list(messages)
        asked = [_asked(message) for message in messages]
        known = [each for each in asked if each is not None]
        lies = iter(self._liar.lies(known, self.clock.now()))
        told = [[] if each is None else [Told(each.node, lie) for lie in next(lies)] for each in asked]
        for message, those in zip(messages, told, strict=True):
            if those:
                self._beside.lay(message, [(_message(each.lie, message), each) for each in those])
        sent = list(map(Sent, map(id, messages), asked, told))
        ids = list(self._timed.push_messages(messages))
        self._sent |= dict(zip(ids, sent, strict=True))
        return ids

    def borrow_messages(self, message_ids: Iterable[str]) -> Generator[Message, None, None]:
        """Answers to honest messages; what their members said to lies before is told with them."""
        with closing(self._timed.borrow_messages(message_ids)) as answers:
            for answer in answers:
                sent = self._sent.pop(answer.metadata.reply_to_message_id)
                self._tell(sent.told)
                if sent.asked is not None and not answer.has_error():
                    self._liar.answered(sent.asked)
                yield answer

    def _tell(self, told: Iterable[Told]) -> None:
        for each in told:
            if each.is_heard:
                self._liar.heard(each.node, each.lie, each.refusal)

    def finish(self) -> None:
        """Tell what was said to lies that went with messages whose own answer was lost, or not waited for."""
        for sent in self._sent.values():
            self._tell(sent.told)

    def line_s(self, asked: str) -> float:
        """See `VirtualGrid`."""
        return self._timed.line_s(asked)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that are there now."""
        return list(self.borrow_messages(message_ids))

    def wait(self, timeout_s: float) -> None:
        """See `VirtualGrid`."""
        self._timed.wait(timeout_s)

    def queued(self, message_ids: Iterable[str]) -> frozenset[str]:
        """See `VirtualGrid`."""
        return self._timed.queued(message_ids)

    def cancel(self, message_ids: Iterable[str]) -> None:
        """See `VirtualGrid`."""
        ids = list(message_ids)
        self._timed.cancel(ids)
        for each in ids:
            if each in self._sent:
                self._beside.forget(self._sent[each].identity)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """See `VirtualGrid`."""
        return send_and_receive(self, self.clock, messages, timeout, LOOK_S)


def _asked(message: Message) -> Asked | None:
    """None for what is neither of the protocol nor of a masked round."""
    meta, content = message.metadata, message.content
    said, notice = content.get(keys.SAID), content.get(keys.ROUND)
    if isinstance(said, ConfigRecord):
        return Asked(meta.dst_node_id, meta.message_type, said=_bytes(said, keys.BYTES))
    if isinstance(notice, ConfigRecord):
        order = str(numbers(content, ConfigRecord).get(keys.CONFIG_KEY, ""))
        return Asked(meta.dst_node_id, meta.message_type, header=_bytes(notice, keys.HEADER), order=order)
    return None


def _bytes(record: ConfigRecord, name: str) -> bytes:
    found = record.get(name)
    return found if isinstance(found, bytes) else b""


def _message(lie: Lie, beside: Message) -> Message:
    node = beside.metadata.dst_node_id
    if lie.said:
        return Message(RecordDict({keys.SAID: ConfigRecord({keys.BYTES: lie.said})}), node, keys.PROTOCOL)
    content = RecordDict(dict(beside.content.items()))
    notice = content[keys.ROUND]
    assert isinstance(notice, ConfigRecord)
    content[keys.ROUND] = ConfigRecord({**notice, keys.HEADER: lie.header})
    return Message(content, node, beside.metadata.message_type)
