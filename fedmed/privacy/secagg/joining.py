"""How a member joins an epoch: commit, advert, shares, store. Every check names the attack it answers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from fedmed.identity.member import CheckAll, verified
from fedmed.privacy.secagg import parameters, schedule, shamir
from fedmed.privacy.secagg.attacks import Attack, Refused
from fedmed.privacy.secagg.encoding import sha256
from fedmed.privacy.secagg.epoch_messages import (
    ADVERT,
    COMMIT,
    SHARED,
    STORE,
    Advert,
    Advertised,
    Committed,
    Mail,
    SetupRequest,
    SharesRequest,
    Stored,
    rounds_digest,
)
from fedmed.privacy.secagg.graph import Graph, drawn
from fedmed.privacy.secagg.member import Epoch, Member, RoundSecrets
from fedmed.privacy.secagg.messages import KEY_BYTES, NONCE_BYTES, SHARE_BYTES
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.schedule import SECRET_BYTES, SELF_BYTES


@dataclass(frozen=True)
class Joining:
    """A member between the first request of an epoch and its receipt.

    Each step is kept before it is answered, so a member that starts again goes on, and none is taken twice.
    """

    terms: Parameters
    index: int
    nonce: bytes
    advert: Advert | None = None
    commitments: tuple[Committed, ...] = ()
    mail: bytes = field(default=b"", repr=False)
    """X25519 secret for shares, until the keys with all neighbours are agreed."""
    own: tuple[bytes, ...] = field(default=(), repr=False)
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    graph: Graph | None = None
    transcript: bytes = b""
    mail_keys: dict[int, bytes] = field(default_factory=dict, repr=False)
    keys: dict[int, bytes] = field(default_factory=dict)
    kept: bytes = field(default=b"", repr=False)
    """Its share of its own secrets."""


def commit(member: Member, last_epoch: int, request: bytes) -> tuple[Joining, bytes]:
    """The commitment to a nonce, where the graph is drawn. Raises Refused."""
    terms, index = _agree(member, last_epoch, member.reckon(SetupRequest.decode, request, COMMIT))
    if not terms.draws_graph:
        raise Refused(Attack.OUT_OF_TURN, f"{terms.members} members need no drawn graph")
    nonce = member.entropy(NONCE_BYTES)
    digest = sha256(b"nonce", nonce)
    signature = member.signer.sign(Committed.signed_part(terms.context, index, digest))
    return Joining(terms, index, nonce), Committed(digest, signature).encode()


def advertise(member: Member, last_epoch: int, before: Joining | None, request: bytes) -> tuple[Joining, bytes]:
    """Keys of the epoch and of its rounds, signed. Raises Refused."""
    asked = member.reckon(SetupRequest.decode, request, ADVERT)
    terms, index = _agree(member, last_epoch, asked)
    nonce = _committed_nonce(member, terms, index, before, asked.commitments)
    mail = member.entropy(SECRET_BYTES)
    own = tuple(member.entropy(SELF_BYTES) for _ in range(terms.rounds))
    secrets = tuple(member.entropy(SECRET_BYTES) for _ in range(terms.rounds))
    keys = b"".join(member.reckon(schedule.publics_of, secrets))
    advert = Advert(schedule.public_of(mail), nonce, rounds_digest(keys))
    advert = replace(advert, signature=member.signer.sign(advert.signed_part(terms.context, index)))
    joining = Joining(terms, index, nonce, advert, asked.commitments, mail, own, secrets)
    return joining, Advertised(advert, keys).encode()


def _agree(member: Member, last_epoch: int, asked: SetupRequest) -> tuple[Parameters, int]:
    terms = member.reckon(parameters.decode, asked.terms)
    member.policy.check(terms)
    if terms.epoch <= last_epoch:
        raise Refused(Attack.REPLAYED_EPOCH, f"got epoch {terms.epoch}, allowed: above {last_epoch}")
    return terms, terms.index_of(member.signer.fingerprint)


def _committed_nonce(
    member: Member, terms: Parameters, index: int, before: Joining | None, commitments: tuple[Committed, ...]
) -> bytes:
    """The nonce that was committed to, once everybody's commitment is there: nobody may choose after the others."""
    if not terms.draws_graph:
        if commitments:
            raise Refused(Attack.OUT_OF_TURN, f"got {len(commitments)} commitments; {terms.members} members need none")
        return member.entropy(NONCE_BYTES)
    if before is None or before.terms != terms or before.advert is not None or len(commitments) != terms.members:
        raise Refused(Attack.LATE_NONCE, "the members' commitments to these terms are not all there")
    member.reckon(check_commitments, member.keys_of(terms), terms.context, commitments)
    if commitments[index - 1].digest != sha256(b"nonce", before.nonce):
        raise Refused(Attack.LATE_NONCE, "this member's own commitment was exchanged")
    return before.nonce


