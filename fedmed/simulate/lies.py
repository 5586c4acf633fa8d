"""What a dishonest center asks: from each honest request, one that it must not make, to see it refused.

Every lie is made so that a member who answered it would give something away, and none is what an honest center could ask:
a request that is only said again, byte for byte, has its old answer and is no lie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fedmed.flower.lying import Asked
from fedmed.privacy.secagg import epoch_messages, parameters, round_messages
from fedmed.privacy.secagg.attacks import Attack
from fedmed.privacy.secagg.client import KIND_AT
from fedmed.privacy.secagg.epoch_messages import Advert, Mail, SetupRequest, SharesRequest
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.round_messages import ConfirmRequest, Header, RevealRequest

STEPS = {
    epoch_messages.COMMIT: "commit",
    epoch_messages.ADVERT: "advert",
    epoch_messages.SHARES: "shares",
    epoch_messages.STORE: "store",
    round_messages.CONFIRM: "confirm",
    round_messages.REVEAL: "reveal",
}


def step_of(asked: Asked) -> str:
    """The step of the protocol that a request belongs to: `work`, or one of `STEPS`."""
    if not asked.said:
        return "work"
    return STEPS.get(asked.said[KIND_AT], "") if len(asked.said) > KIND_AT else ""


@dataclass
class Heard:
    """What a member has answered of the newest epoch."""

    index: int = 0
    """Its place in the roster, from 1."""
    advert: bytes = b""
    store: bytes = b""
    worked: bytes = b""
    """The header of the newest round that it worked for."""
    confirmed: bytes = b""
    """The header that it confirmed last."""
    revealed: bytes = b""
    """The request that it revealed its shares to, as long as that was the last that it answered."""


@dataclass
class Scene:
    """What a lie is made from."""

    heard: Heard
    terms: Parameters | None
    asked: Asked

    @property
    def header(self) -> Header:
        """Of work."""
        return Header.decode(self.asked.header)


Made = tuple[bytes, bytes]
"""A request, and the header of work; one of them is empty."""
Make = Callable[[Scene], Made | None]
Kind = tuple[Attack, str, Make]
"""What it would be, in plain words, and how it is made; None where it would be no lie to this member."""


def _said(message: bytes) -> Made:
    return message, b""


def _work(header: Header) -> Made:
    return b"", header.encode()


def _stranger(there: Scene) -> Made:
    asked, terms = _setup(there)
    roster = tuple(sorted({*terms.roster, hashlib.sha256(b"nobody").digest()}))
    return _said(replace(asked, terms=replace(terms, roster=roster).encode()).encode())


def _other_terms(there: Scene) -> Made:
    asked, terms = _setup(there)
    return _said(replace(asked, terms=replace(terms, federation="another").encode()).encode())


def _setup(there: Scene) -> tuple[SetupRequest, Parameters]:
    asked = SetupRequest.decode(there.asked.said, there.asked.said[KIND_AT])
    return asked, parameters.decode(asked.terms)


def _swapped_key(there: Scene) -> Made:
    """The center's own key for mail in place of another member's: it would read the shares."""
    asked = SharesRequest.decode(there.asked.said)
    place = there.heard.index % len(asked.adverts)  # the next one's
    adverts = list(asked.adverts)
    adverts[place] = _with_mail(adverts[place], hashlib.sha256(b"center").digest())
    return _said(replace(asked, adverts=tuple(adverts)).encode())


def _with_mail(advert: Advert, mail: bytes) -> Advert:
    return replace(advert, mail=mail)


def _foreign_shares(there: Scene) -> Made | None:
    asked = Mail.decode(there.asked.said, epoch_messages.STORE)
    first, second, *others = asked.sealed
    return _said(replace(asked, sealed=(second, first, *others)).encode())


def _epoch_again(there: Scene) -> Made | None:
    return _said(there.heard.advert) if there.heard.store else None


def _mail_again(there: Scene) -> Made | None:
    return _said(there.heard.store) if there.heard.store else None


def _alone(there: Scene) -> Made:
    return _work(replace(there.header, cohort=(there.heard.index,)))


def _two(there: Scene) -> Made | None:
    others = [each for each in there.header.cohort if each != there.heard.index]
    return _work(replace(there.header, cohort=tuple(sorted((there.heard.index, others[0]))))) if others else None


def _other_model(there: Scene) -> Made:
    return _work(replace(there.header, model=hashlib.sha256(there.header.model).digest()))


def _round_again(there: Scene) -> Made | None:
    """An old round with this round's model: two vectors under one mask would give their difference away."""
    if not there.heard.worked:
        return None
    again = replace(there.header, number=Header.decode(there.heard.worked).number)
    is_other = again.encode() != there.heard.worked  # else an attempt was repeated, and its answer is the old one
    return _work(again) if is_other and again.number < there.header.number else None


