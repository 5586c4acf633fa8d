"""The reckoning of many members that one process plays: what is equal for all is done once, what is long by machine code.

A member that asks gets the bytes that it would have reckoned itself (`reckoning`); its checks, counters, keys, draws and
signatures stay its own. Never for real roles: a process that holds the keys of two members protects neither from the other.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedmed.identity.member import CheckAll, verified
from fedmed.privacy.keystream import SEED_BYTES
from fedmed.privacy.secagg import joining, parameters, schedule, shamir, taking_part
from fedmed.privacy.secagg.encoding import DIGEST_BYTES
from fedmed.privacy.secagg.epoch_messages import Advert, SetupRequest, SharesRequest, rounds_digest
from fedmed.privacy.secagg.graph import Graph, drawn
from fedmed.privacy.secagg.parameters import MAX_MEMBERS
from fedmed.privacy.secagg.round_messages import Confirmed, ConfirmRequest, Header, RevealRequest

Result = TypeVar("Result")
Octets = NDArray[np.uint8]
KEPT = 64  # answers; a round asks a handful of questions of everybody
ONCE = frozenset(
    (
        SetupRequest.decode,
        parameters.decode,
        joining.check_commitments,
        joining.check_signed,
        joining.graph_seed,
        joining.transcript_of,
        drawn,
        schedule.round_digest,
        taking_part.signers,
        Header.decode,
        ConfirmRequest.decode,
        RevealRequest.decode,
        Confirmed.signed_part,
        Graph.weakest_window,
        frozenset,
        max,
    )
)
"""Functions of public bytes that many members ask the same of."""
SIGNED: tuple[Callable[..., Any], ...] = (joining.check_commitments, joining.check_signed, taking_part.signers)
"""Of those, who check many signatures."""
Pair = tuple[bytes, bytes]
"""A secret round key and a public one."""


class Many:
    """See `reckoning.Reckon`."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Any, Any] = OrderedDict()
        self._prepared: dict[bytes, dict[bytes, bytes]] = {}  # secret -> public -> key that seeds are derived from
        self._adverts: tuple[bytes, tuple[Advert, ...]] | None = None
        self._keys: dict[bytes, bytes] = {}
        self._own: Mapping[Callable[..., Any], Callable[..., Any]] = {
            schedule.pair_seeds: self._pair_seeds,
            schedule.publics_of: _publics_of(),
            schedule.mail_keys: _mail_keys,
            shamir.split: _split(),
            SharesRequest.decode: self._shares_request,
            rounds_digest: lru_cache(MAX_MEMBERS)(rounds_digest),
            **{each: partial(each, check=signatures()) for each in SIGNED},
        }

    def __call__(self, function: Callable[..., Result], /, *given: object) -> Result:
        """What the function returns or raises; a refusal is reckoned anew for each."""
        if function in ONCE:
            return self._once(function, given)
        own = self._own.get(function)
        found: Result = function(*given) if own is None else own(*given)
        return found

    def _once(self, function: Callable[..., Result], given: tuple[object, ...]) -> Result:
        what = (function, *map(_told_apart, given))
        if what in self._answers:
            found: Result = self._answers[what][0]
            return found
        own: Callable[..., Result] = self._own.get(function, function)
        found = own(*given)
        self._answers[what] = found, given  # kept, so that nothing else gets the place in memory it is told apart by
        if len(self._answers) > KEPT:
            self._answers.popitem(last=False)
        return found

    def prepare(self, pairs: Iterable[Pair], both: Iterable[tuple[Pair, Pair]] = ()) -> None:
        """Agree on these pairs of keys before they are asked for; of `both`, two ends of one pair, once for the two."""
        alone, twice = list(pairs), list(both)
        wanted = alone + [one for one, _ in twice]
        secrets = shared_by(wanted)
        keys = extracted(secrets)
        for pair, key in zip(alone, keys, strict=False):
            self._prepare(pair, key)
        for (one, other), key in zip(twice, keys[len(alone) :], strict=True):
            self._prepare(one, key)
            self._prepare(other, key)

    def _prepare(self, pair: Pair, key: bytes) -> None:
        self._prepared.setdefault(pair[0], {})[pair[1]] = key

    def forget(self) -> None:
        """Drop what was prepared: its round is over."""
        self._prepared.clear()

    def _pair_seeds(self, secret: bytes, others: Mapping[int, bytes], digest: bytes, member: int) -> list[bytes]:
        prepared = self._prepared.get(secret, {})
        try:
            keys = [prepared[public] for public in others.values()]
        except KeyError:
            return schedule.pair_seeds(secret, others, digest, member)
        return [each[:SEED_BYTES] for each in expanded(keys, b"mask" + digest, member, tuple(others))]

    def _shares_request(self, data: bytes) -> SharesRequest:
        """The adverts stand first and are the same for all; the keys of a member come to each of its neighbours."""
        if self._adverts is None or not data.startswith(self._adverts[0]):
            adverts = SharesRequest.decode(data).adverts
            self._adverts, self._keys = (SharesRequest.head(adverts), adverts), {}
        first, adverts = self._adverts
        read = SharesRequest.decode(SharesRequest.head(()) + data[len(first) :])
        return SharesRequest(adverts, tuple(self._keys.setdefault(each, each) for each in read.keys))


