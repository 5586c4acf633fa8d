from __future__ import annotations

import json

import pytest

from fedmed.errors import JoinRefused, StoreError
from fedmed.hub.door import ADDRESSES, PER_S, TRIES, Tries
from fedmed.hub.roll import Devices
from fedmed.identity.devices import Invite, Revoke, Stage
from tests.hub.clinic import Skewed


@pytest.fixture
def roll(tmp_path) -> Devices:
    made = Devices(tmp_path / "devices.json", Skewed())
    made.create()
    made.apply(Invite("echo", "00" * 8, "11" * 32, 2**40))
    return made


def test_what_one_process_writes_another_reads_at_once(roll):
    other = Devices(roll.path, Skewed())
    assert other.roll().devices["echo"].stage is Stage.INVITED
    roll.apply(Revoke("echo"))
    assert other.roll().devices["echo"].stage is Stage.REVOKED
    assert Devices(roll.path, Skewed()).roll() == other.roll()


def test_a_refused_step_changes_nothing(roll):
    before = roll.path.read_bytes()
    with pytest.raises(JoinRefused):
        roll.apply(Revoke("mri"))
    assert roll.path.read_bytes() == before


@pytest.mark.parametrize(
    "changed",
    [
        lambda content: b"",
        lambda content: b"{}",
        lambda content: content[:-9],
        lambda content: content.replace(b'"echo"', b'"mri"'),
        lambda content: content.replace(b'"invited"', b'"enrolled"'),
        lambda content: content.replace(b'"wrong":0', b'"wrong":"0"'),
        lambda content: json.dumps(json.loads(content), indent=1).encode(),
        lambda content: b"[" * 100_000,
    ],
)
def test_a_roll_that_was_changed_by_hand_is_not_read(roll, changed):
    roll.path.write_bytes(changed(roll.path.read_bytes()))
    with pytest.raises(StoreError, match="put a copy of it back"):
        Devices(roll.path, Skewed()).roll()


def test_a_roll_that_others_can_change_is_not_read(roll):
    roll.path.chmod(0o666)
    with pytest.raises(StoreError, match="chmod 600"):
        Devices(roll.path, Skewed()).roll()


def test_tries_come_back_and_memory_is_bounded():
    tries = Tries()
    for _ in range(TRIES):
        assert tries.may("a", 0.0)
        tries.fail("a", 0.0)
    assert not tries.may("a", PER_S - 1)
    assert tries.may("b", 0.0)
    assert tries.may("a", PER_S)
    for number in range(2 * ADDRESSES):
        tries.fail(str(number), 1.0)
    assert len(tries._failed) == ADDRESSES
