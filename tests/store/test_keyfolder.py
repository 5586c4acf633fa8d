from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fedmed.errors import StoreError
from fedmed.store import keyslots
from fedmed.store.counters import CounterFile
from fedmed.store.disk import Disk
from fedmed.store.keystore import FileKeystore, RolledBack
from tests.identity.parties import Standing

KEY = b"k" * 32


def opened(folder: Path, key: bytes = KEY, counter: CounterFile | None = None) -> FileKeystore:
    return FileKeystore(folder, key, Standing(), counter)


def contents(folder: Path, counter: CounterFile | None = None) -> tuple[bytes | None, bytes | None]:
    with opened(folder, counter=counter) as store:
        return store.load(), store.sent(1)


@pytest.fixture
def folder(tmp_path) -> Path:
    with opened(tmp_path / "keystore") as store:
        store.save(b"first")
        store.commit(1, b"the state", b"the message")
    return tmp_path / "keystore"


def test_one_opens_it_at_a_time(folder):
    with opened(folder) as one, opened(folder) as two:
        assert one.load() == b"the state"
        with pytest.raises(StoreError, match="another process has this keystore open"):
            two.load()
        one.close()
        assert two.load() == b"the state"
        with pytest.raises(StoreError, match="another process"):
            one.save(b"x")


def test_only_the_owner_may_look(folder):
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_another_key(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with opened(folder, b"K" * 32) as store:
        for ask in (store.load, lambda: store.sent(1), lambda: store.save(b"x"), lambda: store.commit(2, b"x", b"y")):
            with pytest.raises(StoreError, match=r"not the key it was made with\. Name the right key"):
                ask()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(StoreError, match="a key of 5 bytes; a keystore has one of 32"):
        opened(folder, b"short")


def places(size: int) -> list[int]:
    """Every byte but the padding of the slots, of which some."""
    return [place for place in range(size) if place % keyslots.BLOCK < keyslots._SEALED or place % 97 == 0]


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_byte_changed_anywhere_is_found_or_mended(folder, step):
    """A record has one copy: StoreError. The header has two: the other one serves, and the damaged one is written again."""
    for path in sorted(folder.glob("*")):
        whole = path.read_bytes()
        for place in places(len(whole))[::step]:
            changed = bytearray(whole)
            changed[place] ^= 0x10
            path.write_bytes(bytes(changed))
            if path.name == "keys":
                assert contents(folder) == (b"the state", b"the message")
                assert path.read_bytes() != bytes(changed)
            else:
                with pytest.raises(StoreError, match=r"backup|begin again|no sealed file|sealed in version"):
                    contents(folder)
                path.write_bytes(whole)


def test_both_slots_damaged(folder):
    path = folder / "keys"
    whole = path.read_bytes()
    for place in range(0, keyslots._SEALED, 7):
        changed = bytearray(whole)
        changed[place] ^= 1
        changed[place + keyslots.BLOCK] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises(StoreError, match="begin again with an empty keystore"):
            contents(folder)
        assert path.read_bytes() == bytes(changed)


@pytest.mark.parametrize("cut", [0, 1, 60])
def test_files_cut_short_or_made_longer(folder, cut):
    for path in (path for path in folder.iterdir() if path.name != ".lock"):
        whole = path.read_bytes()
        for content in (whole[:cut], whole[: len(whole) - 1], whole + b"\0"):
            path.write_bytes(content)
            with pytest.raises(StoreError, match="begin again"):
                contents(folder)
        path.write_bytes(whole)
    assert contents(folder) == (b"the state", b"the message")


def test_a_file_taken_away(folder):
    for path in (path for path in folder.iterdir() if path.name != ".lock"):
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(StoreError, match=r"begin again|gone"):
            contents(folder)
        path.write_bytes(whole)


def test_records_of_another_keystore_or_exchanged(folder, tmp_path):
    one, two = sorted(folder.glob("r-*"))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(StoreError):
        contents(folder)


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="no keystore can be opened there"):
            contents(place)


