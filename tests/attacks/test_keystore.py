"""Somebody has a copy of a clinic's whole disk and the keystore's key, and looks for the masks of rounds that are over."""

from __future__ import annotations

import os
import shutil
from io import BytesIO
from pathlib import Path

import pytest

from fedmed.privacy.keys import derived
from fedmed.privacy.sealing import HEADER, SealBroken, unsealed
from fedmed.store import keyslots
from fedmed.store.counters import CounterFile
from fedmed.store.keystore import FileKeystore
from tests.identity.parties import Standing
from tests.store.power import KEEPS, Power

KEY = b"k" * 32
ROUND = b"the X25519 key and the self seed of round 1 " * 8
MASKED = b"the masked update of round 1 " * 3000
AFTER = b"an epoch without round 1"


class Clinic:
    """A keystore in whose past were the secrets of a round, and all that an attacker gets of it."""

    def __init__(self, root: Path) -> None:
        self.folder, self.medium = root / "keystore", root / "medium"
        self.medium.mkdir(parents=True)

    def store(self, disk: Power | None = None) -> FileKeystore:
        return FileKeystore(self.folder, KEY, Standing(), CounterFile(self.medium / "c", KEY, disk), disk)

    def begin(self) -> None:
        with self.store() as store:
            store.save(b"an epoch " + ROUND)
            store.commit(1, b"round 1 sent " + ROUND, MASKED)

    def erase(self) -> None:
        with self.store() as store:
            store.erase(AFTER, 1)


Files = list[tuple[str, bytes]]
"""Each with its name."""


def copied(*folders: Path) -> Files:
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return [(path.name, path.read_bytes()) for path in paths]


def opened(files: Files) -> bytes:
    """All that the key opens, and all that what it opened opens, until nothing more does.

    Whatever 32 bytes were ever opened are tried as the key of whatever could be sealed, under each name that could be its:
    a record's is that of its file, or of another; where a file has another kind of name, whatever 16 bytes were opened.
    """
    found: list[bytes] = [b"".join(content for _, content in files)]
    records = {name for name, _ in files if name.startswith("r-")}
    keys = {KEY, derived(KEY, "keystore header"), derived(KEY, "keystore counter")}
    tried: set[tuple[bytes, int]] = set()
    while fresh := {(key, place) for key in keys for place in range(len(files))} - tried:
        for key, place in fresh:
            for piece, name in candidates(*files[place], records, found):
                try:
                    content = b"".join(unsealed(key, name, BytesIO(piece)))
                except SealBroken:
                    continue
                found.append(content)
                keys |= {content[begin : begin + 32] for begin in range(max(0, min(len(content), 400) - 31))}
        tried |= fresh
    return b"\n".join(found)


def candidates(called: str, file: bytes, records: set[str], found: list[bytes]) -> list[tuple[bytes, str]]:
    if called in records:
        return [(file, name) for name in records if len(file) > HEADER]
    if len(file) == keyslots.SIZE:
        return [(file[slot * keyslots.BLOCK :][: keyslots._SEALED], keyslots._BOUND) for slot in range(2)]
    names = {each[begin : begin + 16] for each in found[1:] for begin in range(max(0, min(len(each), 400) - 15))}
    return [(file, f"r-{name.hex()}") for name in names if len(file) > HEADER]


def test_the_attacker_finds_all_before_the_round_is_erased(tmp_path):
    """The search is worth something: with disk and key it finds what is there."""
    clinic = Clinic(tmp_path)
    clinic.begin()
    seen = opened(copied(clinic.folder, clinic.medium))
    assert ROUND in seen
    assert MASKED in seen


def test_nothing_of_an_erased_round_is_in_any_file(tmp_path):
    clinic = Clinic(tmp_path)
    clinic.begin()
    clinic.erase()
    seen = opened(copied(clinic.folder, clinic.medium))
    assert AFTER in seen
    assert ROUND not in seen
    assert MASKED not in seen


