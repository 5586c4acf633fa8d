"""An epoch's set-up under way, as a part of the canonical bytes of a clinic's state: only what the next step needs.

    none        nothing
    committed   terms, index; the nonce
    advertised  terms, index; the commitments, the advert, the mail's secret and those of the rounds
    shared      terms, index; the advert, the rounds' secrets, the graph, the neighbours' mail keys and public keys, and its
                own share

Reading raises Refused.
"""

from __future__ import annotations

from typing import NamedTuple

from fedmed.privacy.secagg import parameters
from fedmed.privacy.secagg.encoding import DIGEST_BYTES, Reader, Writer, malformed
from fedmed.privacy.secagg.epoch_messages import Advert, read_advert, read_committed
from fedmed.privacy.secagg.graph import Graph
from fedmed.privacy.secagg.joining import Joining
from fedmed.privacy.secagg.messages import KEY_BYTES, NONCE_BYTES, SHARE_BYTES
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.schedule import SECRET_BYTES, SELF_BYTES

NO_SETUP, COMMITTED, ADVERTISED, SHARED = range(4)


class _Own(NamedTuple):
    advert: Advert
    own: tuple[bytes, ...]
    secrets: tuple[bytes, ...]


def put(writer: Writer, joining: Joining | None) -> None:
    """Write a set-up, or that there is none."""
    if joining is None:
        writer.number(NO_SETUP, 1)
        return
    stage = COMMITTED if joining.advert is None else ADVERTISED if joining.graph is None else SHARED
    writer.number(stage, 1).text(joining.terms.encode()).number(joining.index, 2)
    if joining.advert is None:
        writer.fixed(joining.nonce)
        return
    writer.fixed(joining.advert.encode())
    for own, secret in zip(joining.own, joining.secrets, strict=True):
        writer.fixed(own).fixed(secret)
    if joining.graph is None:
        writer.fixed(joining.mail)
        for each in joining.commitments:
            writer.fixed(each.digest).fixed(each.signature)
        return
    writer.fixed(joining.transcript).fixed(joining.kept)
    put_graph(writer, joining.graph)
    for neighbour in joining.graph.neighbours(joining.index):
        writer.fixed(joining.mail_keys[neighbour]).fixed(joining.keys[neighbour])


def read(reader: Reader) -> Joining | None:
    """The set-up that was written, if there was one."""
    if (stage := reader.number(1, SHARED)) == NO_SETUP:
        return None
    terms = parameters.decode(reader.text(parameters.MAX_BYTES))
    index = read_index(reader, terms)
    if stage == COMMITTED:
        return Joining(terms, index, reader.fixed(NONCE_BYTES))
    own = _read_own(reader, terms)
    return _read_advertised(reader, terms, index, own) if stage == ADVERTISED else _read_shared(reader, terms, index, own)


def _read_own(reader: Reader, terms: Parameters) -> _Own:
    advert = read_advert(reader)
    rounds = [(reader.fixed(SELF_BYTES), reader.fixed(SECRET_BYTES)) for _ in range(terms.rounds)]
    return _Own(advert, tuple(own for own, _ in rounds), tuple(secret for _, secret in rounds))


def _read_advertised(reader: Reader, terms: Parameters, index: int, own: _Own) -> Joining:
    mail = reader.fixed(SECRET_BYTES)
    commitments = tuple(read_committed(reader) for _ in range(terms.members if terms.draws_graph else 0))
    return Joining(terms, index, own.advert.nonce, own.advert, commitments, mail, own.own, own.secrets)


def _read_shared(reader: Reader, terms: Parameters, index: int, own: _Own) -> Joining:
    transcript, kept = reader.fixed(DIGEST_BYTES), reader.fixed(SHARE_BYTES * terms.rounds)
    graph, mail_keys, keys = read_graph(reader, terms), dict[int, bytes](), dict[int, bytes]()
    for neighbour in graph.neighbours(index):
        mail_keys[neighbour], keys[neighbour] = reader.fixed(SECRET_BYTES), reader.fixed(KEY_BYTES * terms.rounds)
    return Joining(
        terms,
        index,
        own.advert.nonce,
        own.advert,
        own=own.own,
        secrets=own.secrets,
        graph=graph,
        transcript=transcript,
        mail_keys=mail_keys,
        keys=keys,
        kept=kept,
    )


def read_index(reader: Reader, terms: Parameters) -> int:
    """A member's index under these terms."""
    if not (index := reader.number(2, terms.members)):
        raise malformed("members are counted from 1")
    return index


def put_graph(writer: Writer, graph: Graph) -> None:
    """Write the members' order around the ring; the rest follows from the terms."""
    for member in graph.order:
        writer.number(member, 2)


def read_graph(reader: Reader, terms: Parameters) -> Graph:
    """The graph of these terms with the order that was written."""
    order = tuple(reader.number(2, terms.members) for _ in range(terms.members))
    if sorted(order) != list(range(1, terms.members + 1)):
        raise malformed("the members' order is none")
    return Graph(terms.design, order)
