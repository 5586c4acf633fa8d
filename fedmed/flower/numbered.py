"""Nodes of Flower's own runtime under numbers that do not change from run to run, behind what our own Grids can do.

Flower draws the numbers of simulated nodes. Whose line and machine a node has in virtual time goes by its place among the
sites, so each is asked once for its partition, and is `FIRST_NODE` and its partition to everybody above.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from fedmed.clock import Clock, SystemClock
from fedmed.errors import FederationError
from fedmed.flower import identity
from fedmed.flower.grids import OneRun
from fedmed.flower.inprocess import FIRST_NODE
from fedmed.flower.waiting import send_and_receive

PLACE = "query.place"
RECORD, PARTITION = "place", "partition-id"
POLL_S = 0.02
MEETING_S = 600.0


def place_of(message: Message, partition: int) -> Message:
    """A node's answer to `PLACE`."""
    return Message(RecordDict({RECORD: ConfigRecord({PARTITION: partition})}), reply_to=message)


class NumberedGrid(OneRun):
    """A grid of Flower's whose `sites` nodes answer `PLACE`; it cannot give up on a message, only forget it."""

    def __init__(self, grid: Grid, sites: int, clock: Clock | None = None) -> None:
        """Asks every node for its place. Raises FederationError where one does not say."""
        self._grid, self._clock, self._sites = grid, clock or SystemClock(), sites
        self._node_of = self._ask()
        self._number_of = {node: number for number, node in self._node_of.items()}
        self._ready: dict[str, Message] = {}
        """Answers that the grid has handed over, for each is handed over once."""

    def _ask(self) -> dict[int, int]:
        end = self._clock.now() + MEETING_S
        while len(nodes := list(self._grid.get_node_ids())) < self._sites and self._clock.now() < end:
            self._clock.sleep(POLL_S)
        asked = [Message(RecordDict({RECORD: ConfigRecord({})}), node, PLACE) for node in nodes]
        answers = self._grid.send_and_receive(asked, timeout=MEETING_S)
        found = {
            FIRST_NODE + int(str(answer.content.config_records[RECORD][PARTITION])): answer.metadata.src_node_id
            for answer in answers
            if answer.has_content()
        }
        if sorted(found) != list(range(FIRST_NODE, FIRST_NODE + self._sites)):
            raise FederationError(
                f"{len(found)} of {self._sites} simulated nodes said which site they are; run again, and with "
                "engine.name: inprocess if it stays so"
            )
        return found

    @property
    def clock(self) -> Clock:
        """The machine's."""
        return self._clock

    def get_node_ids(self) -> Iterable[int]:
        """Those of the nodes that are online, by number."""
        return sorted(self._number_of[node] for node in self._grid.get_node_ids())

    def lane_of(self, node: int) -> int:
        """One for all: any actor may answer for any node."""
        return 0

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send."""
        return list(self._grid.push_messages([self._addressed(message) for message in messages]))

    def _addressed(self, message: Message) -> Message:
        to = message.metadata
        return Message(message.content, self._node_of[to.dst_node_id], to.message_type, ttl=to.ttl, group_id=to.group_id)

    def borrow_messages(self, message_ids: Iterable[str]) -> Generator[Message, None, None]:
        """Answers that are there."""
        ids = list(message_ids)
        for answer in self._grid.pull_messages([each for each in ids if each not in self._ready]):
            identity.set_sender(answer, self._number_of[answer.metadata.src_node_id])
            self._ready[answer.metadata.reply_to_message_id] = answer
        for each in ids:
            if each in self._ready:
                yield self._ready.pop(each)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answers that are there."""
        return list(self.borrow_messages(message_ids))

    def line_s(self, asked: str) -> float:
        """Not seen."""
        return 0.0

    def wait(self, timeout_s: float) -> None:
        """A moment: Flower's grid does not tell when there is an answer."""
        self._clock.sleep(min(POLL_S, timeout_s))

    def queued(self, message_ids: Iterable[str]) -> frozenset[str]:
        """Any of them may wait for an actor."""
        return frozenset(message_ids)

    def cancel(self, message_ids: Iterable[str]) -> None:
        """Nothing: their answers are not asked for any more."""

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push, then wait for all answers, or for those that come within `timeout` seconds."""
        return send_and_receive(self, self._clock, messages, timeout, POLL_S)