def check_commitments(
    keys: tuple[bytes, ...], context: bytes, commitments: tuple[Committed, ...], check: CheckAll = verified
) -> None:
    """Raise Refused where one is not signed by its member, of these signing keys, for these terms."""
    checks = [
        (key, each.signature, Committed.signed_part(context, other, each.digest))
        for other, (key, each) in enumerate(zip(keys, commitments, strict=True), 1)
    ]
    for other, is_signed in enumerate(check(checks), 1):
        if not is_signed:
            raise Refused(Attack.SWAPPED_KEY, f"the commitment of member {other} is not signed by it")


def share(member: Member, before: Joining | None, request: bytes) -> tuple[Joining, bytes]:
    """Sealed shares of all secrets for every neighbour. Raises Refused."""
    if before is None or before.advert is None or before.graph is not None:
        raise Refused(Attack.OUT_OF_TURN, "shares are asked for before an advert, or twice")
    asked, terms = member.reckon(SharesRequest.decode, request), before.terms
    _check_adverts(member, before, asked.adverts)
    seed = member.reckon(graph_seed, terms.context, asked.adverts)
    graph = member.reckon(drawn, terms.design, seed)
    neighbours = graph.neighbours(before.index)
    keys = _checked_keys(member, terms, neighbours, asked)
    transcript = member.reckon(transcript_of, terms.context, asked.adverts)
    others = {other: asked.adverts[other - 1].mail for other in neighbours}
    mail_keys = dict(
        zip(others, member.reckon(schedule.mail_keys, before.mail, others, transcript, before.index), strict=True)
    )
    joining = replace(before, graph=graph, transcript=transcript, mail_keys=mail_keys, keys=keys)
    dealt = _deal(joining, member)
    sealed = tuple(
        schedule.seal_mail(mail_keys[other], before.index, other, dealt[other], transcript) for other in neighbours
    )
    after = replace(joining, commitments=(), mail=b"", kept=dealt[before.index])
    return after, Mail(SHARED, sealed).encode()


def _check_adverts(member: Member, before: Joining, adverts: tuple[Advert, ...]) -> None:
    terms = before.terms
    if len(adverts) != terms.members:
        raise Refused(Attack.SYBIL, f"got {len(adverts)} adverts, allowed: those of the {terms.members} members")
    member.reckon(check_signed, member.keys_of(terms), terms.context, before.commitments, adverts)
    if adverts[before.index - 1] != before.advert:
        raise Refused(Attack.SWAPPED_KEY, "this member's own advert was exchanged")


def check_signed(
    keys: tuple[bytes, ...],
    context: bytes,
    commitments: tuple[Committed, ...],
    adverts: tuple[Advert, ...],
    check: CheckAll = verified,
) -> None:
    """Raise Refused where an advert is not signed by its member, of these signing keys, or opens another nonce."""
    checks = [
        (key, advert.signature, advert.signed_part(context, index))
        for index, (key, advert) in enumerate(zip(keys, adverts, strict=True), 1)
    ]
    for index, (advert, is_signed) in enumerate(zip(adverts, check(checks), strict=True), 1):
        if not is_signed:
            raise Refused(Attack.SWAPPED_KEY, f"the advert of member {index} is not signed by it for these terms")
        if commitments and sha256(b"nonce", advert.nonce) != commitments[index - 1].digest:
            raise Refused(Attack.LATE_NONCE, f"member {index} opens another nonce than it committed to")