@pytest.mark.parametrize("keeps", KEEPS)
def test_nor_after_the_power_failed_when_erase_had_returned(tmp_path, keeps):
    clinic = Clinic(tmp_path)
    clinic.begin()
    power = Power(clinic.folder, clinic.medium)
    with clinic.store(power) as store:
        store.erase(AFTER, 1)
    power.lose(keeps)
    seen = opened(copied(clinic.folder, clinic.medium))
    assert AFTER in seen
    assert ROUND not in seen


@pytest.mark.parametrize("keeps", KEEPS)
def test_nor_is_a_state_that_another_was_saved_over(tmp_path, keeps):
    """As the set-up's secrets are, once the epoch stands."""
    clinic = Clinic(tmp_path)
    with clinic.store() as store:
        store.save(b"a set-up " + ROUND)
    power = Power(clinic.folder, clinic.medium)
    with clinic.store(power) as store:
        store.save(AFTER)
    power.lose(keeps)
    seen = opened(copied(clinic.folder, clinic.medium))
    assert AFTER in seen
    assert ROUND not in seen


def hard_links(folder: Path, target: Path) -> Path:
    """What a backup that links instead of copying keeps of a folder's files."""
    target.mkdir()
    for path in folder.iterdir():
        os.link(path, target / path.name)
    return target


def test_nor_with_every_removed_file_brought_back(tmp_path):
    """Old records undeleted, and hard links that a backup made: their keys are gone, the file of keys was written over."""
    clinic = Clinic(tmp_path / "clinic")
    clinic.begin()
    linked = hard_links(clinic.folder, tmp_path / "linked")
    assert ROUND in opened(copied(linked))
    clinic.erase()
    seen = opened(copied(clinic.folder, clinic.medium, linked))
    assert AFTER in seen
    assert ROUND not in seen
    assert MASKED not in seen


def test_nor_after_beginning_again(tmp_path):
    clinic = Clinic(tmp_path / "clinic")
    clinic.begin()
    linked = hard_links(clinic.folder, tmp_path / "linked")
    with clinic.store() as store:
        store.begin_again()
    assert ROUND not in opened(copied(clinic.folder, clinic.medium, linked))


def test_every_kind_of_write_ends_what_was_before(tmp_path):
    clinic = Clinic(tmp_path)
    secrets = [bytes([65 + number]) * 50 for number in range(6)]
    with clinic.store() as store:
        writes = (
            lambda s: store.save(s),
            lambda s: store.commit(1, s, s),
            lambda s: store.save(s),
            lambda s: store.erase(s, 1),
            lambda s: store.commit(2, s, b""),
            lambda s: store.save(s, begins=True),
        )
        for secret, write in zip(secrets, writes, strict=True):
            write(secret)
            seen = opened(copied(clinic.folder))
            # The message of round 1 is the second secret, which stays until that round is erased.
            assert [each for each in secrets if each in seen] in ([secret], [secrets[1], secret])


def test_names_and_keys_are_never_used_twice(tmp_path):
    clinic, names, kept = Clinic(tmp_path), [], set()
    with clinic.store() as store:
        for number in range(20):
            store.commit(number, b"the same state", b"the same message")
            new = {path.name: path.read_bytes() for path in clinic.folder.glob("r-*")}
            names += list(new)
            kept |= set(new.values())
    assert len(names) == len(set(names)) == len(kept) == 40


def test_an_old_block_of_the_keys_opens_what_it_named(tmp_path):
    """What no program reaches, shown so that nobody is told otherwise: an old block of `keys`, an old record, the key."""
    clinic = Clinic(tmp_path / "clinic")
    clinic.begin()
    shutil.copytree(clinic.folder, tmp_path / "old blocks")
    clinic.erase()
    assert ROUND in opened(copied(clinic.folder, tmp_path / "old blocks"))


def test_without_the_key_nothing_opens(tmp_path):
    clinic = Clinic(tmp_path)
    clinic.begin()
    assert ROUND not in b"".join(content for _, content in copied(clinic.folder, clinic.medium))
