"""How a member takes part in a round: upload, confirm, reveal. Every check names the attack it answers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fedmed.identity.member import CheckAll, verified
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import schedule
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.graph import Graph
from fedmed.privacy.secagg.masks import Stream
from fedmed.privacy.secagg.member import (
    Commit,
    Current,
    Epoch,
    Erase,
    Instruction,
    Mask,
    Member,
    Reply,
    Resend,
    Save,
    Unmask,
)
from fedmed.privacy.secagg.round_messages import (
    Confirmed,
    ConfirmRequest,
    Header,
    Revealed,
    RevealRequest,
    Uploaded,
)
from fedmed.privacy.secagg.schedule import SELF_BYTES


@dataclass(frozen=True)
class Given:
    """What a member has been given for a round, as it sees it itself."""

    header: bytes
    purpose: int
    model: bytes
    """Digest of all that came (`fedmed.wire.digest`)."""
    layout: bytes
    """SHA-256 of the layout that it will write."""
    lanes: int
    bits: int


Step = tuple[Epoch, tuple[Instruction, ...]]


def begin(member: Member, epoch: Epoch, given: Given) -> Step:
    """The masks of a round; they may be expanded while training runs. Raises Refused."""
    header = member.reckon(Header.decode, given.header)
    current = epoch.current
    if current is not None and current.header == given.header and current.uploaded is not None:
        return epoch, (Resend(header.number),)
    _refuse_used(epoch, header.number)
    seen = (given.purpose, given.model, given.layout, given.lanes, given.bits)
    if seen != (header.purpose, header.model, header.layout, header.lanes, header.bits):
        raise Refused(
            Attack.OTHER_ROUND,
            "the header names another model, layout or purpose than this clinic was given; its masks would not cancel",
        )
    if epoch.index not in header.cohort:
        raise Refused(Attack.OTHER_ROUND, "this clinic is not in the cohort that the header names")
    _check_sum(member, epoch, header.cohort, header.cohort)
    digest = member.reckon(schedule.round_digest, epoch.transcript, given.header)
    begun = replace(epoch, current=Current(header.number, given.header, digest))
    return begun, (Mask(_streams(member, epoch, header, digest)),)


def _streams(member: Member, epoch: Epoch, header: Header, digest: bytes) -> tuple[Stream, ...]:
    secrets, index, number = epoch.secrets[header.number], epoch.index, header.number
    own = Stream(schedule.self_seed(secrets.own, digest, index), 1)
    cohort: frozenset[int] = member.reckon(frozenset, header.cohort)
    others = {other: epoch.key_for(other, number) for other in epoch.graph.neighbours(index) if other in cohort}
    seeds = member.reckon(schedule.pair_seeds, secrets.key, others, digest, index)
    shared = (Stream(seed, 1 if index < other else -1) for other, seed in zip(others, seeds, strict=True))
    return (own, *shared)


def finish(member: Member, epoch: Epoch, vector: bytes) -> Step:
    """The envelope of a masked vector with this digest; from now on the round is used. Raises Refused."""
    current = epoch.current
    if current is None or current.uploaded is not None or current.survivors is not None:
        raise Refused(Attack.OUT_OF_TURN, "no round waits for this vector: it has one already, or went on without it")
    own = epoch.secrets[current.number].own
    envelope = Uploaded(current.digest, vector, schedule.commitment(own))
    envelope = replace(envelope, signature=member.signer.sign(envelope.signed_part(epoch.index)))
    sent = replace(current, uploaded=envelope.encode())
    after = replace(epoch, last=current.number, current=sent).forgetting(current.number - 1)
    return after, (Commit(current.number), Reply(envelope.encode()))


def confirm(member: Member, epoch: Epoch, request: bytes, head: bytes) -> Step:
    """A signature over the one survivor set of the round. Raises Refused."""
    if epoch.terms.mode == "hbc":
        raise Refused(Attack.OUT_OF_TURN, "in mode hbc nobody confirms survivors")
    asked = member.reckon(ConfirmRequest.decode, request)
    current = _current(member, epoch, asked.header)
    if current.survivors is not None and current.confirmed is not None:
        if current.survivors != asked.survivors:
            raise Refused(Attack.EQUIVOCATION, f"round {current.number} has another survivor set already")
        return epoch, (Reply(current.confirmed),)
    _check_survivors(member, epoch, current, asked.survivors)
    signed = member.reckon(Confirmed.signed_part, current.digest, asked.survivors, head)
    answer = Confirmed(head, member.signer.sign(signed)).encode()
    current = replace(current, survivors=asked.survivors, confirmed=answer)
    after = replace(epoch, last=current.number, current=current).forgetting(current.number - 1)
    return after, (Save(), Reply(answer))


def reveal(member: Member, epoch: Epoch, request: bytes) -> Step:
    """The shares that open the sum over the survivors, and nothing else; the round's secrets are gone then.

    Raises Refused.
    """
    asked = member.reckon(RevealRequest.decode, request)
    current = _current(member, epoch, asked.header)
    if current.revealed is not None:
        if current.survivors != asked.survivors:
            raise Refused(Attack.EQUIVOCATION, f"round {current.number} was opened for another survivor set")
        return epoch, (Reply(current.revealed),)
    if epoch.terms.mode == "hbc":
        _check_survivors(member, epoch, current, asked.survivors)
    else:
        _check_quorum(member, epoch, current, asked)
    shares = _shares(epoch, member.reckon(Header.decode, current.header), asked.survivors)
    answer = Revealed(shares)
    answer = replace(answer, signature=member.signer.sign(answer.signed_part(current.digest, epoch.index)))
    current = replace(current, survivors=asked.survivors, revealed=answer.encode())
    after = replace(epoch, last=current.number, current=current).forgetting(current.number)
    return after, (*_left_over(member, epoch, current), Erase(current.number), Reply(answer.encode()))


def _left_over(member: Member, epoch: Epoch, current: Current) -> tuple[Unmask, ...]:
    """How an update that its round's one sum is without becomes the clinic's own again.

    Only here is that sure. A round that nobody could open is repeated, and one whose end was not heard of may have been
    opened: an update of either, sent again, could count twice.
    """
    header = member.reckon(Header.decode, current.header)
    if current.uploaded is None or epoch.index in (current.survivors or ()) or header.purpose != Purpose.UPDATE:
        return ()
    streams = _streams(member, epoch, header, current.digest)
    return (Unmask(current.number, tuple(Stream(each.seed, -each.sign) for each in streams)),)


def _current(member: Member, epoch: Epoch, header: bytes) -> Current:
    """The round that a header speaks of: the one this member is in or, for a helper, a newer one."""
    read, current = member.reckon(Header.decode, header), epoch.current
    if current is not None and current.header == header:
        return current
    if current is not None and current.number == read.number:
        raise Refused(
            Attack.OTHER_ROUND, f"round {read.number} was given to this clinic with another model, cohort or layout"
        )
    _refuse_used(epoch, read.number)
    if max(read.cohort, default=0) > epoch.terms.members:
        raise Refused(Attack.OTHER_ROUND, "the cohort has members that are not in the roster")
    return Current(read.number, header, member.reckon(schedule.round_digest, epoch.transcript, header))


def _refuse_used(epoch: Epoch, number: int) -> None:
    """A round's masks serve once: two vectors under one mask would give their difference away."""
    if not epoch.last < number <= epoch.terms.rounds:
        raise Refused(
            Attack.REPLAYED_ROUND, f"got round {number}, allowed: {epoch.last + 1} to {epoch.terms.rounds} of this epoch"
        )


