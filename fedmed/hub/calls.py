"""What a hub answers to each call of a device, without gRPC: a request in, an answer out, typed errors.

    beat     I live: version, clock, state, facts      what it is owed, the hub's clock, how often to call
    offer    objects, by digest                        from where to send each; HELD where it need not
    send     parts of objects, and their bytes         from where to go on with each, or why not
    fetch    a digest and an offset                    up to 1 MiB of it
    renew    a certificate request                     a newer certificate
    release  an authority, a file's name, an offset    up to 256 KiB of it, of what `fedmed.releases` asks for
    probe    how many bytes, and bytes                 the hub's clock, and so many bytes, to measure the line by
    ask, unask, work, input, answer: `fedmed.hub.lending`

The device is whoever its certificate names, looked up in the roll on every call; a head that names another is refused.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fedmed import __version__
from fedmed.errors import DeviceRefused, FederationError, FedmedError, ProtocolRefused, QuotaRefused
from fedmed.hub import machine
from fedmed.hub.desk import Desk
from fedmed.hub.folder import HubFolder
from fedmed.hub.landing import Landing, Part
from fedmed.hub.lending import Lending
from fedmed.hub.looks import METHODS as LOOKS
from fedmed.hub.messages import DIGEST, MOST_BODY, MOST_OBJECT, Message, decoded, facts, number, piece, rows, text, whole
from fedmed.hub.refusals import MOST_TEXT, word_of
from fedmed.identity.authority import PublicMember, read_certificate
from fedmed.identity.devices import Renew, admitted
from fedmed.identity.requests import read_request
from fedmed.releases.fetching import NAMES, FolderFetcher
from fedmed.wire.skew import MOST_TEXT as MOST_VERSION
from fedmed.wire.skew import refuse_far

METHODS = ("beat", "offer", "send", "fetch", "renew", "release", "probe", *LOOKS)
RELEASES = {"federation": "releases/federation", "clinic": "releases/own"}
"""Below the clinic's folder: where each authority's files are (`fedmed.clinic.releases`)."""
_AUTHORITY = re.compile("|".join(RELEASES))
_STATE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_MOST_UNIX = float(1 << 40)
NOTED_S, MOST_NOTED = 60.0, 256
"""For how long a refusal that was written down is not written again, and how many are remembered."""
Record = Callable[..., None]
"""action, resource, outcome, reason, further details -> the clinic's audit log. Raises StoreError."""
AtEnd = Callable[[Callable[[], None]], bool]
"""Has something called when a call has come to its end; False where it has already."""


