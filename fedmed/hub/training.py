"""A device that trains along in its clinic's rounds: its pins, its keystore and its training, put together for its agent.

The agent tells `facts` with each heartbeat and gives what it is owed to `look`. While `look` answers, more follows soon: the
next heartbeat is better sent at once, for a round has six small messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fedmed.errors import StoreError
from fedmed.hub.client import HubClient
from fedmed.hub.fellows import Fellows
from fedmed.hub.messages import Owed
from fedmed.hub.ordered import Ordered
from fedmed.identity.member import ROUNDING
from fedmed.outbound.outbox import Outbox
from fedmed.privacy.secagg.member import Entropy, Member
from fedmed.privacy.secagg.parameters import Policy
from fedmed.privacy.secagg.schedule import rounding_seed
from fedmed.store.keystore import Keystore
from fedmed.tiers.taking_part import Own, TakingPart, Train
from fedmed.tiers.terms import scope
from fedmed.wire.words import count

CASES = "cases"
"""Of a heartbeat's facts: training cases that the device declares."""
REQUESTS, LIST = "rounds", "fellows.new"


class Trainee:
    """One device's part in rounds; for the thread of its client."""

    def __init__(
        self,
        client: HubClient,
        federation: str,
        train: Train,
        own: Callable[[Callable[[], int]], Own],
        keystore: Keystore,
        entropy: Entropy,
        tell: Callable[[str], None],
    ) -> None:
        """`own` makes the device's rules from what tells how many devices it knows of; `tell` is the device's own log.

        `train` never uses more cases than `Own.cases`. Raises KeyRefused, StoreError for files that are not in order.
        """
        folder = client.folder
        keys, self._client, self._tell = folder.keys(), client, tell
        self.fellows, self._seen = Fellows(folder), ""
        self._own = own(self.fellows.known)
        member = Member(keys, Policy(scope(federation, folder.hub.clinic), self.fellows.pins), entropy)
        rounding = partial(rounding_seed, keys.secret_for(ROUNDING))
        part = TakingPart(Outbox(member, keystore), train, self._own, rounding, tell)
        self._ordered = Ordered(client, part.answer, folder.path / REQUESTS)

    @property
    def facts(self) -> dict[str, Any]:
        """What a heartbeat tells of it."""
        return {CASES: self._own.cases}

    def look(self, owed: Sequence[Owed]) -> int:
        """Pin the fellows where their list is new, and answer what is asked; how many requests were answered.

        Raises ProtocolRefused for a list that is none, Unreachable, DeviceRefused, StoreError: called again, it goes on.
        """
        wanted = self.fellows.wanted(owed)
        if wanted is not None and wanted.digest != self._seen:
            self.fellows.take(self._fetched(wanted, self._client.folder.path / LIST))
            self._seen = wanted.digest
            self._tell(f"the clinic has {count(len(self.fellows.pins), 'device')}, this one among them")
        return self._ordered.take(owed)

    def _fetched(self, wanted: Owed, target: Path) -> bytes:
        self._client.fetch(wanted, target)
        try:
            content = target.read_bytes()
            target.unlink()
        except OSError as error:
            raise StoreError(f"{target} cannot be read ({error.strerror}); make room or mend the disk") from error
        return content
