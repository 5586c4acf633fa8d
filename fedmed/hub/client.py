"""The device's side of the hub: heartbeat, objects up, what is owed down, renewal; over one connection that mends itself.

Every call has a deadline and ends in an answer or a typed error; nothing waits for a hub that is away. `Patience` says when
to try again. An upload asks first from where to go on, so a line that was cut for days costs the bytes in flight alone.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from fedmed import __version__
from fedmed.errors import DeviceRefused, FedmedError, ProtocolRefused, QuotaRefused, StoreError, Unreachable
from fedmed.hub.joining import DeviceFolder
from fedmed.hub.looks import NOW, OFF, ON
from fedmed.hub.messages import (
    MOST_BODY,
    MOST_MESSAGE,
    MOST_PARTS,
    Message,
    Owed,
    Piece,
    decoded,
    encoded,
    number,
    owed,
    rows,
    text,
)
from fedmed.hub.refusals import KEY, error_of
from fedmed.hub.tls import grpc
from fedmed.hub.uploading import Part, Read, Sending, Sent, offset_in
from fedmed.identity import files
from fedmed.identity.authority import day
from fedmed.identity.deviceca import HUB
from fedmed.identity.issuing import certificate_pem
from fedmed.identity.requests import certificate_request
from fedmed.identity.shown import shown
from fedmed.wire.skew import MOST_TEXT as MOST_VERSION
from fedmed.wire.skew import refuse_far

SERVICE = "fedmed.hub.v1"
DEADLINE_S, SEND_DEADLINE_S = 20.0, 120.0
"""Of a call, and of one that carries up to a megabyte: at 100 kbit/s that takes 84 s."""
LEAST_BODY = 16 << 10
"""Bytes of a message that a poor line is given at a time."""
KEEPALIVE_MS = 120_000
"""Some routers forget a line that is silent for four minutes."""
_OPTIONS = (
    ("grpc.ssl_target_name_override", HUB),
    ("grpc.max_receive_message_length", MOST_MESSAGE),
    ("grpc.max_send_message_length", MOST_MESSAGE),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 20_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)


class Patience:
    """How long to wait before the next try: twice as long each time, and by chance, lest all devices come at once."""

    def __init__(self, first_s: float, most_s: float, chance: random.Random) -> None:
        self._first_s, self._most_s, self._chance, self._failed = first_s, most_s, chance, 0

    def failed(self) -> float:
        """A try failed; seconds until the next one."""
        longest = min(self._most_s, self._first_s * 2.0 ** min(self._failed, 32))
        self._failed += 1
        return longest * (0.5 + self._chance.random() / 2)

    def went_well(self) -> None:
        """A try did not fail."""
        self._failed = 0


@dataclass(frozen=True)
class Probed:
    """One question to the hub that changes nothing there."""

    seconds: float
    """Until the answer was here."""
    skew_s: float
    """This device's clock less the hub's, half the call's time taken off."""
    hub_version: str


@dataclass(frozen=True)
class Orders:
    """What the hub answers a heartbeat with."""

    owed: Sequence[Owed]
    beat_s: float
    """Seconds until the next heartbeat."""
    hub_unix: float
    skew_s: float
    """This device's clock less the hub's, half the call's time taken off."""
    hub_version: str
    elsewhere: str = OFF
    """Whether images may be looked at elsewhere, and whether there is something to look at (`fedmed.hub.looks`)."""


