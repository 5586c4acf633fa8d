"""A clinic's beat to the center's audit log: it hands in what it countersigned, and judges what comes back.

The first head that the center's own Ed25519 key signed, which came with the join file, says which log is watched from then
on. Whatever does not go on from it is told to the clinic's staff, who are the ones to act.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedmed.clinic.dialing import Line
from fedmed.clock import Clock
from fedmed.errors import ProtocolRefused
from fedmed.identity.heads import Signer, read_countersigned, read_head
from fedmed.identity.witness import Accuse, Answered, Ask, Instruction, Refuse
from fedmed.store.audit.watch import Watch
from fedmed.wire.canonical import canonical
from fedmed.wire.merkle import Path as Proof

HEADS = "/fedmed/heads"
BEAT_S = 60.0
NO_LOG = b""


class Watcher:
    """One clinic's watch over its center's log, by way of the line to it."""

    def __init__(
        self,
        path: Path,
        center_key: bytes,
        me: Signer,
        pins: Callable[[], Mapping[bytes, bytes]],
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        """`center_key`: the center's Ed25519 key; `pins`: fingerprint -> Ed25519 key of the members approved here."""
        self._path, self._center, self._me, self._pins, self._clock, self._tell = path, center_key, me, pins, clock, tell
        known = Watch.log_in(path)
        self.watch = None if known is None else self._watch(known)

    def bound(self, ledger_head: bytes) -> bytes:
        """What goes into a confirmation: 32 bytes for what left the clinic and the history it countersigned."""
        return ledger_head if self.watch is None else self.watch.bound(ledger_head)

    def beat(self, line: Line) -> None:
        """Once around; a new countersignature is handed in at once. Raises Unreachable, JoinRefused, StoreError."""
        for _ in range(2):
            before = self.watch.countersigned if self.watch is not None else None
            self._judge(line.ask("POST", HEADS, self._question())[1])
            if self.watch is None or self.watch.countersigned == before:
                return

    def _question(self) -> bytes:
        watch = self.watch
        newest = None if watch is None else watch.countersigned
        return canonical(
            {
                "countersigned": None if newest is None else newest.as_json(),
                "size": 0 if newest is None else newest.head.size,
                "asked": [] if watch is None else [[each.old.size, each.new.size] for each in watch.state.asked[:16]],
            }
        )

    def _judge(self, said: dict[str, Any]) -> None:
        try:
            head = read_head(said.get("head"))
            if self.watch is None:
                if not head.is_signed_by(self._center):
                    raise ProtocolRefused("the head is not signed by the center whose key came with the join file")
                self.watch = self._watch(head.log)
            told = list(self.watch.offered(head, _proof(said.get("proof"))))
            for other in said.get("others", []):
                told += self._heard(other)
            told += self._answered(said.get("answers", []))
        except ProtocolRefused as error:
            self._tell(f"the center's audit log: {error}")
            return
        self._report(told)

    def _heard(self, said: Any) -> tuple[Instruction, ...]:
        assert self.watch is not None
        found = read_countersigned(said)
        if found.witness not in self._pins():
            return ()  # not approved here: what it countersigns says nothing to this clinic
        return self.watch.heard(found)

    def _answered(self, answers: Any) -> list[Instruction]:
        assert self.watch is not None
        proofs = {(old, new): _proof(proof) for old, new, proof in answers}
        told: list[Instruction] = []
        for ask in self.watch.state.asked:
            if (found := proofs.get((ask.old.size, ask.new.size))) is not None:
                told += self.watch.tell(Answered(ask, found))
        return told

    def _report(self, told: list[Instruction]) -> None:
        for each in told:
            if isinstance(each, Accuse):
                self._tell(f"THE CENTER'S AUDIT LOG CONTRADICTS ITSELF ({each.kind}): {each.reason}")
            elif isinstance(each, Refuse):
                self._tell(f"the center's audit log is not countersigned: {each.reason}")
            elif isinstance(each, Ask):
                continue  # it goes along with the next beat

    def _watch(self, log: bytes) -> Watch:
        def members() -> Mapping[bytes, bytes]:
            return {**self._pins(), log: self._center}

        return Watch(self._path, log, self._me, members, self._clock)


def _proof(said: Any) -> Proof:
    try:
        return tuple(bytes.fromhex(each) for each in said)
    except (TypeError, ValueError) as error:
        raise ProtocolRefused(f"a proof is a list of digests in hexadecimal ({error})") from error
