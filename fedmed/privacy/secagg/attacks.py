"""The attacks that a refusal answers, by name: a refusal of this room always names one of them."""

from __future__ import annotations

from enum import Enum

from fedmed.errors import ProtocolRefused


class Attack(Enum):
    """What it would be if the message were accepted."""

    MALFORMED = "malformed message"
    OUT_OF_TURN = "message out of turn"
    STRANGE_TERMS = "terms below this clinic's own"
    SYBIL = "unpinned member in the roster"
    SWAPPED_KEY = "key that its member did not sign"
    FOREIGN_SHARES = "shares of another member, epoch or run"
    LATE_NONCE = "nonce chosen after the others'"
    REPLAYED_EPOCH = "epoch used before"
    REPLAYED_ROUND = "round used before"
    OTHER_ROUND = "another round, cohort or model than this clinic was given"
    SMALL_SUM = "sum over too few clinics"
    FALSE_SURVIVORS = "survivors that do not fit what was sent"
    CUT_GRAPH = "survivors that the others' masks do not connect"
    EQUIVOCATION = "two survivor sets in one round"
    NO_QUORUM = "survivor set without a quorum of signatures"
    FALSE_UPLOAD = "upload that its member did not sign"
    BAD_SHARE = "share that does not open what was committed to"


class Refused(ProtocolRefused):
    """A refusal with the attack that it answers."""

    def __init__(self, attack: Attack, text: str) -> None:
        super().__init__(f"{attack.value}: {text}")
        self.attack = attack