class HubClient:
    """One device's line to its hub, from `with` to its end. Safe from several threads: a heartbeat waits for no upload.

    Where one of them renews the certificate, calls of the others are cut (Unreachable), and go on when asked again.
    """

    def __init__(self, folder: DeviceFolder) -> None:
        """Raises KeyRefused, StoreError for files that are not in order."""
        self.folder, self._clock = folder, folder.clock
        self._most = MOST_BODY
        self._swapping, self._is_closed = threading.Lock(), False
        self._channel = self._dialled()

    def __enter__(self) -> HubClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection and its threads."""
        with self._swapping:
            self._is_closed = True
            self._channel.close()

    def _dialled(self) -> Any:
        folder, hub = self.folder, self.folder.hub
        authority, certificate = certificate_pem(folder.authority()), folder.certificate()
        self._ends = shown(certificate).ends
        credentials = grpc.ssl_channel_credentials(authority, folder.keys().transport_pem(), certificate_pem(certificate))
        host = f"[{hub.host}]" if ":" in hub.host else hub.host
        return grpc.secure_channel(f"{host}:{hub.port}", credentials, _OPTIONS)

    def beat(self, state: str, facts: Mapping[str, Any]) -> Orders:
        """Tell that this device lives and what it does; what it is owed.

        `state` is a word, `facts` JSON of at most 16 KiB. Raises DeviceRefused where it is revoked, VersionRefused,
        ProtocolRefused, Unreachable.
        """
        began, unix = self._clock.now(), self._clock.unix()
        head = self.call("beat", {"facts": dict(facts), "state": state, "unix": unix}).head
        took = self._clock.now() - began
        version, theirs = text(head, "version", most=MOST_VERSION), number(head, "unix", float(1 << 40))
        refuse_far(__version__, version, "the hub")
        found = [owed(row) for row in rows(head, "owed")]
        word = head.get("elsewhere")  # an older hub says nothing
        elsewhere = word if word in (ON, NOW) else OFF
        return Orders(found, number(head, "beat_s", 3600), theirs, unix + took / 2 - theirs, version, elsewhere)

    def probe(self, down: int = 0, up: int = 0) -> Probed:
        """Have `down` bytes from the hub and send it `up`, at most `MOST_BODY` each: for measuring, nothing is kept.

        Raises as `beat`; ProtocolRefused, too, by a hub that is older than this question.
        """
        began, unix = self._clock.now(), self._clock.unix()
        answer = self.call("probe", {"bytes": down}, bytes(up))
        took = self._clock.now() - began
        if len(answer.body) != down:
            raise ProtocolRefused(f"{down} bytes were asked for, and {len(answer.body)} came")
        theirs = number(answer.head, "unix", float(1 << 40))
        return Probed(took, unix + took / 2 - theirs, text(answer.head, "version", most=MOST_VERSION))

    def upload(self, pieces: Sequence[Piece], read: Read) -> list[Sent]:
        """Send objects, each from where the hub has it to; what became of each, in their order.

        Raises Unreachable where the line is cut: called again, it goes on. DeviceRefused, VersionRefused, ProtocolRefused.
        """
        if len(pieces) > MOST_PARTS:
            return self.upload(pieces[:MOST_PARTS], read) + self.upload(pieces[MOST_PARTS:], read)
        asked = [{**each.record(), "facts": {}} for each in pieces]
        answer = self.call("offer", {"objects": asked}).head
        offsets = answer.get("offsets")
        if not isinstance(offsets, list) or len(offsets) != len(pieces):
            raise ProtocolRefused(f"offsets of {len(pieces)} objects were asked for, and the hub answered otherwise")
        known = [offset_in(at, each.size) for at, each in zip(offsets, pieces, strict=True)]
        sending = Sending(pieces, known, read)
        while batch := sending.batch(self._most):
            sending.answered(batch, self._sent(batch))
        return sending.done()

    def _sent(self, batch: Sequence[Part]) -> Sequence[Mapping[str, Any]]:
        """What the hub says of each part. A line that did not carry them in time is given half as much next time."""
        head = {"parts": [each.record() for each in batch]}
        try:
            answer = self.call("send", head, b"".join(each.data for each in batch))
        except Unreachable:
            self._most = max(LEAST_BODY, self._most // 2)
            raise
        self._most = min(MOST_BODY, self._most * 2)
        return rows(answer.head, "parts")

    def fetch(self, wanted: Owed, target: Path) -> None:
        """Have what is owed at `target`, verified and on the disk; what a cut line left beside it is gone on with.

        Raises ProtocolRefused where its digest is another one or it is owed no more, StoreError, Unreachable, DeviceRefused.
        """
        begun = target.with_name(f".{target.name}.{wanted.digest[:16]}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            offset = begun.stat().st_size if begun.exists() else 0
            while offset < wanted.size or not begun.exists():
                answer = self.call("fetch", {"digest": wanted.digest, "offset": offset})
                if not answer.body and offset < wanted.size:
                    raise ProtocolRefused(f"{wanted.name} ended after {offset} of {wanted.size} bytes")
                with begun.open("ab") as file:
                    file.write(answer.body)
                offset += len(answer.body)
            _settle(begun, target, wanted)
        except OSError as error:
            raise StoreError(f"{target} cannot be written ({error.strerror}); make room or mend the disk") from error

    def release(self, authority: str, name: str, offset: int) -> bytes | None:
        """A piece of a file of releases (`fedmed.releases.fetching`), empty at its end; None where there is none.

        Raises ProtocolRefused, DeviceRefused, Unreachable.
        """
        answer = self.call("release", {"authority": authority, "name": name, "offset": offset})
        return answer.body if answer.head.get("is_there") is True else None

    def renew(self) -> None:
        """Have a newer certificate, on the disk, and use it. Raises JoinRefused, DeviceRefused, Unreachable, StoreError."""
        request = certificate_request(self.folder.keys(), self.folder.hub.name)
        issued = self.call("renew", {}, request).body
        with self._swapping:
            self.folder.keep(issued)
        made = self._dialled()
        with self._swapping:
            if self._is_closed:
                made.close()
                return
            old, self._channel = self._channel, made
        old.close()

    def renew_if_due(self) -> bool:
        """`renew` where less than a third of the certificate's time is left; whether it was made."""
        known = shown(self.folder.certificate())
        if known.ends - self._clock.unix() > (known.ends - known.begins) / 3:
            return False
        self.renew()
        return True

    def call(self, method: str, head: Mapping[str, Any], body: bytes = b"") -> Message:
        """One call, and its answer. Raises DeviceRefused, VersionRefused, ProtocolRefused, QuotaRefused, Unreachable, and
        StoreError where the hub's disk refuses.
        """
        if self._clock.unix() > self._ends:
            raise DeviceRefused(
                f"this device's certificate ended at {day(self._ends)}; where its clock is right, enrol it with a new code"
            )
        content = encoded(Message({**head, "device": self.folder.hub.name, "version": __version__}, body))
        deadline = SEND_DEADLINE_S if body or method in ("fetch", "probe", "input") else DEADLINE_S
        try:
            answer: bytes = self._channel.unary_unary(f"/{SERVICE}/{method}")(content, timeout=deadline)
        except grpc.RpcError as error:
            raise _error_of(error) from error
        except ValueError as error:  # gRPC's word for a channel that was closed before the call began
            raise Unreachable("the line to the hub was closed; it is tried again by the next one") from error
        return decoded(answer)


