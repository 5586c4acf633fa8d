"""An audit log of the center in memory, and clinics that watch it."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedmed.identity import witness
from fedmed.identity.heads import Countersigned, SignedHead, countersign, sign_head
from fedmed.identity.member import MemberKeys
from fedmed.identity.witness import Ask, Countersign, Heard, Offered
from fedmed.wire.merkle import Tree
from tests.identity.parties import NOW, keys

CENTER, CLINICS = keys(50), (keys(51), keys(52), keys(53))
MEMBERS = {each.fingerprint: each.signing_public for each in (CENTER, *CLINICS)}
MS = int(NOW * 1000)


def tree_of(*entries: str) -> Tree:
    tree = Tree()
    tree.extend(each.encode() for each in entries)
    return tree


def head_of(tree: Tree, seconds: float = 0.0, owner: MemberKeys = CENTER, size: int | None = None) -> SignedHead:
    size = tree.size if size is None else size
    return sign_head(owner, size, tree.root(size), int((NOW + seconds) * 1000))


def signed(head: SignedHead, clinic: int = 1, seconds: float = 0.0) -> Countersigned:
    return countersign(CLINICS[clinic], head, int((NOW + seconds) * 1000))


@dataclass
class Clinic:
    """Takes what the center says, and keeps what it is told to do."""

    state: witness.State = field(default_factory=lambda: witness.State(CENTER.fingerprint))

    def tell(self, event: witness.Event) -> tuple[witness.Instruction, ...]:
        self.state, said = witness.step(self.state, event, MEMBERS)
        return said

    def offered(self, tree: Tree, seconds: float = 0.0) -> tuple[witness.Instruction, ...]:
        """An honest center's offer: the proof is from what this clinic has."""
        newest = self.state.newest
        proof = tree.consistency(newest.size) if newest is not None and newest.size <= tree.size else ()
        return self.tell(Offered(head_of(tree, seconds), proof, int((NOW + seconds) * 1000)))

    def heard(self, said: Countersigned, seconds: float = 0.0) -> tuple[witness.Instruction, ...]:
        return self.tell(Heard(said, int((NOW + seconds) * 1000)))


def is_countersigned(said: tuple[witness.Instruction, ...]) -> bool:
    return [type(each) for each in said] == [Countersign]


def only_ask(said: tuple[witness.Instruction, ...]) -> Ask:
    (ask,) = said
    assert isinstance(ask, Ask)
    return ask