def _told_apart(value: object) -> object:
    """Bytes, numbers and keys by what they are; long values, which are read once (`ONCE`), by which object they are."""
    is_keys = isinstance(value, tuple) and bool(value) and isinstance(value[0], bytes)
    is_short = is_keys or isinstance(value, bytes | int)
    return value if is_short else ("the object", id(value))


def shared_by(pairs: Sequence[Pair]) -> list[bytes]:
    """What each pair agrees on. Raises Refused for a point of small order."""
    eight = _eight()
    secrets, publics = [one for one, _ in pairs], [other for _, other in pairs]
    if eight is None or not all(map(schedule.is_usable, set(publics))):
        return [schedule.shared(secret, public) for secret, public in pairs]
    found: list[bytes] = eight.agreed(secrets, publics)
    return found


def extracted(secrets: Sequence[bytes]) -> list[bytes]:
    """HKDF's first half (RFC 5869, 2.2) of secrets of 32 bytes, which no round changes."""
    found = _octets(secrets)
    return _rows(_hmacs()(np.zeros_like(found), found))


def expanded(keys: Sequence[bytes], info: bytes, member: int, others: Sequence[int]) -> list[bytes]:
    """HKDF's second half (RFC 5869, 2.3) as `schedule` puts it: 32 bytes for a member with each of the others."""
    head = np.frombuffer(schedule.LABEL + info, np.uint8)
    messages, there = np.empty((len(keys), len(head) + 5), np.uint8), np.array(others, np.int64)
    messages[:, : len(head)], messages[:, -1] = head, 1
    pairs = np.stack((np.minimum(there, member), np.maximum(there, member)), axis=1)
    messages[:, -5:-1] = pairs.astype(">u2").view(np.uint8)
    return _rows(_hmacs()(_octets(keys), messages))


def _octets(values: Sequence[bytes]) -> Octets:
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, DIGEST_BYTES)


def _rows(octets: Octets) -> list[bytes]:
    whole = octets.tobytes()
    return [whole[at : at + DIGEST_BYTES] for at in range(0, len(whole), DIGEST_BYTES)]


@cache
def _hmacs() -> Callable[[Octets, Octets], Octets]:
    """HMAC-SHA256 of messages, each under its key."""
    try:
        from fedmed.privacy.secagg import hmac_sixteen
    except ImportError:
        return _one_by_one
    found: Callable[[Octets, Octets], Octets] = hmac_sixteen.digests
    return found


def _one_by_one(keys: Octets, messages: Octets) -> Octets:
    pairs = zip(keys, messages, strict=True)
    return _octets([hmac.digest(key.tobytes(), message.tobytes(), "sha256") for key, message in pairs])


def _eight() -> Any:
    try:
        from fedmed.privacy.secagg import x25519_eight
    except ImportError:
        return None
    return x25519_eight if x25519_eight.why_not() is None else None


@cache
def signatures() -> CheckAll:
    """What judges many signatures fastest here."""
    try:
        from fedmed.privacy.secagg import ed25519_eight
    except ImportError:
        return verified
    return ed25519_eight.checked if ed25519_eight.why_not() is None else verified


def _publics_of() -> Callable[[Sequence[bytes]], list[bytes]]:
    eight = _eight()
    found: Callable[[Sequence[bytes]], list[bytes]] = schedule.publics_of if eight is None else eight.publics_of
    return found


def _split() -> Callable[..., Any]:
    try:
        from fedmed.privacy.secagg import shamir_compiled
    except ImportError:
        return shamir.split
    return shamir_compiled.split


def _mail_keys(secret: bytes, others: Mapping[int, bytes], transcript: bytes, member: int) -> list[bytes]:
    found = shared_by([(secret, public) for public in others.values()])
    return expanded(extracted(found), b"share" + transcript, member, tuple(others))