def _settle(begun: Path, target: Path, wanted: Owed) -> None:
    """What came whole gets its name. Raises ProtocolRefused for another digest, and takes it away then."""
    made = hashlib.sha256()
    with begun.open("rb") as file:
        while block := file.read(MOST_BODY):
            made.update(block)
        if made.hexdigest() != wanted.digest:
            begun.unlink()
            raise ProtocolRefused(f"{wanted.kind} {wanted.name} came with another digest than it was announced with")
        os.fsync(file.fileno())
    begun.replace(target)
    files.sync_folder(target.parent)


def _why(details: str) -> str:
    """What gRPC's words most likely mean. Never more than a line that fails: any stranger on the network can cause it."""
    if "not yet valid" in details or "has expired" in details:
        return "the hub's certificate is not valid by this device's clock; set the one that is wrong right"
    if "CERTIFICATE_VERIFY_FAILED" in details or "Hostname Verification" in details:
        return "who answers there is not this device's hub"
    if "Socket closed" in details or "reset by peer" in details:
        return "the hub hung up; where it is up, it does not take this device's certificate, of another clinic or ended"
    return "the hub does not answer"


def _error_of(error: Any) -> FedmedError:
    code, details = error.code(), str(error.details() or "")
    words = [value for key, value in error.trailing_metadata() or () if key == KEY]
    if words:
        return error_of(str(words[0]), details)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return QuotaRefused(f"the hub takes no more at once ({details[:200]}); it is tried again")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
        return Unreachable(f"{_why(details)} ({details[:300]}); it is tried again")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ProtocolRefused(f"the hub does not know this call ({details[:200]})")
    return Unreachable(f"the hub failed ({code.name}: {details[:200]}); it is tried again")
