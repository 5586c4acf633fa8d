"""Bugs that real implementations have had, each put into one place of the code that runs in hospitals.

A bug is a function that patches; what it patches is the real class or function, never the search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fedmed.federation import round as rounds
from fedmed.federation.round import Round
from fedmed.outbound.outbox import Outbox
from fedmed.privacy.secagg import opening, state_bytes, taking_part
from fedmed.privacy.secagg.member import Commit, Epoch
from fedmed.privacy.secagg.parameters import Parameters
from fedmed.privacy.secagg.round_messages import Uploaded
from fedmed.store import chain, keyfolder
from fedmed.store.audit import log
from fedmed.store.audit.log import AuditLog
from fedmed.store.commits import Commits
from fedmed.store.keyfolder import KeyFolder
from tests.twin.search.slack import without

Plant = Callable[[pytest.MonkeyPatch], None]


def lost_update(patch: pytest.MonkeyPatch) -> None:
    """Survivors are taken from who was asked, not from whose vectors came."""
    real = opening.close
    patch.setattr(opening, "close", lambda state: replace(real(state), survivors=state.header.cohort))


def double_count(patch: pytest.MonkeyPatch) -> None:
    """An upload that comes twice is added twice: nobody looks who has answered already."""
    real = opening.take

    def take(state, member, envelope, vector):
        others = {index: each for index, each in state.uploads.items() if index != member}
        return real(replace(state, uploads=others), member, envelope, vector)

    patch.setattr(opening, "take", take)
    patch.setattr(Round, "is_waiting_for", lambda self, site: site in self.cohort)


def late_count(patch: pytest.MonkeyPatch) -> None:
    """An upload that comes after the round is closed is added to the sum whose survivors are fixed."""
    step, take = rounds.step, opening.take
    patch.setattr(
        rounds,
        "step",
        lambda state, event: step(replace(state, is_closed=False) if hasattr(event, "site") else state, event),
    )

    def after(state, member, envelope, vector):
        return replace(take(replace(state, survivors=None), member, envelope, vector), survivors=state.survivors)

    patch.setattr(opening, "take", after)


def corrupt_vector(patch: pytest.MonkeyPatch) -> None:
    """A vector's digest is not compared with the one that its member signed."""
    real = opening.take
    patch.setattr(
        opening,
        "take",
        lambda state, member, envelope, vector: real(state, member, envelope, Uploaded.decode(envelope).vector),
    )


def short_sum(patch: pytest.MonkeyPatch) -> None:
    """A round is taken as good with whoever has answered."""
    patch.setattr(Parameters, "least_survivors", lambda self, cohort: 1)
    patch.setattr(Round, "shortfalls", lambda self: [])


def commit_without_fsync(patch: pytest.MonkeyPatch) -> None:
    """A commit's files are renamed into their place before they are synced."""
    real: Any = Commits.__init__

    def init(self, folder, disk=None):
        real(self, folder, without(disk, "sync"))

    patch.setattr(Commits, "__init__", init)


def commit_without_name(patch: pytest.MonkeyPatch) -> None:
    """The folder of commits is made, and its name never synced. This one was ours: the search found it."""
    patch.setattr(Commits, "_name", lambda self: None)


def keystore_without_fsync(patch: pytest.MonkeyPatch) -> None:
    """A record of the keystore counts before it is synced."""
    real = keyfolder.write_file
    patch.setattr(keyfolder, "write_file", lambda disk, path, fill: real(without(disk, "sync"), path, fill))


def sent_before_kept(patch: pytest.MonkeyPatch) -> None:
    """A masked vector leaves while its keystore does not have it: after a crash the round is masked anew."""
    real: Any = Outbox._keep

    def keep(self, state, how, lanes):
        return state_bytes.encode(state) if isinstance(how, Commit) else real(self, state, how, lanes)

    patch.setattr(Outbox, "_keep", keep)
    patch.setattr(Outbox, "_look", looked_once(Outbox._look))


def looked_once(look: Callable[[Outbox], None]) -> Callable[[Outbox], None]:
    """A process believes its memory from its second look on."""

    def once(self: Outbox) -> None:
        if getattr(self, "_has_looked", False) is False or self._state.epoch is None:
            look(self)
            self._has_looked = self._state.epoch is not None

    return once


def secrets_kept(patch: pytest.MonkeyPatch) -> None:
    """What a round was masked with is not forgotten when the round is over."""
    patch.setattr(Epoch, "forgetting", lambda self, number: self)


def second_survivors(patch: pytest.MonkeyPatch) -> None:
    """A member signs and opens whatever survivors it is asked about last."""
    confirm, reveal = taking_part.confirm, taking_part.reveal

    def forgotten(epoch: Epoch, *fields: str) -> Epoch:
        if epoch.current is None:
            return epoch
        return replace(epoch, current=replace(epoch.current, **dict.fromkeys(fields)))

    patch.setattr(
        taking_part,
        "confirm",
        lambda member, epoch, *rest: confirm(member, forgotten(epoch, "survivors", "confirmed"), *rest),
    )
    patch.setattr(
        taking_part,
        "reveal",
        lambda member, epoch, request: reveal(member, forgotten(epoch, "revealed"), request),
    )


def round_replayed(patch: pytest.MonkeyPatch) -> None:
    """A round's number is not compared with those that were used."""
    patch.setattr(taking_part, "_refuse_used", lambda epoch, number: None)


def rolled_back(patch: pytest.MonkeyPatch) -> None:
    """A keystore that is older than it was is gone on with."""
    patch.setattr(KeyFolder, "_refuse_if_old", lambda self, header, count: None)


def logged_before_fsync(patch: pytest.MonkeyPatch) -> None:
    """A line of the audit log is acknowledged before it is on the disk."""
    real = chain._write_at
    patch.setattr(chain, "_write_at", lambda disk, path, size, content: real(without(disk, "sync"), path, size, content))


def stale_head(patch: pytest.MonkeyPatch) -> None:
    """The head that is signed is that of the log as it was looked at before the last entry."""
    real: Any = AuditLog._sign

    def sign(self, opened):
        head, size = real(self, opened), max(0, opened.size - 1)
        return log.sign_head(self._keys, size, opened.tree.root(size), head.unix_ms)

    patch.setattr(AuditLog, "_sign", sign)


def dated_back(patch: pytest.MonkeyPatch) -> None:
    """A head has the time of a clock that was set back a little: it looks like a log that became shorter."""
    real: Any = log.sign_head
    clocks: dict[int, Any] = {}
    init: Any = AuditLog.__init__

    def made(self, folder, clock, keys=None, *rest):
        clocks[id(keys)] = clock
        init(self, folder, clock, keys, *rest)

    patch.setattr(AuditLog, "__init__", made)
    patch.setattr(log, "sign_head", lambda keys, size, root, _: real(keys, size, root, int(clocks[id(keys)].unix() * 1000)))


PLANTED: dict[str, Plant] = {
    each.__name__: each
    for each in (
        lost_update,
        double_count,
        late_count,
        corrupt_vector,
        short_sum,
        commit_without_fsync,
        commit_without_name,
        keystore_without_fsync,
        sent_before_kept,
        secrets_kept,
        second_survivors,
        round_replayed,
        rolled_back,
        logged_before_fsync,
        stale_head,
        dated_back,
    )
}