def graph_seed(context: bytes, adverts: tuple[Advert, ...]) -> bytes:
    """What the graph is drawn from: everybody's nonce."""
    return sha256(b"graph", context, *(each.nonce for each in adverts))


def transcript_of(context: bytes, adverts: tuple[Advert, ...]) -> bytes:
    """T1, of the adverts in the members' order."""
    return schedule.transcript_of(context, [each.leaf for each in adverts])


def _checked_keys(member: Member, terms: Parameters, neighbours: tuple[int, ...], asked: SharesRequest) -> dict[int, bytes]:
    if len(asked.keys) != len(neighbours):
        raise Refused(Attack.MALFORMED, f"got round keys of {len(asked.keys)}, allowed: of {len(neighbours)} neighbours")
    for other, keys in zip(neighbours, asked.keys, strict=True):
        digest = member.reckon(rounds_digest, keys)
        if len(keys) != KEY_BYTES * terms.rounds or digest != asked.adverts[other - 1].rounds_digest:
            raise Refused(Attack.SWAPPED_KEY, f"the round keys of member {other} are not those of its advert")
    return dict(zip(neighbours, asked.keys, strict=True))


def _deal(joining: Joining, member: Member) -> dict[int, bytes]:
    """Holder -> its share: of each round 16 bytes of the own mask's secret and 32 of the key (Shamir 1979)."""
    assert joining.graph is not None
    holders = joining.graph.holders(joining.index)
    secret = b"".join(own + key for own, key in zip(joining.own, joining.secrets, strict=True))
    threshold, octets = joining.terms.design.threshold, np.frombuffer(secret, np.uint8)
    shares = member.reckon(shamir.split, octets, len(holders), threshold, member.entropy)
    return {holder: shares[place].tobytes() for place, holder in enumerate(holders)}


def store(member: Member, before: Joining | None, request: bytes) -> tuple[Epoch, bytes]:
    """The epoch with the shares of all neighbours; the mail keys are gone then. Raises Refused."""
    if before is None or before.graph is None:
        raise Refused(Attack.OUT_OF_TURN, "mail comes before shares were asked for")
    sealed, neighbours, terms = Mail.decode(request, STORE).sealed, tuple(before.mail_keys), before.terms
    if len(sealed) != len(neighbours):
        raise Refused(Attack.FOREIGN_SHARES, f"got mail of {len(sealed)}, allowed: of {len(neighbours)} neighbours")
    held = {before.index: before.kept}
    for other, mail in zip(neighbours, sealed, strict=True):
        shares = schedule.open_mail(before.mail_keys[other], other, before.index, mail, before.transcript)
        if len(shares) != SHARE_BYTES * terms.rounds:
            raise Refused(Attack.FOREIGN_SHARES, f"member {other} sent {len(shares)} bytes of shares")
        held[other] = shares
    secrets = {number: _of_round(before, held, number) for number in range(1, terms.rounds + 1)}
    signature = member.signer.sign(Stored.signed_part(before.transcript, before.index, sha256(b"inbox", *sealed)))
    epoch = Epoch(terms, before.index, before.transcript, before.graph, before.keys, secrets)
    return epoch, Stored(signature).encode()


def _of_round(before: Joining, held: dict[int, bytes], number: int) -> RoundSecrets:
    part = slice(SHARE_BYTES * (number - 1), SHARE_BYTES * number)
    return RoundSecrets(
        before.own[number - 1], before.secrets[number - 1], {dealer: shares[part] for dealer, shares in held.items()}
    )
