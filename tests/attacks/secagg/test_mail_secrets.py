"""Somebody recorded an epoch's mail and later gets a clinic's whole disk with the key: it opens none of the mail.

Were a mail key left, the shares in the mail would open the masks of rounds whose own secrets were erased long ago. What a
keystore's disk shows beyond its newest state is looked for in `tests.attacks.test_keystore`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from fedmed.outbound.outbox import Outbox
from fedmed.privacy.secagg import schedule, state_bytes
from fedmed.privacy.secagg.convening import Phase
from fedmed.privacy.secagg.epoch_messages import STORE, Mail
from fedmed.store.keystore import FileKeystore, MemoryKeystore
from tests.identity.parties import Standing
from tests.outbound.clinics import set_up
from tests.privacy.secagg.federation import clinics_for, terms_for


@dataclass
class Watched:
    """What the victim's keystore held in each phase, and the secrets of the mail that were in it."""

    seen: dict[Phase, bytes] = field(default_factory=dict)
    secrets: dict[Phase, list[bytes]] = field(default_factory=dict)
    mail: tuple[bytes, ...] = ()
    transcript: bytes = b""
    after: bytes = b""


@pytest.fixture
def watched(tmp_path) -> Watched:
    """A set-up of four."""
    found = Watched()
    terms = terms_for(4, rounds=1)
    members = {index: clinic.member for index, clinic in clinics_for(terms).items()}
    with FileKeystore(tmp_path, b"k" * 32, Standing()) as keystore:
        boxes = {1: Outbox(members[1], keystore)} | {n: Outbox(members[n], MemoryKeystore()) for n in (2, 3, 4)}

        def look(phase: Phase, index: int, request: bytes) -> bytes:
            if index == 1 and phase in (Phase.SHARES, Phase.STORE):
                found.seen[phase] = kept(keystore)
                joining = state_bytes.decode(found.seen[phase]).joining
                assert joining is not None
                found.secrets[phase] = [joining.mail, *joining.mail_keys.values()]
                found.transcript = joining.transcript
            if index == 1 and phase is Phase.STORE:
                found.mail = Mail.decode(request, STORE).sealed
            return request

        set_up(terms, boxes, look)
        found.after = kept(keystore)
    return found


def kept(keystore: FileKeystore) -> bytes:
    state = keystore.load()
    assert state is not None
    return state


def test_while_the_epoch_is_set_up_they_are_there(watched):
    mail, *none = watched.secrets[Phase.SHARES]
    assert not none
    assert mail in watched.seen[Phase.SHARES]
    gone, *keys = watched.secrets[Phase.STORE]
    assert gone == b""
    assert mail not in watched.seen[Phase.STORE]
    assert all(key in watched.seen[Phase.STORE] for key in keys)
    assert schedule.open_mail(keys[0], 2, 1, watched.mail[0], watched.transcript)


def test_once_it_is_set_up_nothing_opens_the_mail(watched):
    (mail, *_), (_, *keys) = watched.secrets[Phase.SHARES], watched.secrets[Phase.STORE]
    assert watched.transcript in watched.after
    assert not [each for each in (mail, *keys) if each in watched.after]
