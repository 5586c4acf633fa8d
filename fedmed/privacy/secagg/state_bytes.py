"""What a clinic's keystore holds, as canonical bytes: the newest epoch's number, the epoch with the secrets left in it, and
the next one's set-up while it is under way.

Reading raises Refused.
"""

from __future__ import annotations

from fedmed.privacy.secagg import joining_bytes, parameters
from fedmed.privacy.secagg.client import State
from fedmed.privacy.secagg.encoding import DIGEST_BYTES, Reader, Writer, malformed
from fedmed.privacy.secagg.graph import Graph
from fedmed.privacy.secagg.member import Current, Epoch, RoundSecrets
from fedmed.privacy.secagg.messages import KEY_BYTES, SHARE_BYTES, SMALL
from fedmed.privacy.secagg.parameters import MAX_EPOCH, MAX_MEMBERS, MAX_ROUNDS
from fedmed.privacy.secagg.round_messages import MAX_HEADER
from fedmed.privacy.secagg.schedule import SECRET_BYTES, SELF_BYTES

KIND = 64
MAX_BYTES = 2**28
MAX_ANSWER = MAX_MEMBERS * (SECRET_BYTES + 4) + SMALL


def encode(state: State) -> bytes:
    """All of the state but a round that has begun and sent nothing, which may begin again."""
    writer = Writer(KIND).number(state.last_epoch, 4).number(state.epoch is not None, 1)
    if state.epoch is not None:
        _put_epoch(writer, state.epoch)
    joining_bytes.put(writer, state.joining)
    return writer.bytes()


def _put_epoch(writer: Writer, epoch: Epoch) -> None:
    writer.text(epoch.terms.encode()).number(epoch.index, 2).fixed(epoch.transcript)
    joining_bytes.put_graph(writer, epoch.graph)
    for neighbour in epoch.graph.neighbours(epoch.index):
        writer.fixed(epoch.keys[neighbour])
    writer.number(len(epoch.secrets), 1)
    dealers = epoch.graph.holders(epoch.index)
    for number, kept in sorted(epoch.secrets.items()):
        writer.number(number, 1).fixed(b"".join((kept.own, kept.key, *map(kept.held.__getitem__, dealers))))
    writer.number(epoch.last, 1).number(epoch.current is not None, 1)
    if epoch.current is not None:
        _put_current(writer, epoch.current)


def _put_current(writer: Writer, current: Current) -> None:
    writer.number(current.number, 1).text(current.header).fixed(current.digest)
    writer.number(current.survivors is not None, 1)
    if current.survivors is not None:
        writer.number(len(current.survivors), 2)
        for member in current.survivors:
            writer.number(member, 2)
    for answer in (current.uploaded, current.confirmed, current.revealed):
        writer.text(answer or b"")


def decode(data: bytes) -> State:
    """The state that was encoded. Raises Refused."""
    reader = Reader(data, KIND, MAX_BYTES)
    last_epoch, has_epoch = reader.number(4, MAX_EPOCH), reader.number(1, 1)
    epoch = _read_epoch(reader) if has_epoch else None
    state = State(last_epoch, joining_bytes.read(reader), epoch)
    reader.end()
    return state


def _read_epoch(reader: Reader) -> Epoch:
    terms = parameters.decode(reader.text(parameters.MAX_BYTES))
    index, transcript = joining_bytes.read_index(reader, terms), reader.fixed(DIGEST_BYTES)
    graph = joining_bytes.read_graph(reader, terms)
    keys = {neighbour: reader.fixed(KEY_BYTES * terms.rounds) for neighbour in graph.neighbours(index)}
    kept = [_read_secrets(reader, graph, index) for _ in range(reader.number(1, terms.rounds))]
    if (numbers := [number for number, _ in kept]) != sorted(set(numbers)):
        raise malformed("the rounds are not in their order")
    last, has_current = reader.number(1, MAX_ROUNDS), reader.number(1, 1)
    current = _read_current(reader) if has_current else None
    return Epoch(terms, index, transcript, graph, keys, dict(kept), last, current)


def _read_secrets(reader: Reader, graph: Graph, index: int) -> tuple[int, RoundSecrets]:
    number, own, key = reader.number(1, MAX_ROUNDS), reader.fixed(SELF_BYTES), reader.fixed(SECRET_BYTES)
    return number, RoundSecrets(own, key, {dealer: reader.fixed(SHARE_BYTES) for dealer in graph.holders(index)})


def _read_current(reader: Reader) -> Current:
    number, header, digest = reader.number(1, MAX_ROUNDS), reader.text(MAX_HEADER), reader.fixed(DIGEST_BYTES)
    survivors = None
    if reader.number(1, 1):
        survivors = tuple(reader.number(2, MAX_MEMBERS) for _ in range(reader.number(2, MAX_MEMBERS)))
    uploaded, confirmed, revealed = (reader.text(MAX_ANSWER) or None for _ in range(3))
    return Current(number, header, digest, uploaded, survivors, confirmed, revealed)