class Calls:
    """Safe from any thread."""

    def __init__(
        self,
        folder: HubFolder,
        desk: Desk,
        landing: Landing,
        lending: Lending,
        record: Record,
        tell: Callable[[str], None],
    ) -> None:
        """Raises KeyRefused where the authority is not in order."""
        config, self._lending = folder.config, lending
        self.folder, self._desk, self._landing, self._record, self._tell = folder, desk, landing, record, tell
        self._ca_public, self._clock = folder.authority().public, folder.clock
        self.share = machine.Share(config.most_gigabytes_a_day * 10**9, config.most_gigabytes_open * 10**9)
        self.state, self._turn = machine.State(), threading.Lock()
        self._noted: dict[tuple[str, str], float] = {}

    def answer(self, method: str, certificate: bytes, content: bytes, peer: str, at_end: AtEnd) -> Message:
        """The answer to one call by the holder of `certificate` (DER). Raises FedmedError; that stands in the audit log."""
        name = "unknown"
        try:
            member = self._member(certificate)
            name = member.name
            self._admit(member)
            request = decoded(content)
            self._check_head(member, request.head)
            self._count(name, len(request.body), at_end)
            return self._answered(method, member, request)
        except FedmedError as error:
            self.refused(name, peer, error)
            raise

    def lets_in(self, certificate: bytes) -> bool:
        """Whether a call with this certificate (DER) is let in now. Raises StoreError where the roll cannot be read."""
        try:
            self._admit(self._member(certificate))
        except FederationError:
            return False
        return True

    def _admit(self, member: PublicMember) -> None:
        admitted(self.folder.devices.roll(), member.name, member.fingerprint.hex())

    def _member(self, certificate: bytes) -> PublicMember:
        return read_certificate(certificate, self._ca_public, self._clock.unix())

    def _check_head(self, member: PublicMember, head: Mapping[str, Any]) -> None:
        refuse_far(__version__, text(head, "version", most=MOST_VERSION), f"device {member.name!r}")
        if (said := text(head, "device")) != member.name:
            raise DeviceRefused(f"a call of {said!r} with the certificate of {member.name!r}; each device has its own")

    def _answered(self, method: str, member: PublicMember, request: Message) -> Message:
        if method == "beat":
            return self._beat(member.name, request.head)
        if method == "offer":
            offered = [piece(row) for row in rows(request.head, "objects")]
            return Message({"offsets": [self._landing.offset(member.name, each) for each in offered]})
        if method == "send":
            return Message({"parts": list(self._taken(member.name, request))})
        if method == "fetch":
            return self._fetched(member.name, request.head)
        if method == "renew":
            return self._renewed(member, request.body)
        if method == "release":
            return self._released(request.head)
        if method == "probe":
            wanted = whole(request.head, "bytes", MOST_BODY)
            return Message({"unix": self._clock.unix(), "version": __version__}, bytes(wanted))
        if method in LOOKS:
            return self._lending.call(method, member.name, request)
        raise ProtocolRefused(f"a call {method[:40]!r}; allowed are {', '.join(METHODS)}")

    def _beat(self, name: str, head: Mapping[str, Any]) -> Message:
        told, unix = facts(head), number(head, "unix", _MOST_UNIX)
        state, version = text(head, "state", _STATE), text(head, "version", most=MOST_VERSION)
        now = self._clock.unix()
        self.step(machine.Beat(name, version, state, told, unix, now, self._clock.now()))
        config = self.folder.config
        return Message(
            {
                "beat_s": config.beat_s,
                "clinic": config.clinic,
                "elsewhere": self._lending.word,
                "owed": [each.record() for each in self._desk.owed(name)],
                "unix": now,
                "version": __version__,
            }
        )

    def _taken(self, name: str, request: Message) -> Iterator[dict[str, Any]]:
        """Each part by itself: what is wrong with one of them holds up no other."""
        for answer in self._landing.take(name, list(_parts(request))):
            if isinstance(answer, int):
                yield {"offset": answer}
                continue
            self.refused(name, "", answer)
            yield {"refused": str(answer)[:MOST_TEXT], "word": word_of(answer)}

    def _fetched(self, name: str, head: Mapping[str, Any]) -> Message:
        offset = whole(head, "offset", MOST_OBJECT)
        owed, data = self._desk.read(name, text(head, "digest", DIGEST), offset)
        return Message({**owed.record(), "offset": offset}, data)

    def _released(self, head: Mapping[str, Any]) -> Message:
        """Nothing of it is secret, and a device verifies all of it by itself."""
        place = self.folder.path.parent / RELEASES[text(head, "authority", _AUTHORITY)]
        pieces = FolderFetcher(place).pieces(text(head, "name", NAMES), whole(head, "offset", MOST_OBJECT))
        return Message({"is_there": pieces is not None}, b"" if pieces is None else next(pieces, b""))

    def _renewed(self, member: PublicMember, body: bytes) -> Message:
        event = Renew(member.name, member.fingerprint.hex(), read_request(body), body)
        done = self.folder.devices.apply(event, self.folder.sign)
        assert done is not None
        self._record("renew", f"device {member.name}", expires=done.until)
        return Message({"until": done.until}, done.certificate)

    def _count(self, name: str, size: int, at_end: AtEnd) -> None:
        """The call counts against the device's share until its answer is taken, or is not any more. Raises QuotaRefused."""
        for todo in self.step(machine.Called(name, size, self._clock.unix())):
            if isinstance(todo, machine.Refused):
                raise QuotaRefused(todo.reason)
        if not at_end(lambda: self._ended(name)):
            self._ended(name)

    def _ended(self, name: str) -> None:
        self.step(machine.Ended(name))

    def step(self, event: machine.Event) -> list[machine.Instruction]:
        """Take one step of the machine, and tell what it says."""
        with self._turn:
            self.state, todo = machine.step(self.state, event, self.share, self.folder.config.beat_s)
        for each in todo:
            if said := machine.told(each):
                self._tell(said)
        return todo

    def enrolled(self, name: str, fingerprint: bytes, until: int) -> None:
        """Write down that a device enrolled. Raises StoreError."""
        self._record("enrol", f"device {name}", fingerprint=fingerprint.hex(), expires=until)
        self._tell(f"device {name} enrolled")

    def refused(self, name: str, peer: str, error: FedmedError) -> None:
        """Write a refusal into the audit log; the same one of the same device once a minute."""
        word, now = word_of(error), self._clock.now()
        with self._turn:
            self._noted = {key: at for key, at in self._noted.items() if now - at < NOTED_S}
            if (name, word) in self._noted or len(self._noted) >= MOST_NOTED:
                return
            self._noted[name, word] = now
        try:
            self._record("refuse.device", f"device {name}", "refused", str(error), code=word, peer=peer or None)
        except FedmedError as failed:
            self._tell(str(failed))


def _parts(request: Message) -> Iterator[Part]:
    """The parts that a head tells of. Raises ProtocolRefused where they are not those of the body."""
    at = 0
    for row in rows(request.head, "parts"):
        length = whole(row, "length", MOST_BODY)
        if at + length > len(request.body):
            raise ProtocolRefused(f"parts of more than the {len(request.body)} bytes of the body")
        yield piece(row), whole(row, "offset", MOST_OBJECT), request.body[at : at + length]
        at += length
