"""The center's side of a round as a pure state machine: uploads, confirmations and shares in, one sum's masks out, no I/O.

The vectors themselves pass by: the shell adds each to one sum when the machine says TAKE, and takes off the masks that it
names at the end. Survivors are fixed once, when the uploads close, and are to be on the disk before anybody is asked to
confirm them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from fedmed.identity.member import Check, CheckAll, verified, verify
from fedmed.privacy.secagg import schedule
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.convening import Agreed
from fedmed.privacy.secagg.masks import Stream
from fedmed.privacy.secagg.recovery import Dealt, Fits, recover
from fedmed.privacy.secagg.round_messages import (
    Confirmed,
    ConfirmRequest,
    Header,
    Revealed,
    RevealRequest,
    Uploaded,
)
from fedmed.privacy.secagg.schedule import SECRET_BYTES, SELF_BYTES

Said = TypeVar("Said")


@dataclass(frozen=True)
class Opening:
    """A round under way."""

    agreed: Agreed
    header: Header
    digest: bytes
    uploads: Mapping[int, Uploaded] = field(default_factory=dict)
    survivors: tuple[int, ...] | None = None
    """Fixed when the uploads close."""
    confirmed: Mapping[int, Confirmed] = field(default_factory=dict)
    revealed: Mapping[int, Mapping[int, bytes]] = field(default_factory=dict)
    """Holder -> dealer -> share."""

    @property
    def is_confirmed(self) -> bool:
        """Whether a quorum has signed the survivors."""
        return self.agreed.terms.mode == "hbc" or len(self.confirmed) >= self.agreed.terms.quorum


@dataclass(frozen=True)
class Opened:
    """What the shell takes off the sum, and whom the shares convict."""

    streams: tuple[Stream, ...]
    accused: tuple[int, ...]
    """Holders of shares that did not fit what was committed to: they, or those who dealt to them, are at fault."""


def begin(agreed: Agreed, header: Header) -> Opening:
    """A round that is about to be asked for. Raises Refused for a cohort that no honest clinic would sum in."""
    least = agreed.terms.least_survivors(len(header.cohort))
    if list(header.cohort) != sorted(set(header.cohort)):
        raise Refused(Attack.MALFORMED, "the cohort is not a sorted list of different members")
    if not set(header.cohort) <= set(range(1, agreed.terms.members + 1)) or len(header.cohort) < least:
        raise Refused(Attack.SMALL_SUM, f"the cohort has {len(header.cohort)} clinics, allowed: {least} or more")
    return Opening(agreed, header, schedule.round_digest(agreed.transcript, header.encode()))


def take(state: Opening, member: int, envelope: bytes, vector: bytes) -> Opening:
    """The round with an upload whose vector has the digest `vector`. Raises Refused: then it must not be added."""
    return take_all(state, {member: (envelope, vector)})


def take_all(state: Opening, given: Mapping[int, tuple[bytes, bytes]], check: CheckAll = verified) -> Opening:
    """The round with these uploads, by member, whose signatures `check` judges together. Raises Refused: none is taken."""
    found = {member: _upload(state, member, envelope, vector) for member, (envelope, vector) in given.items()}
    checks = [(state.agreed.keys[member], read.signature, read.signed_part(member)) for member, read in found.items()]
    for member, is_signed in zip(found, check(checks), strict=True):
        if not is_signed:
            raise Refused(Attack.FALSE_UPLOAD, f"the upload of member {member} is not signed by it")
    return replace(state, uploads={**state.uploads, **found})


def _upload(state: Opening, member: int, envelope: bytes, vector: bytes) -> Uploaded:
    if state.survivors is not None or member in state.uploads or member not in state.header.cohort:
        raise Refused(Attack.OUT_OF_TURN, f"an upload of member {member} is not expected, or comes twice")
    read = Uploaded.decode(envelope)
    if read.round_digest != state.digest:
        raise Refused(Attack.OTHER_ROUND, f"the upload of member {member} is for another round, cohort or model")
    if read.vector != vector:
        raise Refused(Attack.FALSE_UPLOAD, f"the vector of member {member} is not the one it signed")
    return read


def close(state: Opening) -> Opening:
    """The round with its survivors fixed: those whose vectors are in the sum. Raises Refused where they are too few."""
    survivors, terms = tuple(sorted(state.uploads)), state.agreed.terms
    least = terms.least_survivors(len(state.header.cohort))
    if len(survivors) < least:
        raise Refused(Attack.SMALL_SUM, f"{len(survivors)} clinics sent their update, {least} are needed")
    if (weakest := state.agreed.graph.weakest_window(survivors)) < terms.design.window:
        raise Refused(Attack.CUT_GRAPH, f"a part of the ring has {weakest} survivors, {terms.design.window} are needed")
    return replace(state, survivors=survivors)


def confirm_request(state: Opening) -> bytes:
    """What every member of the roster is asked to sign."""
    return ConfirmRequest(state.header.encode(), state.survivors or ()).encode()


def confirm(state: Opening, member: int, answer: bytes) -> Opening:
    """The round with a member's confirmation. Raises Refused."""
    read, signed = _confirmation(state, member, answer)
    if not verify(*signed):
        raise Refused(Attack.FALSE_SURVIVORS, f"member {member} signed another survivor set, or did not sign")
    return replace(state, confirmed={**state.confirmed, member: read})


def confirm_all(state: Opening, answers: Mapping[int, bytes], check: CheckAll = verified) -> Opening:
    """The round with those of the answers that `confirm` takes; `check` judges their signatures together."""
    return replace(state, confirmed={**state.confirmed, **_holding(state, answers, _confirmation, check)})


