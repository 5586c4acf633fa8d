"""Clinics with their shells and keystores, and an epoch that is set up among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fedmed.outbound.outbox import NO_HEAD, Outbox, Sent
from fedmed.privacy.secagg import convening, opening
from fedmed.privacy.secagg.convening import Agreed, Convening
from fedmed.privacy.secagg.masks import Masker
from fedmed.privacy.secagg.member import Member
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.round_messages import Header
from fedmed.privacy.secagg.taking_part import Given
from fedmed.store.keystore import Keystore
from tests.privacy.secagg.federation import LAYOUT, MODEL, Twist, clinics_for, terms_for


@dataclass
class Clinics:
    boxes: dict[int, Outbox]
    members: dict[int, Member]
    keystores: dict[int, Keystore]
    agreed: Agreed

    def round(self, number: int, bits: int = 32) -> tuple[Header, Given]:
        header = Header(number, 1, tuple(self.boxes), MODEL, LAYOUT, 64, bits)
        return header, Given(header.encode(), 1, MODEL, LAYOUT, 64, bits)

    def opened(self, state: opening.Opening) -> opening.Opened:
        for index, box in self.boxes.items():
            state = opening.confirm(state, index, box.answer(opening.confirm_request(state)))
        for index, box in self.boxes.items():
            state = opening.reveal(state, index, box.answer(opening.reveal_request(state)))
        return opening.open_sum(state)


def outboxes(
    count: int, keystores: Sequence[Keystore], epoch: int = 1, head: Callable[[], bytes] = lambda: NO_HEAD
) -> Clinics:
    terms = replace(terms_for(count), epoch=epoch)
    members = {index: clinic.member for index, clinic in clinics_for(terms).items()}
    boxes = {index: Outbox(member, keystores[index - 1], head, 1) for index, member in members.items()}
    return Clinics(boxes, members, dict(enumerate(keystores, 1)), set_up(terms, boxes))


def set_up(terms: Parameters, boxes: Mapping[int, Outbox], before: Twist = lambda phase, index, request: request) -> Agreed:
    """The epoch of the first clinics in `tests.privacy.secagg.federation`; `before` sees each request before its clinic."""
    keys = {index: clinic.member.signer.public for index, clinic in clinics_for(terms).items()}  # type: ignore[attr-defined]
    state: Convening | Agreed = convening.convene(terms, keys)
    while isinstance(state, Convening):
        for index, request in convening.requests(state).items():
            request = before(state.phase, index, request)
            state = convening.take(state, index, boxes[index].answer(request))
        state = convening.proceed(state)
    return state


def begun(box: Outbox, given: Given) -> Masker:
    mask = box.begin(given)
    assert not isinstance(mask, Sent)
    return mask
