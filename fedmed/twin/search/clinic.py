"""One clinic of the search: the outbox, keystore, counter and ledger that a hospital has, on a disk that loses its power."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedmed.clock import Clock
from fedmed.errors import StoreError
from fedmed.outbound.outbox import NO_HEAD, Outbox, Sent
from fedmed.privacy.purposes import Purpose
from fedmed.privacy.secagg import round_messages, state_bytes
from fedmed.privacy.secagg.client import State
from fedmed.privacy.secagg.encoding import sha256
from fedmed.privacy.secagg.masks import Masker
from fedmed.privacy.secagg.member import Member
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.round_messages import ConfirmRequest, Header, RevealRequest, Uploaded
from fedmed.privacy.secagg.rounding import Lanes
from fedmed.privacy.secagg.schedule import vector_digest
from fedmed.privacy.secagg.taking_part import Given
from fedmed.store.counters import CounterFile
from fedmed.store.departures import SUFFIX, Departure, Departures, verify
from fedmed.store.keystore import FileKeystore, Keystore, MemoryKeystore
from fedmed.twin.search.disk import SYNCED, Power
from fedmed.twin.search.watching import LANES, OPENS, Broken, Watch

LAYOUT = sha256(b"fault search", b"layout")
KEY, BITS, KIND_AT, BEGAN = b"k" * 32, 32, 5, 1_900_000_000.0
LEDGER = f"clinic{SUFFIX}"


class SetClock:
    """A clock that somebody may set; it passes a second at each look."""

    def __init__(self) -> None:
        self._now, self.ahead = 0.0, 0.0

    def now(self) -> float:
        """Seconds on a scale that nobody sets."""
        return self._now

    def unix(self) -> float:
        """Seconds since 1970, as set."""
        self._now += 1.0
        return BEGAN + self._now + self.ahead

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._now += seconds


@dataclass(frozen=True)
class Work:
    """What a clinic is asked to train on."""

    header: bytes
    model: bytes
    """Digest of the model that came with it."""


class Clinic:
    """A member of the roster and its machine."""

    def __init__(self, index: int, member: Member, folder: Path | None, watch: Watch, draw: Callable[[int], bytes]) -> None:
        """`folder`: of its disk; without one its keystore is in memory, and never loses anything, and it has no ledger.

        `draw`: bytes for keys of records and for plain vectors, by count.
        """
        self.index, self.clock, self.is_out, self.machine = index, SetClock(), False, None
        self._member, self._watch, self._draw, self._plain = member, watch, draw, list[Lanes]()
        self._keystore: Keystore = MemoryKeystore()
        if folder is not None:
            self.machine = Machine.under(folder)
        self.start()

    def start(self) -> None:
        """Go on from what is on the disk; where that is older than it was, the clinic takes no part any more."""
        if self.machine is not None:
            self._keystore = self.machine.opened(self.clock, self._draw)
        try:
            self._box = Outbox(self._member, self._keystore, self._head, threads=1)
        except StoreError as error:
            if self.machine is None or not self.machine.was_lied_to:
                raise Broken(OPENS, f"that of member {self.index} does not: {type(error).__name__}") from error
            self.is_out = True
        else:
            self._watch.starts(self.index, self.state())

    def _head(self) -> bytes:
        return NO_HEAD if self.machine is None else self.machine.departures.head()

    def fail_in(self, calls: int) -> None:
        """See Power."""
        if self.machine is not None:
            self.machine.power.fail_in(calls)

    def lies(self) -> None:
        """Its disk says synced from now on, and is not."""
        if self.machine is not None:
            self.machine.power.lies = self.machine.was_lied_to = True

    def restart(self, keeps: str = SYNCED) -> None:
        """Lose the power and start again."""
        if self.machine is not None:
            self.stop()
            self.machine.power.lose(keeps)
        self.start()

    def stop(self) -> None:
        """Close what is open."""
        if isinstance(self._keystore, FileKeystore):
            self._keystore.close()

    def joined(self, state: bytes) -> None:
        """Have joined the epoch that a state tells of."""
        self._keystore.save(state)

    def state(self) -> State:
        """What its disk says. Raises StoreError."""
        kept = self._keystore.load()
        return State() if kept is None else state_bytes.decode(kept)

    def answer(self, request: bytes) -> bytes:
        """The answer that leaves. Raises ProtocolRefused, StoreError, Crash, Broken."""
        said = self._box.answer(request)
        self._watch.sends(self.index, said, self._plain)
        match request[KIND_AT]:
            case round_messages.CONFIRM:
                self._left(request, said, Header.decode(ConfirmRequest.decode(request).header))
            case round_messages.REVEAL:
                header, epoch = Header.decode(RevealRequest.decode(request).header), self.state().epoch
                assert epoch is not None
                self._watch.reveals(self.index, epoch.terms.epoch, header, epoch.graph.holders(self.index), said)
                self._left(request, said, header)
                self._watch.starts(self.index, self.state())
        return said

    def _left(self, request: bytes, said: bytes, header: Header) -> None:
        assert self._box.terms is not None
        self._watch.answered(self.index, request, said)
        self._watch.is_in(self.index, self._box.terms.epoch, header.number)

    def upload(self, work: Work) -> Sent:
        """The masked vector that leaves. Raises ProtocolRefused, StoreError, Crash, Broken."""
        given = Given(work.header, Purpose.UPDATE, work.model, LAYOUT, LANES, BITS)
        mask = self._box.begin(given)
        if isinstance(mask, Sent):
            sent = mask
        else:
            plain = np.frombuffer(self._draw(4 * LANES), np.uint32).copy()  # trained anew, it is another one each time
            self._plain.append(plain)
            sent = self._sent(plain, mask)
        terms, header = self._box.terms, Header.decode(work.header)
        assert terms is not None
        vector = Uploaded.decode(sent.envelope).vector
        if self.machine is not None:
            self.machine.departures.record(_departure(header, terms, vector, self.clock.unix()))
        self._watch.sends(self.index, sent.envelope + sent.vector.tobytes(), self._plain)
        self._watch.masked(self.index, terms.epoch << 8 | header.number, vector)
        self._watch.is_in(self.index, terms.epoch, header.number)
        return sent

    def _sent(self, plain: Lanes, mask: Masker) -> Sent:
        lanes = plain.copy()
        try:
            return self._box.send(lanes, mask)
        finally:  # the power may go after the vector is on the disk, from where it is sent then
            self._watch.made(vector_digest(lanes), plain)


class Machine:
    """A clinic's disk: a keystore, its counter on another medium, and the ledger."""

    def __init__(self, root: Path, ledger: Path) -> None:
        self._keys, self._medium, self._ledger = root / "keystore", root / "medium", ledger / LEDGER
        self.power, self.was_lied_to = Power(root, honest=self._medium), False

    @classmethod
    def under(cls, folder: Path) -> Machine:
        """A new one."""
        root, ledger = folder / "machine", folder / "ledger"
        for place in (root / "keystore", root / "medium", ledger):
            place.mkdir(parents=True)
        return cls(root, ledger)

    def opened(self, clock: Clock, draw: Callable[[int], bytes]) -> FileKeystore:
        """The keystore; and the ledger, verified."""
        self.departures = Departures(self._ledger)
        counter = CounterFile(self._medium / "key.counter", KEY, self.power)
        return FileKeystore(self._keys, KEY, clock, counter, self.power, draw)

    def sent(self) -> set[tuple[int, bytes]]:
        """Round and digest of each vector in the ledger, verified. Raises StoreError."""
        return {(each.epoch << 8 | each.number, bytes.fromhex(each.vector_blake3)) for each in verify(self._ledger)}


def _departure(header: Header, terms: Parameters, vector: bytes, unix: float) -> Departure:
    return Departure(
        unix=unix,
        federation=terms.federation,
        run=terms.run,
        epoch=terms.epoch,
        number=header.number,
        purpose="update",
        round=None,
        cohort=len(header.cohort),
        members=terms.members,
        quorum=terms.quorum,
        least=terms.least_survivors(len(header.cohort)),
        mode=terms.mode,
        bits=BITS,
        tensors=(),
        fields=(),
        bytes=4 * LANES,
        vector_blake3=vector.hex(),
        model_blake3=header.model.hex(),
        layout_sha256=header.layout.hex(),
        norm=None,
        clip=None,
        noise=None,
        epsilon=None,
        delta=None,
        dataset="search",
    )