def test_a_folder_that_is_read_only(folder, tmp_path):
    mounted = subprocess.run(["mount", "--bind", "-o", "ro", folder, folder], capture_output=True, check=False)
    if mounted.returncode == 0:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], capture_output=True, check=True)
    else:
        folder.chmod(0o500)
    try:
        with pytest.raises(StoreError, match=r"may write to|could not be written"):
            contents(folder) if mounted.returncode == 0 else refuse_to_write(folder)
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        folder.chmod(0o700)
    assert contents(folder) == (b"the state", b"the message")


def refuse_to_write(folder: Path) -> None:
    """As the file system would where this user may write anywhere (root) and nothing can be mounted."""

    class ReadOnly(Disk):
        def reopen(self, path: Path) -> int:
            raise OSError(30, "Read-only file system")

    FileKeystore(folder, KEY, Standing(), disk=ReadOnly()).load()


def test_what_is_not_ours_stays(folder):
    (folder / "notes.txt").write_text("of the staff")
    (folder / f"r-{'0' * 32}").write_bytes(b"left by a crash")
    assert contents(folder) == (b"the state", b"the message")
    names = {path.name for path in folder.iterdir()}
    assert "notes.txt" in names
    assert f"r-{'0' * 32}" not in names


def copy_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def put_back(folder: Path, copy: dict[str, bytes]) -> None:
    for path in folder.iterdir():
        path.unlink()
    for name, content in copy.items():
        (folder / name).write_bytes(content)


@pytest.fixture
def counted(tmp_path) -> tuple[Path, CounterFile]:
    medium = tmp_path / "medium"
    medium.mkdir()
    counter = CounterFile(medium / "key.counter", KEY)
    with opened(tmp_path / "counted", counter=counter) as store:
        store.save(b"an epoch")
    return tmp_path / "counted", counter


def test_a_restored_copy_burns_the_epoch(counted):
    folder, counter = counted
    copy = copy_of(folder)
    with opened(folder, counter=counter) as store:
        store.commit(1, b"after 1", b"masked")
    newer = copy_of(folder)
    put_back(folder, copy)
    with opened(folder, counter=counter) as store:
        for ask in (store.load, lambda: store.commit(1, b"again", b"another masked update"), lambda: store.save(b"x")):
            with pytest.raises(RolledBack, match=r"older copy.*begin again with an empty keystore and join at"):
                ask()
    put_back(folder, newer)
    assert contents(folder, counter) == (b"after 1", b"masked")
    put_back(folder, copy)
    with opened(folder, counter=counter) as store:
        store.begin_again()
        assert store.load() is None
        store.save(b"next epoch")
    put_back(folder, newer)
    with pytest.raises(RolledBack):
        contents(folder, counter)


def test_an_emptied_folder_is_no_new_keystore(counted):
    folder, counter = counted
    put_back(folder, {})
    with opened(folder, counter=counter) as store:
        with pytest.raises(RolledBack, match="is empty"):
            store.load()
        store.begin_again()
        assert store.load() is None


def test_a_counter_put_back_or_taken_away(counted):
    folder, counter = counted
    old = counter.path.read_bytes()
    with opened(folder, counter=counter) as store:
        store.commit(1, b"s", b"m")
        store.save(b"t")
    new = counter.path.read_bytes()
    counter.path.write_bytes(old)
    with pytest.raises(StoreError, match="older copy, or was taken away"):
        contents(folder, counter)
    counter.path.unlink()
    with pytest.raises(StoreError, match="older copy, or was taken away"):
        contents(folder, counter)
    counter.path.write_bytes(new)
    assert contents(folder, counter) == (b"t", b"m")


def test_two_keystores_with_one_key_are_told_apart(counted, tmp_path):
    _, counter = counted
    with opened(tmp_path / "second") as store:
        store.save(b"x")
    with pytest.raises(StoreError, match="of another keystore; give each a key of its own"):
        contents(tmp_path / "second", counter)


def test_a_damaged_counter(counted):
    folder, counter = counted
    whole = counter.path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 2
        counter.path.write_bytes(bytes(changed))
        with pytest.raises(StoreError, match="the counter cannot be read"):
            contents(folder, counter)
        with pytest.raises(StoreError, match="the counter cannot be read"), opened(folder, counter=counter) as store:
            store.begin_again()
    counter.path.write_bytes(whole)
    assert contents(folder, counter) == (b"an epoch", None)
