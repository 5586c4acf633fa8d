from __future__ import annotations

import os

import pytest

from fedmed.store.disk import replace_file
from fedmed.twin.search.disk import KEEPS, Crash, Power


def contents(root) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("keeps", KEEPS)
def test_what_was_synced_is_there_after_any_loss_of_power(tmp_path, keeps):
    power = Power(tmp_path)
    power.make_folder(tmp_path / "a" / "b")
    replace_file(power, tmp_path / "a" / "b" / "file", b"old")
    power.lose(keeps)
    assert contents(tmp_path) == {"a/b/file": b"old"}


@pytest.mark.parametrize("keeps", KEEPS)
def test_at_any_call_a_file_is_the_old_one_or_the_new_one_whole(tmp_path, keeps):
    calls, done = 0, False
    while not done:
        root = tmp_path / str(calls)
        root.mkdir()
        (root / "file").write_bytes(b"old")
        power = Power(root)
        power.fail_in(calls)
        try:
            replace_file(power, root / "file", b"newer")
            done = True
        except Crash:
            with pytest.raises(Crash):  # a process whose power is gone does nothing more
                power.sync_folder(root)
        power.lose(keeps)
        assert (root / "file").read_bytes() in ({b"newer"} if done else {b"old", b"newer"})
        calls += 1
    assert calls == 6


def test_what_was_not_synced_may_be_lost_by_name_and_by_content(tmp_path):
    (tmp_path / "kept").write_bytes(b"before")
    for keeps, expected in zip(
        KEEPS,
        ({"kept": b"after", "new": b"x"}, {"kept": b"before"}, {"kept": b"before", "new": b""}, {"kept": b"after"}),
        strict=True,
    ):
        power = Power(tmp_path)
        (tmp_path / "kept").write_bytes(b"after")
        (tmp_path / "new").write_bytes(b"x")
        power.lose(keeps)
        assert contents(tmp_path) == expected
        (tmp_path / "kept").write_bytes(b"before")
        (tmp_path / "new").unlink(missing_ok=True)


def test_a_file_that_was_removed_may_be_there_again(tmp_path):
    (tmp_path / "gone").write_bytes(b"content")
    power = Power(tmp_path)
    power.remove(tmp_path / "gone")
    power.lose("synced")
    assert contents(tmp_path) == {"gone": b"content"}


def test_a_sync_that_lies_keeps_nothing_but_on_the_honest_medium(tmp_path):
    for name in ("lying", "honest"):
        (tmp_path / name).mkdir()
    power = Power(tmp_path, honest=tmp_path / "honest")
    power.lies = True
    for name in ("lying", "honest"):
        handle = power.create(tmp_path / name / "file")
        power.write(handle, b"content", 0)
        power.sync(handle)
        os.close(handle)
        power.sync_folder(tmp_path / name)
    power.lose("synced")
    assert contents(tmp_path) == {"honest/file": b"content"}


def test_a_copy_is_put_back_whole(tmp_path):
    root, copy = tmp_path / "root", tmp_path / "copy"
    for place, content in ((root, b"new"), (copy, b"old")):
        place.mkdir()
        (place / "file").write_bytes(content)
    power = Power(root)
    power.put_back(copy)
    power.lose("synced")
    assert contents(root) == {"file": b"old"}