def _opened_otherwise(there: Scene) -> Made | None:
    """The last round, which was opened, once more without one clinic: the two sums would differ by its update."""
    if not there.heard.revealed:
        return None
    asked = RevealRequest.decode(there.heard.revealed)
    return _said(replace(asked, survivors=asked.survivors[1:]).encode())


def _other_header(there: Scene) -> Made | None:
    asked = ConfirmRequest.decode(there.asked.said)
    header = Header.decode(asked.header)
    if there.heard.worked != asked.header:  # who was not given this round cannot know its header
        return None
    other = replace(header, model=hashlib.sha256(header.model).digest())
    return _said(replace(asked, header=other.encode()).encode())


def _survivor_of_nobody(there: Scene) -> Made:
    asked = ConfirmRequest.decode(there.asked.said)
    cohort = Header.decode(asked.header).cohort
    return _said(replace(asked, survivors=(*asked.survivors, max(cohort) + 1)).encode())


def _few_survivors(there: Scene) -> Made:
    asked = ConfirmRequest.decode(there.asked.said)
    return _said(replace(asked, survivors=asked.survivors[:2]).encode())


def _too_long(there: Scene) -> Made:
    return _said(there.asked.said + b"\0")


def _confirmed_otherwise(there: Scene) -> Made | None:
    asked = RevealRequest.decode(there.asked.said)
    if there.heard.confirmed != asked.header:
        return None
    return _said(ConfirmRequest(asked.header, asked.survivors[1:]).encode())


def _no_quorum(there: Scene) -> Made | None:
    asked, terms = RevealRequest.decode(there.asked.said), there.terms
    if terms is None or there.heard.confirmed != asked.header:
        return None
    return _said(replace(asked, confirmed=asked.confirmed[: terms.quorum - 1]).encode())


_WORK: tuple[Kind, ...] = (
    (Attack.SMALL_SUM, "a cohort of this clinic alone", _alone),
    (Attack.SMALL_SUM, "a cohort of two", _two),
    (Attack.OTHER_ROUND, "a header that names another model", _other_model),
    (Attack.REPLAYED_ROUND, "a round once more that was opened", _round_again),
    (Attack.EQUIVOCATION, "the last sum once more, without one clinic", _opened_otherwise),
    (Attack.REPLAYED_EPOCH, "the set-up of an epoch once more", _epoch_again),
    (Attack.OUT_OF_TURN, "mail with shares once more", _mail_again),
)
_SETUP: tuple[Kind, ...] = (
    (Attack.SYBIL, "a roster with a member whom nobody approved", _stranger),
    (Attack.STRANGE_TERMS, "terms of another federation", _other_terms),
)
LIES: Mapping[str, tuple[Kind, ...]] = {
    "work": _WORK,
    "commit": _SETUP,
    "advert": _SETUP,
    "shares": ((Attack.SWAPPED_KEY, "a key of the center's in place of a member's", _swapped_key),),
    "store": ((Attack.FOREIGN_SHARES, "shares as if another member had sent them", _foreign_shares),),
    "confirm": (
        (Attack.FALSE_SURVIVORS, "a survivor that was not in the cohort", _survivor_of_nobody),
        (Attack.SMALL_SUM, "two survivors", _few_survivors),
        (Attack.OTHER_ROUND, "survivors of another header", _other_header),
        (Attack.MALFORMED, "a request with a byte too many", _too_long),
    ),
    "reveal": (
        (Attack.NO_QUORUM, "survivors without a quorum of signatures", _no_quorum),
        (Attack.EQUIVOCATION, "other survivors than were confirmed", _confirmed_otherwise),
    ),
}
"""By the step of the protocol whose honest requests the lies go before."""
