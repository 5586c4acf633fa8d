from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from fedmed.errors import JoinRefused, StoreError
from fedmed.identity.enrolment import Admit, Ask, Deliver, Invite, Revoke, Stage, Wait, reason_against
from fedmed.identity.files import KeyRefused
from fedmed.identity.requests import certificate_request, read_request
from fedmed.store.enrolments import Enrolments
from tests.identity.parties import NOW, Standing, keys

REQUEST = certificate_request(keys(1), "north")
FINGERPRINT = keys(1).fingerprint.hex()
END = int(NOW) + 86400


def sign(der: bytes) -> tuple[bytes, int]:
    return b"certificate of " + der[:4], END


@pytest.fixture
def kept(tmp_path: Path) -> Enrolments:
    made = Enrolments(tmp_path / "enrolment.json", Standing())
    made.create()
    return made


def admit(kept: Enrolments) -> None:
    kept.apply(Invite("north", "aa", END))
    assert isinstance(kept.apply(Ask("north", "aa", read_request(REQUEST), REQUEST)), Wait)
    assert isinstance(kept.apply(Admit("north", FINGERPRINT), sign), Deliver)


def test_what_one_wrote_another_reads(kept):
    other = Enrolments(kept.path, Standing())
    assert not other.roll().seats
    admit(kept)
    assert other.roll() == kept.roll()
    seat = other.roll().of("north")
    assert (seat.stage, seat.request, seat.certificate[:11], seat.until) == (Stage.ADMITTED, REQUEST, b"certificate", END)
    assert kept.path.stat().st_mode & 0o777 == 0o600


def test_revocation_is_seen_by_who_has_the_file_open(kept):
    admit(kept)
    serving = Enrolments(kept.path, Standing())
    assert reason_against(serving.roll(), "north", FINGERPRINT) is None
    kept.apply(Revoke("north"))
    assert reason_against(serving.roll(), "north", FINGERPRINT) is not None


def test_a_file_is_read_again_only_when_it_is_another(kept):
    admit(kept)
    os.utime(kept.path, (NOW - 100, NOW - 100))
    assert kept.roll() is kept.roll()


def test_a_refused_step_and_a_step_that_nobody_signs_change_nothing(kept):
    kept.apply(Invite("north", "aa", END))
    kept.apply(Ask("north", "aa", read_request(REQUEST), REQUEST))
    before = kept.path.read_bytes()
    with pytest.raises(JoinRefused):
        kept.apply(Admit("north", "00"))
    with pytest.raises(StoreError, match="nobody is here to sign"):
        kept.apply(Admit("north", FINGERPRINT))
    assert kept.path.read_bytes() == before


def test_many_at_once_lose_no_step(kept):
    def invite(number: int) -> None:
        Enrolments(kept.path, Standing()).apply(Invite(f"clinic-{number}", "aa", END))

    threads = [threading.Thread(target=invite, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept.roll().seats) == 12


def test_only_one_roll_is_made(kept):
    with pytest.raises(KeyRefused, match="already"):
        kept.create()


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:-20],
        lambda content: content.replace(b'"stage":"admitted"', b'"stage":"renewed"'),
        lambda content: content.replace(b'"stage":"admitted"', b'"stage":"strange"'),
        lambda content: content.replace(b'"name":"north"', b'"name":"North"'),
        lambda content: content.replace(b'"expires":', b'"expires":"x","y":'),
        lambda content: b"[]",
        lambda content: b"[" * 9000,
    ],
)
def test_a_file_that_is_not_what_was_written(kept, change):
    admit(kept)
    kept.path.write_bytes(change(kept.path.read_bytes()))
    with pytest.raises(StoreError, match="put a copy"):
        Enrolments(kept.path, Standing()).roll()


def test_a_file_that_is_missing_or_open_to_others(kept, tmp_path):
    with pytest.raises(StoreError, match="cannot be read"):
        Enrolments(tmp_path / "none.json", Standing()).roll()
    with pytest.raises(StoreError, match="cannot be"):
        Enrolments(tmp_path / "nowhere" / "none.json", Standing()).apply(Revoke("north"))
    kept.path.chmod(0o666)
    with pytest.raises(KeyRefused, match="chmod 600"):
        Enrolments(kept.path, Standing()).roll()
