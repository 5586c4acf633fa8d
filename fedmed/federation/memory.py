"""What a process of the center knows of a run beside its model, as a commit keeps it: the sites, and the epoch's state.

The next process goes on with the same sites in the same epoch without asking anybody. All of it is public among the members.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedmed.federation.epochs import SoFar
from fedmed.identity.member import Identity
from fedmed.privacy.secagg import parameters
from fedmed.privacy.secagg.convening import Agreed
from fedmed.privacy.secagg.graph import Graph

Record = dict[str, Any]


@dataclass(frozen=True)
class Memory:
    """Of a run."""

    descriptions: Mapping[int, str]
    """What each site said of itself, by node."""
    people: Mapping[int, Identity]
    """Empty where nothing is masked."""
    epochs: SoFar | None

    def record(self) -> Record:
        """As JSON."""
        keys = {node: [one.name, one.transport_public.hex(), one.signing_public.hex()] for node, one in self.people.items()}
        return {
            "descriptions": {str(node): text for node, text in self.descriptions.items()},
            "people": {str(node): told for node, told in keys.items()},
            "epochs": None if self.epochs is None else _record(self.epochs),
        }

    @classmethod
    def of(cls, told: Record) -> Memory:
        """From `record`."""
        people = {
            int(node): Identity(name, bytes.fromhex(transport), bytes.fromhex(signing))
            for node, (name, transport, signing) in told["people"].items()
        }
        epochs = None if told["epochs"] is None else _read(told["epochs"], people)
        return cls({int(node): text for node, text in told["descriptions"].items()}, people, epochs)


def _record(epochs: SoFar) -> Record:
    agreed = epochs.agreed
    facts: Record = {"last": epochs.last, "used": epochs.used, "is_stale": epochs.is_stale}
    if agreed is not None:
        facts |= {
            "terms": agreed.terms.encode().hex(),
            "transcript": agreed.transcript.hex(),
            "order": list(agreed.graph.order),
            "round_keys": [agreed.rounds[member].hex() for member in sorted(agreed.rounds)],
        }
    return facts


def _read(told: Record, people: Mapping[int, Identity]) -> SoFar:
    agreed = None
    if "terms" in told:
        terms = parameters.decode(bytes.fromhex(told["terms"]))
        signing = {one.fingerprint: one.signing_public for one in people.values()}
        keys = {index: signing[fingerprint] for index, fingerprint in enumerate(terms.roster, 1)}
        rounds = {index: bytes.fromhex(each) for index, each in enumerate(told["round_keys"], 1)}
        graph = Graph(terms.design, tuple(told["order"]))
        agreed = Agreed(terms, keys, rounds, graph, bytes.fromhex(told["transcript"]))
    return SoFar(told["last"], told["used"], told["is_stale"], agreed)
