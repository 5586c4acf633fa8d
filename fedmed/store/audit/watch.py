"""What a clinic knows of the center's audit log, in one file: on the disk before a countersignature leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedmed.clock import Clock
from fedmed.errors import ProtocolRefused, StoreError
from fedmed.identity import witness
from fedmed.identity.heads import Countersigned, SignedHead, Signer, bound, countersign, read_countersigned, read_head
from fedmed.identity.witness import Accuse, Ask, Countersign, Event, Heard, Instruction, Offered, State
from fedmed.store.disk import Disk, replace_file
from fedmed.wire.canonical import canonical, digest
from fedmed.wire.merkle import Path as Proof

MAX_BYTES = 1 << 24
_KIND, _VERSION = "fedmed-audit-watch", 1


class Watch:
    """One clinic's watch over one log."""

    def __init__(
        self,
        path: Path,
        log: bytes,
        me: Signer,
        members: Callable[[], Mapping[bytes, bytes]],
        clock: Clock,
        disk: Disk | None = None,
    ) -> None:
        """`log`: the center's fingerprint; `members`: fingerprint -> Ed25519 key of all that are pinned, the center too.

        Raises StoreError where the file is not what was written or is of another log.
        """
        self.path, self._me, self._members, self._clock, self._disk = path, me, members, clock, disk or Disk()
        self.state, self.countersigned = _read(path, log)

    @staticmethod
    def log_in(path: Path) -> bytes | None:
        """Fingerprint of the log that a file watches; None where there is no file. Raises StoreError as `Watch`."""
        return None if not path.exists() else _body(path)[0]

    def offered(self, head: SignedHead, proof: Proof) -> tuple[Instruction, ...]:
        """The center's head, and its proof from the one countersigned last; `countersigned` is the answer where it may be.

        Raises ProtocolRefused for what its owner did not sign, StoreError where the file cannot be written: nothing is
        signed then.
        """
        return self.tell(Offered(head, proof, self._now()))

    def heard(self, said: Countersigned) -> tuple[Instruction, ...]:
        """Another clinic's countersigned head. Raises ProtocolRefused, StoreError."""
        return self.tell(Heard(said, self._now()))

    def tell(self, event: Event) -> tuple[Instruction, ...]:
        """What to do about an event, the state after it being on the disk. Raises ProtocolRefused, StoreError."""
        state, said = witness.step(self.state, event, self._members())
        newest = self.countersigned
        for each in said:
            if isinstance(each, Countersign):
                newest = countersign(self._me, each.head, self._now())
        if (state, newest) != (self.state, self.countersigned):
            self._write(state, newest)
        self.state, self.countersigned = state, newest
        return said

    def bound(self, ledger_head: bytes) -> bytes:
        """What goes into a confirmation beside the round: 32 bytes over the ledger's head and the countersigned one."""
        return bound(ledger_head, self.countersigned)

    def _now(self) -> int:
        return int(self._clock.unix() * 1000)

    def _write(self, state: State, newest: Countersigned | None) -> None:
        body = {
            "kind": _KIND,
            "version": _VERSION,
            "log": state.log.hex(),
            "newest": None if newest is None else newest.as_json(),
            "others": [each.as_json() for _, each in sorted(state.others.items())],
            "asked": [_pair(each.old, each.new) for each in state.asked],
            "accusations": [
                {**_pair(each.first, each.second), "kind": each.kind, "reason": each.reason} for each in state.accusations
            ],
        }
        try:
            self._disk.make_folder(self.path.parent)
            replace_file(self._disk, self.path, canonical({"watch": body, "sha256": digest(body)}) + b"\n")
        except OSError as error:
            raise StoreError(
                f"{self.path} cannot be written ({error.strerror or error}); nothing is countersigned that it does not hold"
            ) from error


def _pair(first: SignedHead, second: SignedHead) -> dict[str, Any]:
    return {"first": first.as_json(), "second": second.as_json()}


def _read(path: Path, log: bytes) -> tuple[State, Countersigned | None]:
    if not path.exists():
        return State(log), None
    found = _body(path)
    if found[0] != log:
        raise StoreError(f"{path} watches the log {found[0].hex()[:16]}, not {log.hex()[:16]}; name another file")
    return found[1]


def _body(path: Path) -> tuple[bytes, tuple[State, Countersigned | None]]:
    """The log that a file watches, and what it knows of it."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StoreError(f"{path} has more than {MAX_BYTES} bytes; it is not a file of ours")
        sealed = json.loads(path.read_bytes())
        body = sealed["watch"]
        if sealed["sha256"] != digest(body) or (body["kind"], body["version"]) != (_KIND, _VERSION):
            raise ValueError("it does not have the digest, kind and version it was written with")
        found = _state(body)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, ProtocolRefused) as error:
        raise StoreError(f"{path} cannot be read ({error or type(error).__name__}); put a copy of it back") from error
    return found[0].log, found


def _state(body: dict[str, Any]) -> tuple[State, Countersigned | None]:
    newest = None if body["newest"] is None else read_countersigned(body["newest"])
    others = [read_countersigned(each) for each in body["others"]]
    asked = tuple(Ask(read_head(each["first"]), read_head(each["second"])) for each in body["asked"])
    accused = tuple(
        Accuse(str(each["kind"]), read_head(each["first"]), read_head(each["second"]), str(each["reason"]))
        for each in body["accusations"]
    )
    head = None if newest is None else newest.head
    return State(bytes.fromhex(body["log"]), head, {each.witness: each for each in others}, asked, accused), newest
