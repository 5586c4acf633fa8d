"""A device's end of its clinic's rounds: what the hub asks is fetched, answered, and sent. See `fedmed.hub.rounds`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from fedmed.errors import ProtocolRefused, StoreError
from fedmed.hub.client import HubClient
from fedmed.hub.messages import Owed, Piece
from fedmed.hub.rounds import ROUND, SERIAL_BYTES

UPDATE = "update"


class Ordered:
    """Answers each request once; for one thread, that of its client."""

    def __init__(self, client: HubClient, answer: Callable[[bytes], bytes], folder: Path) -> None:
        """`answer`: `fedmed.tiers.taking_part.TakingPart.answer`; `folder`: where requests lie while they are fetched."""
        self._client, self._answer, self._folder = client, answer, folder
        self._last = ""
        self._made: tuple[str, bytes] | None = None
        """What is answered and not sent yet: a set-up's step cannot be answered twice."""

    def take(self, owed: Sequence[Owed]) -> int:
        """Answer what of `owed` belongs to rounds and is new; how many were answered: more may follow at once then.

        Raises Unreachable, QuotaRefused, StoreError: called again, it goes on. DeviceRefused.
        """
        new = sorted(each.name for each in owed if each.kind == ROUND and self._is_new(each.name))
        by_name = {each.name: each for each in owed if each.kind == ROUND}
        return sum(self._one(by_name[name]) for name in new)

    def _is_new(self, name: str) -> bool:
        return len(name) == SERIAL_BYTES and name.isdigit() and name > self._last

    def _one(self, owed: Owed) -> bool:
        if self._made is None or self._made[0] != owed.name:
            request = self._fetched(owed)
            if request is None:
                return False
            self._made = owed.name, owed.name.encode() + self._answer(request)
        name, content = self._made
        piece = Piece(hashlib.sha256(content).hexdigest(), UPDATE, len(content), {ROUND: name})
        (sent,) = self._client.upload([piece], lambda _: content)
        if sent.error is not None:
            raise sent.error
        self._last, self._made = name, None
        return True

    def _fetched(self, owed: Owed) -> bytes | None:
        """The request; None where the hub asks it no longer."""
        target = self._folder / owed.name
        try:
            self._client.fetch(owed, target)
            content = target.read_bytes()
            target.unlink()
        except ProtocolRefused:
            return None
        except OSError as error:
            raise StoreError(f"{target} cannot be read ({error.strerror}); make room or mend the disk") from error
        return content[SERIAL_BYTES:] if content[:SERIAL_BYTES] == owed.name.encode() else None
