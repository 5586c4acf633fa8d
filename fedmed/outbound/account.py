"""What is written down of a vector before it leaves: taken from the vector, its envelope and the terms in force."""

from __future__ import annotations

import json
from dataclasses import dataclass

from fedmed.outbound.outbox import Sent
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg.layout import Layout
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.round_messages import Header, Uploaded
from fedmed.store.departures import Departure

ROUND = "server-round"  # as Flower's strategies tell the round


@dataclass(frozen=True)
class Occasion:
    """For what a vector leaves."""

    purpose: Purpose
    layout: Layout
    text: str
    """All that the message said beside tensors."""
    norm: float | None
    """L2 norm of the update, where it is one and was made just now."""


def departure(sent: Sent, header: Header, terms: Parameters, occasion: Occasion, dataset: str) -> Departure:
    """The line of a vector in the clinic's ledger, but for its time, what it carries and what
    differential privacy adds.

    Raises ProtocolRefused for an envelope that is none.
    """
    layout = occasion.layout
    return Departure(
        unix=0.0,
        federation=terms.federation,
        run=terms.run,
        epoch=terms.epoch,
        number=header.number,
        purpose=occasion.purpose.name.lower(),
        round=round_in(occasion.text),
        cohort=len(header.cohort),
        members=terms.members,
        quorum=terms.quorum,
        least=terms.least_survivors(len(header.cohort)),
        mode=terms.mode,
        bits=layout.bits,
        tensors=tuple((tensor.name, tensor.shape) for tensor in layout.tensors),
        fields=tuple((field.name, field.count) for field in layout.fields),
        bytes=sent.vector.nbytes,
        vector_blake3=Uploaded.decode(sent.envelope).vector.hex(),
        model_blake3=header.model.hex(),
        layout_sha256=header.layout.hex(),
        norm=occasion.norm,
        clip=None,
        noise=None,
        epsilon=None,
        delta=None,
        dataset=dataset,
    )


def round_in(text: str) -> int | None:
    """The round of training that canonical settings (`flower.proposal.text_of`) tell, if they do."""
    for record in json.loads(text).values():
        if isinstance(number := record.get(ROUND), int):
            return number
    return None