def _confirmation(state: Opening, member: int, answer: bytes) -> tuple[Confirmed, Check]:
    survivors, read = _asked(state, member), Confirmed.decode(answer)
    signed = Confirmed.signed_part(state.digest, survivors, read.head)
    return read, (state.agreed.keys[member], read.signature, signed)


def _holding(
    state: Opening,
    answers: Mapping[int, bytes],
    read: Callable[[Opening, int, bytes], tuple[Said, Check]],
    check: CheckAll,
) -> dict[int, Said]:
    """Those that can be read and are signed, by member."""
    found: dict[int, tuple[Said, Check]] = {}
    for member, answer in answers.items():
        with suppress(Refused):
            found[member] = read(state, member, answer)
    is_signed = check([signed for _, signed in found.values()])
    return {member: said for (member, (said, _)), signed in zip(found.items(), is_signed, strict=True) if signed}


def reveal_request(state: Opening) -> bytes:
    """What every member of the roster is asked for its shares with: the signatures of a quorum, no more."""
    chosen = sorted(state.confirmed.items())[: state.agreed.terms.quorum]
    return RevealRequest(state.header.encode(), state.survivors or (), tuple(chosen)).encode()


def reveal(state: Opening, member: int, answer: bytes) -> Opening:
    """The round with a member's shares. Raises Refused."""
    shares, signed = _shares(state, member, answer)
    if not verify(*signed):
        raise Refused(Attack.BAD_SHARE, f"the shares of member {member} are not signed by it")
    return replace(state, revealed={**state.revealed, member: shares})


def reveal_all(state: Opening, answers: Mapping[int, bytes], check: CheckAll = verified) -> Opening:
    """The round with those of the answers that `reveal` takes; `check` judges their signatures together."""
    return replace(state, revealed={**state.revealed, **_holding(state, answers, _shares, check)})


def _shares(state: Opening, member: int, answer: bytes) -> tuple[Mapping[int, bytes], Check]:
    alive, read = set(_asked(state, member)), Revealed.decode(answer)
    cohort = set(state.header.cohort)  # who holds another's share has given it one of its own
    dealers = [dealer for dealer in state.agreed.graph.holders(member) if dealer in cohort]
    sizes = [SELF_BYTES if dealer in alive else SECRET_BYTES for dealer in dealers]
    if [len(share) for share in read.shares] != sizes:
        raise Refused(Attack.BAD_SHARE, f"member {member} sent {len(read.shares)} shares, {len(dealers)} are its part")
    signed = state.agreed.keys[member], read.signature, read.signed_part(state.digest, member)
    return dict(zip(dealers, read.shares, strict=True)), signed


def _asked(state: Opening, member: int) -> tuple[int, ...]:
    """The survivors that a member was asked about; shares that come before they are fixed would be of other sizes."""
    if state.survivors is None or member not in state.agreed.keys:
        raise Refused(Attack.OUT_OF_TURN, f"member {member} answers before the survivors are fixed, or is not asked")
    return state.survivors


def can_open(state: Opening) -> bool:
    """Whether every secret has as many shares as its threshold."""
    holders, has_revealed = state.agreed.graph.holders, state.revealed.__contains__
    least = state.agreed.terms.design.threshold
    return all(sum(map(has_revealed, holders(dealer))) >= least for dealer in state.header.cohort)


def open_sum(state: Opening) -> Opened:
    """The masks that stand in the sum. Raises Refused where the shares do not open what was committed to."""
    streams: list[Stream] = []
    accused: set[int] = set()
    terms, alive = state.agreed.terms, set(state.survivors or ())
    for dealer in state.header.cohort:
        survived = dealer in alive
        fits = _fits_commitment(state, dealer) if survived else _fits_key(state, dealer)
        holders = state.agreed.graph.holders(dealer)
        dealt = Dealt(dealer, _shares_of(state, dealer))
        doubted = [place for place, holder in enumerate(holders, 1) if holder in accused] if accused else ()
        secret, wrong = recover(dealt, terms.design.threshold, fits, terms.colluders, doubted)
        accused |= {holders[place - 1] for place in wrong}
        streams += [_own(state, dealer, secret)] if survived else _shared(state, dealer, secret)
    return Opened(tuple(streams), tuple(sorted(accused)))


def _shares_of(state: Opening, dealer: int) -> dict[int, bytes]:
    """By their points: a holder's is its place among the holders, from 1."""
    there = state.revealed
    places = enumerate(state.agreed.graph.holders(dealer), 1)
    return {place: there[holder][dealer] for place, holder in places if holder in there}


def _fits_commitment(state: Opening, dealer: int) -> Fits:
    return lambda secret: schedule.commitment(secret) == state.uploads[dealer].commitment


def _fits_key(state: Opening, dealer: int) -> Fits:
    public = state.agreed.key_for(dealer, state.header.number)
    return lambda secret: schedule.public_of(secret) == public


def _own(state: Opening, dealer: int, secret: bytes) -> Stream:
    return Stream(schedule.self_seed(secret, state.digest, dealer), -1)


def _shared(state: Opening, gone: int, secret: bytes) -> list[Stream]:
    """What survivors added for a member that is gone: + where the survivor's index is the lower one."""
    neighbours, number = set(state.agreed.graph.neighbours(gone)), state.header.number
    return [
        Stream(
            schedule.pair_seed(secret, state.agreed.key_for(other, number), state.digest, gone, other),
            -1 if other < gone else 1,
        )
        for other in state.survivors or ()
        if other in neighbours
    ]