def _check_survivors(member: Member, epoch: Epoch, current: Current, survivors: tuple[int, ...]) -> None:
    cohort = member.reckon(Header.decode, current.header).cohort
    if not member.reckon(frozenset, survivors) <= member.reckon(frozenset, cohort):
        raise Refused(Attack.FALSE_SURVIVORS, "the survivors are not all of the cohort")
    if epoch.index in survivors and current.uploaded is None:
        raise Refused(Attack.FALSE_SURVIVORS, "this clinic is named a survivor and has sent nothing")
    _check_sum(member, epoch, cohort, survivors)


def _check_sum(member: Member, epoch: Epoch, cohort: tuple[int, ...], members: tuple[int, ...]) -> None:
    least, count = epoch.terms.least_survivors(len(cohort)), len(members)
    if max(members, default=0) > epoch.terms.members or count < least:
        raise Refused(Attack.SMALL_SUM, f"got a sum over {count} clinics, allowed: {least} to {epoch.terms.members}")
    if (weakest := member.reckon(Graph.weakest_window, epoch.graph, members)) < epoch.terms.design.window:
        raise Refused(
            Attack.CUT_GRAPH,
            f"a part of the ring has {weakest} of them, allowed: {epoch.terms.design.window} and more; with fewer, "
            "colluders could open the sum of a part",
        )


def _check_quorum(member: Member, epoch: Epoch, current: Current, asked: RevealRequest) -> None:
    """Two quorums share an honest member, which signs one survivor set only: so there is one."""
    if current.survivors != asked.survivors:
        what = "was not confirmed by this clinic" if current.survivors is None else "is not the one it confirmed"
        raise Refused(Attack.EQUIVOCATION, f"the survivor set of round {current.number} {what}")
    valid = member.reckon(signers, member.keys_of(epoch.terms), current.digest, asked)
    if len(valid) < epoch.terms.quorum:
        raise Refused(
            Attack.NO_QUORUM, f"got {len(valid)} valid signatures, allowed: {epoch.terms.quorum} of {epoch.terms.members}"
        )


def signers(keys: tuple[bytes, ...], digest: bytes, asked: RevealRequest, check: CheckAll = verified) -> frozenset[int]:
    """The members, of these signing keys, whose confirmations of the survivors are valid."""
    known = [(index, each) for index, each in asked.confirmed if 1 <= index <= len(keys)]
    checks = [
        (keys[index - 1], each.signature, Confirmed.signed_part(digest, asked.survivors, each.head)) for index, each in known
    ]
    return frozenset(index for (index, _), is_valid in zip(known, check(checks), strict=True) if is_valid)


def _shares(epoch: Epoch, header: Header, survivors: tuple[int, ...]) -> tuple[bytes, ...]:
    """One share a member of the cohort: of its own mask's secret where it survived, else of its key; never both."""
    held, alive = epoch.secrets[header.number].held, set(survivors)
    return tuple(
        held[dealer][:SELF_BYTES] if dealer in alive else held[dealer][SELF_BYTES:]
        for dealer in header.cohort
        if dealer in held
    )
